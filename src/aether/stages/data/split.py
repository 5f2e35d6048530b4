"""Train, validation and test by group, so that what belongs together stays together and near copies cannot leak.

A document's place is its folders, its file, and its piece or row. Its group is the first prefix of that place, from the
source down, with no more than `group_max_share` of all bytes: a package, usually; in a folder that is too large to be
one group, its subfolders and loose files; in one huge JSONL file, its rows. Near copies are gone before (`dedup`), and
`contamination` checks what is left. Groups are dealt by a seeded hash of their names: test first, then validation, then
the rest to train, each until its share of bytes is reached as nearly as whole groups allow.
"""

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np

from aether.spec.errors import InputError
from aether.stages.data.recipe import Split
from aether.stages.data.spool import MAIN, TEST, TRAIN, VALIDATION, Spool, Stored


class Groups:
    """Names the group of a document. Memory: one entry per folder and file (not per row or piece)."""

    def __init__(self, documents: Iterable[tuple[tuple[str, ...], int]], max_share: float) -> None:
        self._prefix_bytes: Counter[tuple[str, ...]] = Counter()
        total_bytes = 0
        for parts, size_bytes in documents:
            total_bytes += size_bytes
            for depth in range(1, len(parts)):
                self._prefix_bytes[parts[:depth]] += size_bytes
        self._limit_bytes = total_bytes * max_share

    def name(self, document: Stored) -> str:
        """The group of a document: its own `group_field` value, or the first small enough prefix of its place."""
        if document.group is not None:
            return document.group
        # The source itself is never a group, unless it is one file that is one document.
        for depth in range(2, len(document.parts)):
            if self._prefix_bytes[document.parts[:depth]] <= self._limit_bytes:
                return "/".join(document.parts[:depth])
        return document.id


def group_key(name: str, seed: int) -> int:
    """The place of a group in the seeded deal: 63 bits."""
    return int.from_bytes(blake2b(f"{seed}\t{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest()) >> 1


def deal(keys_D: np.ndarray, bytes_D: np.ndarray, split: Split) -> np.ndarray:
    """The fate of each document, uint8 [D], from its group's key and its size.

    Raises InputError when there are fewer than three groups, so that a split would be empty.
    """
    groups_G, group_D = np.unique(keys_D, return_inverse=True)
    if groups_G.size < 3:
        raise InputError.of(
            "data.sources",
            f"{keys_D.size} documents in {groups_G.size} groups",
            "train, validation and test need at least 3 groups (folders, files, or rows); give more text",
        )
    bytes_G = np.bincount(group_D, weights=bytes_D).astype(np.int64)
    total_bytes = int(bytes_G.sum())
    fate_G = np.full(groups_G.size, TRAIN, np.uint8)
    place = 0
    wanted: list[tuple[int, float]] = [(TEST, split.test), (VALIDATION, split.validation)]
    for later, (fate, share) in zip((1, 0), wanted, strict=True):
        taken = 0
        while place < groups_G.size - 1 - later:
            size = int(bytes_G[place])
            if taken and taken + size / 2 > share * total_bytes:
                break
            fate_G[place], taken, place = fate, taken + size, place + 1
    return fate_G[group_D]


def split_corpus(spool: Spool, split: Split) -> Groups:
    """Give every MAIN document of the spool its fate; returns the groups, to name them when documents are written."""
    groups = Groups(((d.parts, len(d.raw)) for d in spool.walk(MAIN)), split.group_max_share)
    indices = spool.indices(MAIN)
    keys = np.fromiter((group_key(groups.name(d), split.seed) for d in spool.walk(MAIN)), np.int64, indices.size)
    fates = deal(keys, np.frombuffer(spool.size_bytes, np.int64)[indices], split)
    for index, fate in zip(indices.tolist(), fates.tolist(), strict=True):
        spool.fate[index] = fate
    return groups
