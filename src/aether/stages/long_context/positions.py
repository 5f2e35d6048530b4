"""Loss by place in a long document: does a model gain from what lies further back than it could see before?

Shapes: T tokens.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from aether.evidence.statistics import paired_difference, ratio
from aether.models.corpus import Document, Split
from aether.models.decoder import Decoder
from aether.spec.errors import InputError
from aether.spec.evidence import Evidence
from aether.spec.run import StepContext

Nats = NDArray[np.float64]


@dataclass(frozen=True)
class Bucket:
    """Targets at places [first, last) of a document."""

    first: int
    last: int

    @property
    def label(self) -> str:
        """Of evidence."""
        return f"{self.first}-{self.last}"


def buckets(old_tokens: int, new_tokens: int) -> list[Bucket]:
    """Up to half the old context, the rest of it, and then by doublings to the end of the new one."""
    edges = [0, old_tokens // 2, old_tokens]
    while edges[-1] * 2 < new_tokens:
        edges.append(edges[-1] * 2)
    edges.append(new_tokens)
    return [Bucket(first, last) for first, last in itertools.pairwise(edges) if last > first]


def long_documents(split: Split, tokens: int, count: int, seed: int) -> tuple[Document, ...]:
    """A seeded draw of documents with more than `tokens` tokens. Raises InputError when there are fewer than four."""
    found = [document for document in split.documents if document.tokens > tokens]
    if len(found) < 4:
        raise InputError.of(
            f"data.{split.name}", len(found), f"documents of more than {tokens} tokens; give four, or a shorter context"
        )
    order = np.random.default_rng(seed).permutation(len(found))[:count]
    return tuple(found[place] for place in sorted(order.tolist()))


@torch.inference_mode()
def nats(model: Decoder, ids: NDArray[np.int64]) -> Nats:
    """Cross-entropy of targets 1 .. T of one window of T + 1 tokens, [T]."""
    tokens = torch.from_numpy(ids)
    hidden = model.hidden(tokens[None, :-1])
    logits = model.logits(hidden[0], model.embedding.to(model.dtype))
    return torch.nn.functional.cross_entropy(logits, tokens[1:], reduction="none").double().numpy()


def by_position(
    models: dict[str, Decoder],
    windows: Sequence[NDArray[np.int64]],
    documents: Sequence[Document],
    places: Sequence[Bucket],
    context: StepContext,
) -> tuple[list[Evidence], list[dict[str, object]]]:
    """Evidence for each model and bucket and for the change from `before`, and a row for each document, model and bucket."""
    total = len(windows) * len(models)
    found: dict[str, list[Nats]] = {}
    for name, model in models.items():
        found[name] = []
        for ids in windows:
            context.tell(len(found) * len(windows), total, "documents", "loss by position")
            found[name].append(nats(model, ids))
    groups = _clusters(documents)
    rows: list[dict[str, object]] = []
    evidence: list[Evidence] = []
    for bucket in places:
        sums = {name: [float(n[bucket.first : bucket.last].sum()) for n in each] for name, each in found.items()}
        counts = [float(bucket.last - bucket.first)] * len(windows)
        for name, each in sums.items():
            told = f"{name}, places {bucket.label} of {len(windows)} test documents"
            value = ratio(each, counts, groups)
            evidence.append(_said(context, "loss", f"{name}:{bucket.label}", told, value))
            for document, nat in zip(documents, each, strict=True):
                rows.append(
                    {"id": document.id, "model": name, "places": bucket.label, "nats": nat, "tokens": int(counts[0])}
                )
            if name != "before":
                change = paired_difference(each, sums["before"], counts, groups)
                evidence.append(
                    context.measured(
                        "loss_change", change.difference, "nat/token", f"{told}, less before, paired",
                        label=f"{name}:{bucket.label}", interval=change.interval, n=change.n, clusters=change.clusters,
                    )
                )  # fmt: skip
    return evidence, rows


def _clusters(documents: Sequence[Document]) -> list[str]:
    """Folders, or files where all lie in one folder."""
    folders = [document.group for document in documents]
    return folders if len(set(folders)) > 1 else [document.id for document in documents]


def _said(context: StepContext, metric: str, label: str, told: str, value) -> Evidence:
    return context.measured(
        metric, value.value, "nat/token", told, label=label, interval=value.interval, n=value.n, clusters=value.clusters
    )
