"""Training documents that share long passages with held-out ones are found by token n-grams and taken out of training.

Follows GPT-3 (arXiv 2005.14165, appendix C: 13-grams; those in more than ten training documents are common phrases and
do not count), turned round: there the test set was cleaned; here validation, test and ood stay whole and the *training*
document goes, because the headline number must not depend on which test files are easy to keep, and training has text
to spare. A document goes when it shares at least `overlap` of the smaller one's n-grams with one held-out document.

Memory: at most `max_ngrams` held-out n-grams at 20 bytes; beyond that, only hashes divisible by 2, 4, ... are looked at,
on both sides, which leaves every share unbiased. Does not see paraphrase.

Legend: H held-out documents, P pairs (n-gram, held-out document), sorted by n-gram.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aether.models.ngrams import shingles
from aether.stages.data.recipe import Contamination
from aether.stages.data.spool import OOD, TEST, TRAIN, VALIDATION, Spool

OnDrop = Callable[[int, int, float], None]
"""Called with (training index, held-out index, overlap)."""


@dataclass(frozen=True)
class Overlap:
    """What the check found. `touched` and `contaminated` count held-out documents per fate, before the removal."""

    held_out: dict[int, int]
    touched: dict[int, int]
    """Share any counted n-gram with some training document."""
    contaminated: dict[int, int]
    """Share at least `overlap` with one training document."""
    left: dict[int, float]
    """Share of the counted n-grams that some kept training document still has."""
    one_in: int
    """1 when every n-gram was looked at."""


class ContaminationCheck:
    """Index of the held-out n-grams, then two passes over the training documents."""

    def __init__(self, recipe: Contamination, spool: Spool) -> None:
        self.recipe, self.spool, self.one_in = recipe, spool, 1
        self._documents_H = spool.indices(VALIDATION, TEST, OOD)
        self._ngram_P, self._owner_P = self._index()
        self._training_P = np.zeros(self._ngram_P.size, np.int32)
        self._size_H = np.bincount(self._owner_P, minlength=self._documents_H.size)

    def _ngrams(self, raw: bytes) -> np.ndarray:
        """Distinct n-grams of a text, those that are looked at, sorted."""
        found = shingles(raw, self.recipe.ngram_tokens)
        return found[found & np.uint64(self.one_in - 1) == 0] if self.one_in > 1 else found

    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        ngrams, owners, total = [np.empty(0, np.uint64)], [np.empty(0, np.int32)], 0
        for owner, index in enumerate(self._documents_H.tolist()):
            found = self._ngrams(self.spool.read(index).raw)
            ngrams.append(found)
            owners.append(np.full(found.size, owner, np.int32))
            total += found.size
            while total > self.recipe.max_ngrams:
                self.one_in *= 2
                keep = [n & np.uint64(self.one_in - 1) == 0 for n in ngrams]
                ngrams = [np.concatenate([n[k] for n, k in zip(ngrams, keep, strict=True)])]
                owners = [np.concatenate([o[k] for o, k in zip(owners, keep, strict=True)])]
                total = ngrams[0].size
        ngram_P = np.concatenate(ngrams)
        order = np.argsort(ngram_P, kind="stable")
        return ngram_P[order], np.concatenate(owners)[order]

    def _hits(self, found: np.ndarray) -> np.ndarray:
        """Places in P that hold one of these n-grams."""
        left = np.searchsorted(self._ngram_P, found, side="left")
        counts = np.searchsorted(self._ngram_P, found, side="right") - left
        some = counts > 0
        left, counts = left[some], counts[some]
        return np.repeat(left - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())

    def run(self, on_drop: OnDrop, tell: Callable[[int], None]) -> Overlap:
        """Find and report contaminating training documents; `tell` gets the number of training documents seen."""
        training = self.spool.indices(TRAIN)
        suspects = []
        for done, index in enumerate(training.tolist(), 1):
            hits = self._hits(self._ngrams(self.spool.read(index).raw))
            if hits.size:
                self._training_P[hits] += 1
                suspects.append(index)
            if done % 256 == 0:
                tell(done)
        common_P = self._training_P > self.recipe.common_documents
        touched_H = np.zeros(self._documents_H.size, bool)
        contaminated_H = np.zeros(self._documents_H.size, bool)
        left_P = np.zeros(self._ngram_P.size, bool)
        for index in suspects:
            found = self._ngrams(self.spool.read(index).raw)
            hits = self._hits(found)
            hits = hits[~common_P[hits]]
            if not hits.size:
                continue
            shared_H = np.bincount(self._owner_P[hits], minlength=self._documents_H.size)
            overlap_H = shared_H / np.maximum(np.minimum(self._size_H, found.size), 1)
            touched_H |= shared_H > 0
            over_H = overlap_H >= self.recipe.overlap
            contaminated_H |= over_H
            if over_H.any():
                worst = int(overlap_H.argmax())
                on_drop(index, int(self._documents_H[worst]), float(overlap_H[worst]))
            else:
                left_P[hits] = True
        return self._overlap(touched_H, contaminated_H, left_P, ~common_P)

    def _overlap(self, touched_H: np.ndarray, over_H: np.ndarray, left_P: np.ndarray, counted_P: np.ndarray) -> Overlap:
        fate_H = np.frombuffer(bytes(self.spool.fate), np.uint8)[self._documents_H]
        fate_P = fate_H[self._owner_P] if fate_H.size else np.empty(0, np.uint8)
        fates = (VALIDATION, TEST, OOD)
        return Overlap(
            held_out={f: int((fate_H == f).sum()) for f in fates},
            touched={f: int(touched_H[fate_H == f].sum()) for f in fates},
            contaminated={f: int(over_H[fate_H == f].sum()) for f in fates},
            left={
                f: float(left_P[(fate_P == f) & counted_P].sum() / max(1, (counted_P & (fate_P == f)).sum()))
                for f in fates
            },
            one_in=self.one_in,
        )
