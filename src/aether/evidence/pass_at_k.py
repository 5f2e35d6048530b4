"""pass@k without bias, with an interval over problems. Chen et al., arXiv 2107.03374, equation 1. No torch."""

from collections.abc import Sequence

import numpy as np

from aether.evidence.statistics import Labels, Measurement, mean
from aether.spec.errors import InputError
from aether.spec.evidence import Interval


def pass_at_k_of(drawn: int, passed: int, k: int) -> float:
    """The chance that at least one of k answers passes, from `passed` of `drawn` that did: 1 - C(n - c, k) / C(n, k)."""
    if not 0 <= passed <= drawn or k < 1:
        raise InputError.of("pass@k", (drawn, passed, k), "give drawn >= passed >= 0 and k >= 1")
    if drawn < k:
        raise InputError.of("drawn", drawn, f"pass@{k} needs at least {k} answers for every problem")
    if drawn - passed < k:
        return 1.0
    return 1.0 - float(np.prod(1.0 - k / np.arange(drawn - passed + 1, drawn + 1)))


def pass_at_k(
    drawn: Sequence[int], passed: Sequence[int], k: int, clusters: Labels | None = None, level: float = 0.95
) -> Measurement:
    """Mean pass@k over problems, with a cluster-robust t interval over problems cut to 0 and 1."""
    found = mean([pass_at_k_of(n, c, k) for n, c in zip(drawn, passed, strict=True)], clusters, level)
    if found.interval is None:
        return found
    low, high = max(0.0, found.interval.low), min(1.0, found.interval.high)
    interval = Interval(low=low, high=high, level=level, method=found.interval.method)
    return Measurement(found.value, found.se, interval, found.n, found.clusters, found.note)
