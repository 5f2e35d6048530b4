"""Which samples of a batch broke an update: their losses under the weights of then, and the documents in them.

One more pass forward, only when an update was not believed; its weights are those before the update, as nothing was applied.
Names what stands out, and does not prove it: a sample may be hard and right.

Shapes: B windows, T tokens.
"""

import statistics
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F

from aether.models.corpus import Document
from aether.models.decoder import Decoder
from aether.stages.train.metrics import finite

MOST_BLAMED = 64
"""Lines of blamed.jsonl; further batches are counted, not described (assumed)."""
SAMPLES_NAMED = 4
"""Samples of a batch that a line names: those with the highest losses (assumed)."""
DOCUMENTS_NAMED = 4
"""Documents of a sample that are named, from its beginning (assumed)."""


@runtime_checkable
class Traceable(Protocol):
    """Batches that know where a sample comes from."""

    def documents(self, index: int) -> tuple[Document, ...]:
        """The documents with a token in sample `index`, in order."""
        ...


@torch.no_grad()
def sequence_losses(model: Decoder, tokens: np.ndarray, ids: np.ndarray) -> list[float]:
    """Mean cross-entropy in nats of each window, [B]; one window at a time, for memory."""
    device, found = model.embedding.device, []
    for row_tokens, row_ids in zip(tokens, ids, strict=True):
        row, document = (torch.from_numpy(a).to(device)[None] for a in (row_tokens, row_ids))
        logits = model(row[:, :-1], document[:, :-1])
        found.append(F.cross_entropy(logits[0], row[0, 1:]).item())
    return found


def blame(data: Any, first: int, losses: list[float]) -> dict[str, Any]:
    """{median_loss, samples: [{index, loss, documents}]} of the batch that begins at sample `first`, worst first."""
    worst = sorted(range(len(losses)), key=lambda row: -_order(losses[row]))[:SAMPLES_NAMED]
    known = [loss for loss in losses if finite(loss) is not None]
    return {
        "median_loss": statistics.median(known) if known else None,
        "samples": [
            {"index": first + row, "loss": finite(losses[row]), "documents": _documents(data, first + row)}
            for row in worst
        ],
    }


def _order(loss: float) -> float:
    return loss if finite(loss) is not None else float("inf")


def _documents(data: Any, index: int) -> list[dict[str, Any]]:
    """{id, group} of the documents in a sample: where its text came from. Empty where the batches do not know."""
    if not isinstance(data, Traceable):
        return []
    return [{"id": one.id, "group": one.group} for one in data.documents(index)[:DOCUMENTS_NAMED]]
