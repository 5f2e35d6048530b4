"""Repeated timing of one call: medians and tail quantiles with distribution-free intervals. Standard library only."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aether.spec.evidence import Interval


@dataclass(frozen=True)
class Sampled:
    """Repeats of one measurement: median with a distribution-free 95% interval of the median."""

    value: float
    interval: Interval
    n: int

    @classmethod
    def of(cls, samples: list[float]) -> "Sampled":
        """Order-statistic interval of the median (David and Nagaraja 2003, 7.1), normal ranks; all values when few."""
        ordered = sorted(samples)
        n = len(ordered)
        reach = 0.98 * n**0.5
        low, high = max(0, int(n / 2 - reach)), min(n - 1, int(n / 2 + reach))
        interval = Interval(low=ordered[low], high=ordered[high], level=0.95, method="order statistics of the median")
        return cls(statistics.median(ordered), interval, n)

    @classmethod
    def of_quantile(cls, samples: list[float], share: float) -> "Sampled":
        """The `share` quantile with an order-statistic interval (normal ranks); its upper end is the maximum when few."""
        ordered = sorted(samples)
        n = len(ordered)
        rank, reach = share * n, 1.96 * (n * share * (1 - share)) ** 0.5
        low, high = ordered[max(0, int(rank - reach))], ordered[min(n - 1, int(rank + reach))]
        method = f"order statistics of the {share:g} quantile"
        return cls(ordered[min(n - 1, int(rank))], Interval(low=low, high=high, level=0.95, method=method), n)

    def scaled(self, numerator: float) -> "Sampled":
        """numerator / value: a rate from times."""
        low, high = numerator / self.interval.high, numerator / self.interval.low
        return Sampled(numerator / self.value, self.interval.model_copy(update={"low": low, "high": high}), self.n)


@dataclass(frozen=True)
class Timer:
    """Times a call until `seconds` have passed, at least 5 times, after a warm-up."""

    seconds: float
    synchronize: Callable[[], None]

    def samples(self, call: Callable[[], Any]) -> Sampled:
        """Seconds per call."""
        for _ in range(2):
            call()
        self.synchronize()
        taken: list[float] = []
        started = time.perf_counter()
        while len(taken) < 5 or (time.perf_counter() - started < self.seconds and len(taken) < 2000):
            before = time.perf_counter()
            call()
            self.synchronize()
            taken.append(time.perf_counter() - before)
        return Sampled.of(taken)
