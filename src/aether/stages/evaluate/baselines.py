"""Honest baselines on the same bytes: general compressors, with and without the training text, and a 5-gram model.

xz and zstd at their strongest usual settings, without container headers (raw LZMA2, magicless zstd frames), which
favours them. A compressor that has not seen the training text is not a peer of a trained model, so zstd is also given
the last part of it as a raw-content dictionary. Every baseline scores each document on its own. Does not judge: the
paired comparison is in `run`.
"""

import lzma
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray

from aether.models.corpus import SEPARATOR_ID, Document, Split, read_split
from aether.stages.evaluate.ngram import NgramModel
from aether.stages.evaluate.recipe import EvaluateRecipe

ZSTD_LEVEL = 19
"""The strongest level that needs no --ultra flag."""
NGRAM_ORDER = 5


@dataclass(frozen=True)
class Baseline:
    """What a baseline needs for each document, in bits (d,), and what it was given."""

    name: str
    bits: NDArray[np.float64]
    description: str


@dataclass(frozen=True)
class Held:
    """The documents that are scored: their bytes and their token ids (separator first), in the same order."""

    documents: Sequence[Document]
    contents: Sequence[bytes]
    ids: Sequence[NDArray[np.int64]]


def measure(recipe: EvaluateRecipe, data_folder: Path, held: Held, bytes_of: Sequence[bytes]) -> list[Baseline]:
    """The baselines that the recipe names, in its order. `bytes_of` maps a token id to its bytes."""
    train = read_split(data_folder, "train")
    makers: dict[str, Callable[[], tuple[NDArray[np.float64], str]]] = {
        "xz": lambda: (_sizes(_xz, held.contents), "raw LZMA2, preset 9 extreme, each file alone"),
        "zstd": lambda: (_sizes(_zstd(None), held.contents), f"zstd level {ZSTD_LEVEL}, each file alone"),
        "zstd_train": lambda: _zstd_with_training_text(recipe, train, held, bytes_of),
        "5gram": lambda: _ngram(recipe, train, held, len(bytes_of)),
    }
    found = []
    for name in recipe.baselines:
        bits, description = makers[name]()
        found.append(Baseline(name, bits, description))
    return found


def xz_together(contents: Sequence[bytes]) -> float:
    """Bits of all documents compressed as one stream: documents see each other, so it has no interval."""
    return 8.0 * _xz(b"".join(contents))


def _sizes(compressed_bytes: Callable[[bytes], int], contents: Sequence[bytes]) -> NDArray[np.float64]:
    return np.array([8.0 * compressed_bytes(content) for content in contents])


def _xz(content: bytes) -> int:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    return len(lzma.compress(content, format=lzma.FORMAT_RAW, filters=filters))


def _zstd(prior: bytes | None) -> Callable[[bytes], int]:
    dictionary = None
    if prior:
        dictionary = zstandard.ZstdCompressionDict(prior, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        ZSTD_LEVEL,
        dict_size=len(prior or b""),
        window_log=max(10, min(27, (len(prior or b"") + (1 << 20)).bit_length())),
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=False,
        write_checksum=False,
        write_dict_id=False,
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters, dict_data=dictionary)
    return lambda content: len(compressor.compress(content))


def training_text(train: Split, bytes_of: Sequence[bytes], cap_bytes: int) -> bytes:
    """The last `cap_bytes` of the training documents, from their tokens (byte-level BPE loses nothing)."""
    pieces: list[bytes] = []
    total = 0
    for document in reversed(train.documents):
        if total >= cap_bytes:
            break
        pieces.append(b"".join([bytes_of[token] for token in train.ids(document).tolist()]))
        total += len(pieces[-1])
    return b"".join(reversed(pieces))[-cap_bytes:]


def _zstd_with_training_text(
    recipe: EvaluateRecipe, train: Split, held: Held, bytes_of: Sequence[bytes]
) -> tuple[NDArray[np.float64], str]:
    prior = training_text(train, bytes_of, recipe.zstd_prior_cap_bytes)
    told = f"zstd level {ZSTD_LEVEL}, each file alone, with the last {len(prior):,} training bytes as a raw dictionary"
    return _sizes(_zstd(prior), held.contents), told


def _ngram(recipe: EvaluateRecipe, train: Split, held: Held, vocab_size: int) -> tuple[NDArray[np.float64], str]:
    count = _whole_documents(train, recipe.ngram_cap_tokens)
    model = NgramModel(train.tokens[:count], vocab_size, NGRAM_ORDER, SEPARATOR_ID)
    bits_T = model.bits(np.concatenate(held.ids))
    ends = np.cumsum([len(ids) for ids in held.ids])[:-1]
    bits = np.array([float(part.sum()) for part in np.split(bits_T, ends)])
    share = count / max(1, len(train.tokens))
    told = (
        f"interpolated modified Kneser-Ney 5-gram over the same tokens, {count:,} training tokens ({share:.0%} of them)"
    )
    return bits, told


def _whole_documents(train: Split, cap_tokens: int) -> int:
    """How many leading tokens hold whole documents within the cap; a first document beyond the cap is cut."""
    ends = [document.start + document.tokens for document in train.documents]
    within = [end for end in ends if end <= cap_tokens]
    return max(within) if within else min(cap_tokens, len(train.tokens))
