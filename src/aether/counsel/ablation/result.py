"""What an ablation found: each variant's mean and its difference from the baseline, and what could not be told."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from aether.counsel.ablation.run import Trained
from aether.evidence.ablation import Blocks, Difference, against_baseline, noise_of
from aether.spec.errors import InputError


@dataclass(frozen=True)
class Row:
    """One variant. Without a mean where a training of it broke: the sentences stand in `broke`."""

    label: str
    mean: float | None
    difference: Difference | None
    """None for the baseline."""
    flops: float
    tokens: int
    parameters: int
    updates_s: float | None
    """Mean wall seconds of its updates."""
    broke: tuple[str, ...]


@dataclass(frozen=True)
class Ablation:
    """All variants, the baseline first, in bits per byte of held-out text."""

    rows: tuple[Row, ...]
    blocks: Blocks | None
    """None when too few variants trained with every seed to pool their noise."""
    seeds: tuple[int, ...]
    trained: tuple[Trained, ...]


def ablation_of(trained: Sequence[Trained]) -> Ablation:
    """The result. Raises InputError when the baseline broke."""
    by_label: dict[str, list[Trained]] = {}
    for one in trained:
        by_label.setdefault(one.variant, []).append(one)
    whole = {label: ones for label, ones in by_label.items() if not any(one.broke for one in ones)}
    baseline = next(iter(by_label))
    if baseline not in whole:
        raise InputError.of("vary", baseline, f"a training of the baseline broke: {by_label[baseline][0].broke}")
    values = [[one.bits_per_byte or 0.0 for one in ones] for ones in whole.values()]
    seeds = tuple(one.seed for one in by_label[baseline])
    pooled = len(values) > 1 and len(seeds) > 1
    apart = against_baseline(values, 0) if pooled else [None] * len(values)
    differences = dict(zip(whole, apart, strict=True))
    return Ablation(
        rows=tuple(_row(label, ones, differences.get(label)) for label, ones in by_label.items()),
        blocks=noise_of(values) if pooled else None,
        seeds=seeds,
        trained=tuple(trained),
    )


def _row(label: str, ones: list[Trained], difference: Difference | None) -> Row:
    scores = [one.bits_per_byte for one in ones if one.bits_per_byte is not None]
    seconds = [one.updates_s for one in ones if one.updates_s is not None]
    broke = tuple(f"seed {one.seed}: {one.broke}" for one in ones if one.broke)
    return Row(
        label=label,
        mean=statistics.fmean(scores) if scores and not broke else None,
        difference=difference,
        flops=ones[0].flops,
        tokens=ones[0].tokens,
        parameters=ones[0].parameters,
        updates_s=statistics.fmean(seconds) if seconds else None,
        broke=broke,
    )
