"""Bits of held-out documents under a model: every token once, with up to a context of its own document before it.

The sliding window of Press et al. (arXiv 2012.15832, section 3): the first window of a document scores all its
tokens; each later window begins a stride further and scores only what no earlier window has. Documents never see each
other. Short windows are padded on the right, which a causal model cannot see. Cross-entropy in float32.
Does not choose documents, and does not score the end of a document (no token stands for it).

Shapes: B windows in a batch, T tokens of the longest window, C hidden size, V vocabulary, N scored tokens.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from aether.models.decoder import Decoder


@dataclass(frozen=True)
class DocumentBits:
    """A document under a model. `tokens` counts the scored ones: all but the leading separator."""

    bits: float
    tokens: int
    correct_top1: int


@dataclass(frozen=True)
class Window:
    """Tokens [start, end) of document `document`; those from `score_from` on are scored here."""

    document: int
    start: int
    end: int
    score_from: int


def windows(lengths: Sequence[int], context_tokens: int, stride: int) -> list[Window]:
    """The windows that score tokens 1 and up of documents of these `lengths` (separator included), each once.

    A window holds at most context_tokens + 1 tokens: the last is only predicted, never input.
    """
    assert 1 <= stride <= context_tokens
    found = []
    for document, length in enumerate(lengths):
        scored = 1
        while scored < length:
            end = min(length, context_tokens + 1) if scored == 1 else min(length, scored + stride)
            start = max(0, end - context_tokens - 1)
            found.append(Window(document, start, end, scored))
            scored = end
    return found


def _batches(found: Sequence[Window], batch_tokens: int) -> Iterator[list[Window]]:
    """Windows of like length together, each batch at most `batch_tokens` with its padding (one window at least)."""
    batch: list[Window] = []
    for window in sorted(found, key=lambda w: (w.start - w.end, w.document, w.start)):
        widest = batch[0].end - batch[0].start if batch else 0
        if batch and (len(batch) + 1) * widest > batch_tokens:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


@torch.inference_mode()
def score(
    model: Decoder,
    documents: Sequence[NDArray[np.int64]],
    *,
    stride: int,
    batch_tokens: int = 4096,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> list[DocumentBits]:
    """The bits of each document (t,), separator first. `tell(done, total)` hears of scored tokens after each batch."""
    found = windows([len(ids) for ids in documents], model.config.context_tokens, stride)
    device = model.embedding.device
    embedding_VC = model.embedding.to(model.dtype)
    bits = np.zeros(len(documents))
    correct = np.zeros(len(documents), dtype=np.int64)
    total, done = sum(w.end - w.score_from for w in found), 0
    for batch in _batches(found, batch_tokens):
        width = batch[0].end - batch[0].start - 1
        input_BT = torch.zeros(len(batch), width, dtype=torch.int64)
        for row, w in enumerate(batch):
            input_BT[row, : w.end - w.start - 1] = torch.from_numpy(documents[w.document][w.start : w.end - 1])
        hidden_BTC = model.hidden(input_BT.to(device))
        for row, w in enumerate(batch):
            first, last = w.score_from - w.start - 1, w.end - w.start - 1
            target_N = torch.from_numpy(documents[w.document][w.score_from : w.end]).to(device)
            logits_NV = model.logits(hidden_BTC[row, first:last], embedding_VC)
            nats = torch.nn.functional.cross_entropy(logits_NV, target_N, reduction="none")
            # The documents' sums are kept in float64: a long document is thousands of small terms.
            bits[w.document] += float(nats.double().sum()) / math.log(2)
            correct[w.document] += int((logits_NV.argmax(-1) == target_N).sum())
            done += w.end - w.score_from
        tell(done, total)
    return [DocumentBits(float(b), len(ids) - 1, int(c)) for b, ids, c in zip(bits, documents, correct, strict=True)]
