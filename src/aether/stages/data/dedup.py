"""Copies: exact ones by hash, near ones by MinHash signatures in bands, each candidate checked by exact Jaccard.

Signatures come from `rensa` (RMinHash). Candidates follow Leskovec, Rajaraman and Ullman, *Mining of Massive Datasets*,
section 3.4: documents that agree on a whole band. The bands are sorted one at a time from disk rather than held in
`rensa.RMinHashLSH`, which takes 2.2 kB of memory per document (measured, 200,000 documents, 32 bands) and so grows past
a large corpus of short texts; here it is 40 bytes per document plus 16 per candidate pair, and 768 bytes of disk.

Keep-policy: the first document in reading order stays, a later one goes when its Jaccard similarity with a *kept* one is
at or over the threshold. Does not compare meanings, only tokens.
"""

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]

from aether.models.ngrams import jaccard, ngram_hashes, shingles, token_hashes
from aether.models.packing import mix64
from aether.stages.data.recipe import NearDuplicates
from aether.stages.data.spool import MAIN, OOD, Spool

ALGORITHM = f"rensa RMinHash version {RMinHash.ALGORITHM_VERSION}"
_BATCH_TOKENS = 1 << 20
"""Shingles handed to the library at a time: 8 MiB (assumed large enough to hide the call)."""
_CHUNK = 1 << 15
"""Rows or pairs compared at a time: 16 MiB of signatures at 128 permutations (computed)."""
_REACH = 4
"""Each member of a bucket is paired with so many before it and with the first: a bucket of m gives 5m pairs, not m^2/2."""
_SLACK = 0.12
"""Estimates this far below the threshold still get the exact check: three standard errors at Jaccard 0.7 (computed)."""

OnDrop = Callable[[int, int, float], None]
"""Called with (dropped index, kept index, exact Jaccard)."""


def exact_copies(spool: Spool) -> Iterator[tuple[int, int]]:
    """(later index, first index) for every document whose normalised text an earlier one has."""
    alive = spool.indices(MAIN, OOD)
    if not alive.size:
        return
    words = np.frombuffer(spool.digest, np.uint64).reshape(-1, 2)[alive]
    order = np.lexsort((alive, words[:, 1], words[:, 0]))
    first = -1
    for before, here in zip(np.concatenate(([-1], order[:-1])), order, strict=True):
        if before < 0 or (words[before] != words[here]).any():
            first = int(alive[here])
        else:
            yield int(alive[here]), first


class NearCopies:
    """Signatures on disk for the live documents of a spool, then the greedy pass that drops near copies."""

    def __init__(self, recipe: NearDuplicates, spool: Spool, folder: Path) -> None:
        self.recipe, self.spool = recipe, spool
        self._signatures, self._bands = folder / "signatures.bin", folder / "bands.bin"
        self._alive = spool.indices(MAIN, OOD)

    def sign(self, tell: Callable[[int], None]) -> None:
        """Write the signature of every live document; `tell` gets the count done after each batch."""
        with open(self._signatures, "wb") as out:
            batch: list[np.ndarray] = []
            waiting = 0
            for done, stored in enumerate(self.spool.walk(MAIN, OOD), 1):
                tokens_T = token_hashes(stored.raw)
                batch.append(ngram_hashes(tokens_T, min(self.recipe.shingle_tokens, max(1, tokens_T.size))))
                waiting += batch[-1].size
                if waiting >= _BATCH_TOKENS:
                    self._write(batch, out)
                    batch, waiting = [], 0
                    tell(done)
            self._write(batch, out)

    def _write(self, batch: list[np.ndarray], out: IO[bytes]) -> None:
        if not batch:
            return
        offsets = np.cumsum([0] + [hashes.size for hashes in batch]).astype(np.uint64)
        flat = np.concatenate(batch)
        rows = RMinHash.digest_matrix_from_flat_token_hashes(
            flat, offsets, self.recipe.permutations, self.recipe.seed
        ).to_rows()
        out.write(np.array(rows, dtype="<u4").tobytes())

    def drop(self, on_drop: OnDrop) -> int:
        """Find and report near copies in order; returns how many pairs had the exact check."""
        if self._alive.size < 2:
            return 0
        signatures = np.memmap(self._signatures, "<u4", "r", shape=(self._alive.size, self.recipe.permutations))
        pairs: list[list[int]] = self._candidates(signatures).tolist()
        get = lru_cache(maxsize=64)(self._shingles)
        keeper: dict[int, int] = {}
        checks = 0
        for later, earlier in pairs:
            root = keeper.get(earlier, earlier)
            if later in keeper or root == later:
                continue
            checks += 1
            similarity = jaccard(get(later), get(root))
            if similarity >= self.recipe.threshold:
                keeper[later] = root
                on_drop(int(self._alive[later]), int(self._alive[root]), similarity)
        return checks

    def _shingles(self, row: int) -> np.ndarray:
        return shingles(self.spool.read(int(self._alive[row])).raw, self.recipe.shingle_tokens)

    def _candidates(self, signatures: np.ndarray) -> np.ndarray:
        """Pairs (later row, earlier row), int64 [P, 2], sorted, whose estimated Jaccard is near or over the threshold."""
        bands = self._band_keys(signatures)
        found = [np.empty((0, 2), np.int64)]
        for keys_D in bands:
            order = np.argsort(keys_D, kind="stable")
            keys = keys_D[order]
            for distance in range(1, _REACH + 1):
                same = np.flatnonzero(keys[distance:] == keys[:-distance])
                found.append(self._near(signatures, order[same + distance], order[same]))
            starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
            first = np.repeat(starts, np.diff(np.append(starts, keys.size)))
            far = np.flatnonzero(np.arange(keys.size) - first > _REACH)
            found.append(self._near(signatures, order[far], order[first[far]]))
            found = [np.unique(np.concatenate(found), axis=0)]
        return found[0]

    def _band_keys(self, signatures: np.ndarray) -> np.ndarray:
        """One 64-bit key per band and document, a memory map uint64 [bands, D] written in chunks of documents."""
        rows = self.recipe.permutations // self.recipe.bands
        with open(self._bands, "wb") as made:
            # Take the space now: a full disk is an OSError here, and a killed process when a mapped page finds none.
            os.posix_fallocate(made.fileno(), 0, 8 * self.recipe.bands * len(signatures))
        keys = np.memmap(self._bands, np.uint64, "r+", shape=(self.recipe.bands, len(signatures)))
        for start in range(0, len(signatures), _CHUNK):
            block = signatures[start : start + _CHUNK].astype(np.uint64).reshape(-1, self.recipe.bands, rows)
            total = np.zeros(block.shape[:2], np.uint64)
            for row in range(rows):
                total = mix64(total + block[:, :, row] + np.uint64(1))
            keys[:, start : start + _CHUNK] = total.T
        return keys

    def _near(self, signatures: np.ndarray, later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
        """The pairs whose signatures agree often enough; the argsort is stable, so `later` is always the larger row."""
        kept = [np.empty((0, 2), np.int64)]
        for start in range(0, later.size, _CHUNK):
            a, b = later[start : start + _CHUNK], earlier[start : start + _CHUNK]
            near = (signatures[a] == signatures[b]).mean(axis=1) >= self.recipe.threshold - _SLACK
            kept.append(np.stack([a[near], b[near]], axis=1))
        return np.concatenate(kept)
