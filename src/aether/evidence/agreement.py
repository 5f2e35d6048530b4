"""Do annotators agree beyond chance? Krippendorff's alpha and Cohen's kappa with bootstrap intervals over items. No torch.

Krippendorff, Computing Krippendorff's Alpha-Reliability (2011): any number of annotators, gaps allowed, nominal, ordinal, interval or
ratio categories. Cohen, A Coefficient of Agreement for Nominal Scales (1960). The items are resampled, since they are what is drawn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aether.spec.errors import InputError
from aether.spec.evidence import Interval

Scale = Literal["nominal", "ordinal", "interval", "ratio"]
Floats = NDArray[np.float64]
RESAMPLES = 2000


@dataclass(frozen=True)
class Agreement:
    """A coefficient (1 agree fully, 0 as by chance) with its interval. None where chance alone agrees fully."""

    value: float | None
    interval: Interval | None
    items: int
    share: float
    """Pairs of judgements of one item that are equal, as a share."""


def krippendorff_alpha(
    ratings: ArrayLike, scale: Scale = "nominal", level: float = 0.95, seed: int = 0, resamples: int = RESAMPLES
) -> Agreement:
    """Alpha of `ratings` (annotators, items) of numbers, NaN where an annotator gave none.

    Items with fewer than two judgements say nothing and are left out. Raises InputError when none is left.
    """
    given_AI = np.asarray(ratings, np.float64)
    given_AI = given_AI[:, (~np.isnan(given_AI)).sum(axis=0) >= 2]
    if given_AI.shape[1] == 0:
        raise InputError.of("ratings", 0, "no item has two judgements; have items judged twice")
    values = np.unique(given_AI[~np.isnan(given_AI)])
    counts_IV = np.stack([(given_AI == value).sum(axis=0) for value in values], axis=1).astype(np.float64)
    pairs_I = counts_IV.sum(axis=1) - 1.0
    own_I = (counts_IV * (counts_IV - 1.0)).sum(axis=1) / pairs_I
    share = float(own_I.sum() / counts_IV.sum())

    def alpha(rows: NDArray[np.int64]) -> float | None:
        return _alpha(counts_IV[rows], pairs_I[rows], values, scale)

    return _bootstrapped(alpha, len(counts_IV), share, level, seed, resamples)


def cohen_kappa(
    one: Sequence[object], other: Sequence[object], level: float = 0.95, seed: int = 0, resamples: int = RESAMPLES
) -> Agreement:
    """Kappa of two annotators' labels of the same items."""
    if len(one) != len(other) or not one:
        raise InputError.of("labels", (len(one), len(other)), "give two annotators' labels of the same items")
    names = {name: code for code, name in enumerate(sorted({str(label) for label in (*one, *other)}))}
    x, y = (np.array([names[str(label)] for label in part]) for part in (one, other))

    def kappa(rows: NDArray[np.int64]) -> float | None:
        seen = float((x[rows] == y[rows]).mean())
        chance = float(
            (np.bincount(x[rows], minlength=len(names)) * np.bincount(y[rows], minlength=len(names))).sum()
        ) / (len(rows) ** 2)
        return None if chance >= 1.0 else (seen - chance) / (1.0 - chance)

    return _bootstrapped(kappa, len(x), float((x == y).mean()), level, seed, resamples)


def _alpha(counts_IV: Floats, pairs_I: Floats, values: Floats, scale: Scale) -> float | None:
    """1 - observed over expected disagreement, from the coincidence matrix (Krippendorff 2011, step D)."""
    weighted_IV = counts_IV / pairs_I[:, None]
    coincidences_VV = weighted_IV.T @ counts_IV - np.diag(weighted_IV.sum(axis=0))
    totals_V = coincidences_VV.sum(axis=1)
    total = float(totals_V.sum())
    apart_VV = _distance(values, totals_V, scale)
    expected = float(totals_V @ apart_VV @ totals_V) / (total - 1.0)
    return None if expected <= 0.0 else 1.0 - float((coincidences_VV * apart_VV).sum()) / expected


def _distance(values: Floats, totals_V: Floats, scale: Scale) -> Floats:
    left, right = values[:, None], values[None, :]
    if scale == "nominal":
        return (left != right).astype(np.float64)
    if scale == "interval":
        return (left - right) ** 2
    if scale == "ratio":
        both = left + right
        return np.divide(left - right, both, out=np.zeros_like(both), where=both != 0) ** 2
    # Ordinal: how many judgements lie between two ranks, half of each end's own.
    middle = np.cumsum(totals_V) - totals_V / 2
    return (middle[:, None] - middle[None, :]) ** 2


def _bootstrapped(
    coefficient: Callable[[NDArray[np.int64]], float | None],
    items: int,
    share: float,
    level: float,
    seed: int,
    resamples: int,
) -> Agreement:
    value = coefficient(np.arange(items))
    draws_RI = np.random.default_rng(seed).integers(0, items, (resamples, items))
    drawn = [found for rows in draws_RI if (found := coefficient(rows)) is not None]
    if value is None or not drawn:
        return Agreement(value, None, items, share)
    low, high = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2])
    method = f"bootstrap over items, percentile, {resamples} draws"
    interval = Interval(low=float(low), high=float(high), level=level, method=method)
    return Agreement(value, interval, items, share)
