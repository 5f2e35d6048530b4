"""Hashes of token n-grams of a text, in numpy: the shingles of near-duplicates and the 13-grams of contamination.

A token is a run of letters, digits, `_` and non-ASCII bytes, or one punctuation byte; white space separates and counts
for nothing. Each token's hash is polynomial in its bytes modulo 2^64, taken from prefix sums (Karp and Rabin 1987), then
mixed. Not cryptographic: for counting overlaps, where a collision among 10^7 n-grams has odds of about 10^-6.

Legend: N bytes of text, T tokens, G n-grams; all hashes uint64.
"""

from functools import lru_cache

import numpy as np

from aether.models.packing import mix64

_BASE = np.uint64(0x9E3779B97F4A7C15)
"""Any odd number has an inverse modulo 2^64; this one is 2^64 over the golden ratio (splitmix64's increment)."""
_STEP = np.uint64(0xD1342543DE82EF95)
"""Multiplier between positions of an n-gram: odd, from Steele and Vigna, arXiv 2001.05304, table 6."""
_SPACE, _WORD, _MARK = 0, 1, 2


def _classes() -> np.ndarray:
    table = np.full(256, _MARK, np.uint8)
    table[0x80:] = _WORD
    for byte in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_":
        table[byte] = _WORD
    table[list(b" \t\n\r\v\f")] = _SPACE
    return table


_CLASS = _classes()


@lru_cache(maxsize=2)
def _powers(size: int) -> tuple[np.ndarray, np.ndarray]:
    """_BASE^i and _BASE^-i for i < size; sizes are powers of two so that few are ever made."""
    inverse = np.uint64(pow(int(_BASE), -1, 1 << 64))
    ups, downs = np.full(size, _BASE), np.full(size, inverse)
    ups[0] = downs[0] = 1
    return np.cumprod(ups, dtype=np.uint64), np.cumprod(downs, dtype=np.uint64)


def token_hashes(raw: bytes) -> np.ndarray:
    """Hash of each token of UTF-8 bytes, uint64 [T]."""
    return token_spans(raw)[0]


def token_spans(raw: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each token's hash, uint64 [T], and the bytes where it starts and ends, int64 [T]."""
    bytes_N = np.frombuffer(raw, np.uint8)
    if not bytes_N.size:
        return np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64)
    class_N = _CLASS[bytes_N]
    word_N = class_N == _WORD
    mark_N = class_N == _MARK
    starts_N, ends_N = word_N.copy(), word_N.copy()
    starts_N[1:] &= ~word_N[:-1]
    ends_N[:-1] &= ~word_N[1:]
    starts_T = np.flatnonzero(starts_N | mark_N)
    ends_T = np.flatnonzero(ends_N | mark_N) + 1
    ups, downs = _powers(max(1024, 1 << (len(raw) - 1).bit_length()))
    sums = np.zeros(bytes_N.size + 1, np.uint64)
    np.cumsum((bytes_N.astype(np.uint64) + np.uint64(1)) * ups[: bytes_N.size], out=sums[1:])
    return mix64((sums[ends_T] - sums[starts_T]) * downs[starts_T]), starts_T, ends_T


def word_spans(raw: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`token_spans` of the words alone, without regard to the case of ASCII letters: punctuation counts for nothing."""
    hashes_T, starts_T, ends_T = token_spans(raw.lower())
    word_T = _CLASS[np.frombuffer(raw, np.uint8)[starts_T]] == _WORD
    return hashes_T[word_T], starts_T[word_T], ends_T[word_T]


def ngram_hashes(tokens_T: np.ndarray, n: int) -> np.ndarray:
    """Hash of each run of `n` tokens, uint64 [T - n + 1]; a shorter text gives none."""
    count = tokens_T.size - n + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    total_G = tokens_T[:count].copy()
    for offset in range(1, n):
        total_G *= _STEP
        total_G += tokens_T[offset : offset + count]
    return mix64(total_G)


def shingles(raw: bytes, n: int) -> np.ndarray:
    """Distinct n-gram hashes, sorted; a text of fewer than `n` tokens is one shingle of them all, so none is empty."""
    tokens_T = token_hashes(raw)
    return np.unique(ngram_hashes(tokens_T, min(n, tokens_T.size)) if tokens_T.size else tokens_T)


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Shared part of two sorted sets of distinct hashes: intersection over union; 1.0 for two empty ones."""
    shared = np.intersect1d(a, b, assume_unique=True).size
    union = a.size + b.size - shared
    return shared / union if union else 1.0
