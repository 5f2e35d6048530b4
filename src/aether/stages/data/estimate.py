"""Time, memory, disk and training tokens of the data stage from the input's bytes. Pure arithmetic, nothing heavy imported.

`manifest` and `pin` are offered here as well: an estimate starts from the input's size, and a plan pins what it measured.

Rates were measured as CPU seconds on Python's own standard library (31.5 MB, 1,790 files; numpy's 9 MB kept apart) with
Python 3.11 on two x86-64 cores; another machine or another kind of text moves them, which the interval's factor of two
stands for (assumed).
"""

from dataclasses import dataclass

from aether.spec.evidence import Interval
from aether.spec.plan import Estimate, Term
from aether.stages.data.recipe import DataRecipe
from aether.stages.data.sources import Manifest, manifest, pin

__all__ = ["DataEstimate", "Manifest", "estimate", "manifest", "pin"]

_WHERE = "measured: CPU time of the passes on the standard library, two x86-64 cores, Python 3.11"
_READ_S_PER_BYTE = 6.3e-8
"""Reading, filters, spooling."""
_COPIES_S_PER_BYTE = 1.8e-7
"""MinHash signatures, exact checks, 13-gram index and its two passes."""
_TOKENIZER_S_PER_BYTE = 3.4e-7
"""BPE training per byte of its sample, at 4,096 entries."""
_ENCODE_S_PER_BYTE = 3.6e-7
"""Encoding and writing; the one pass that uses every thread."""
_PARALLEL = 0.9
"""Share of the second and further threads that encoding turns into speed (assumed)."""
_KEPT_SHARE = 0.9
"""Kept bytes over bytes read: 28.7 of 31.5 MB of the standard library."""
_BYTES_PER_TOKEN = 3.5
"""Held-out standard library at 4,096 entries: 3.51."""
_BASE_BYTES = 160e6
"""Resident memory of the interpreter with the libraries loaded and a batch in work; 220 MB at the peak of the demo."""
_BYTES_PER_DOCUMENT = 120.0
"""Numbers in memory per document, near-copy search included (computed from the arrays)."""
_BYTES_PER_HELD_OUT_BYTE = 8.0
"""13-gram index: 20 bytes for each of about 0.3 n-grams per byte, and as much again while it is sorted (computed)."""
_DOCUMENT_BYTES = 16_000
"""Mean size of a file of the standard library, when the caller knows no better (measured)."""
_SPREAD = 2.0


@dataclass(frozen=True)
class DataEstimate:
    """What the stage will take and give. Metrics: data_time (s), data_memory, data_disk (byte), train_tokens (count)."""

    time: Estimate
    memory: Estimate
    disk: Estimate
    train_tokens: Estimate


def estimate(recipe: DataRecipe, input_bytes: int, threads: int = 1, documents: int | None = None) -> DataEstimate:
    """Predict the stage for `input_bytes` of `sources` (`manifest(recipe).bytes`) on `threads` cores.

    Compressed input counts by its uncompressed bytes. `documents` defaults to files of the standard library's mean size.
    """
    read = float(input_bytes)
    kept = min(read * _KEPT_SHARE, float(recipe.bytes_max or read)) + float(recipe.ood_bytes_max or 0)
    count = documents if documents is not None else max(1, input_bytes // _DOCUMENT_BYTES)
    sample = min(float(recipe.tokenizer_sample_bytes), kept)
    parallel = 1 + _PARALLEL * (max(1, threads) - 1)
    seconds = {
        "read and filter": read * _READ_S_PER_BYTE,
        "copies and contamination": kept * _COPIES_S_PER_BYTE,
        "tokenizer": sample * _TOKENIZER_S_PER_BYTE,
        "encode": kept * _ENCODE_S_PER_BYTE / parallel,
    }
    held_out = kept * (recipe.split.test + recipe.split.validation) + float(recipe.ood_bytes_max or 0)
    memory = {
        "base": _BASE_BYTES,
        "per document": count * _BYTES_PER_DOCUMENT,
        "13-gram index": min(held_out * _BYTES_PER_HELD_OUT_BYTE, recipe.contamination.max_ngrams * 40.0),
        "longest document": 60.0 * recipe.filters.max_bytes,
    }
    token_bytes = 2 if recipe.vocab_size <= 65536 else 4
    disk = {
        "working copy (freed)": kept,
        "signatures (freed)": count * (4.0 * recipe.near_duplicates.permutations + 8.0 * recipe.near_duplicates.bands),
        "tokens": kept / _BYTES_PER_TOKEN * token_bytes,
        "held-out text": held_out,
    }
    tokens = {
        "training bytes / bytes per token": kept * (1 - recipe.split.test - recipe.split.validation) / _BYTES_PER_TOKEN
    }
    return DataEstimate(
        time=_sum("data_time", "s", seconds),
        memory=_sum("data_memory", "byte", memory),
        disk=_sum("data_disk", "byte", disk),
        train_tokens=_sum("train_tokens", "count", tokens),
    )


def _sum(metric: str, unit: str, parts: dict[str, float]) -> Estimate:
    value = sum(parts.values())
    terms = tuple(Term(name=n, value=v, unit=unit, kind="computed", source=_WHERE) for n, v in parts.items())
    return Estimate(
        metric=metric,
        value=value,
        unit=unit,
        interval=Interval(low=value / _SPREAD, high=value * _SPREAD, level=0.9, method="factor of two (assumed)"),
        kind="computed",
        formula=" + ".join(parts),
        terms=terms,
        binding=max(parts, key=lambda name: parts[name]),
    )
