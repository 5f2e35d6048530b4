"""From the timings of single requests to the numbers that judge a server, each with an interval where data bound one.

Latency counts from the moment a request was due, not from when a busy client sent it: otherwise a stalled server hides
its own delay (coordinated omission, Gil Tene). Time between tokens is the gap between events that carry text. Gaps of
one request share its fate, so their quantiles are resampled by whole requests. Requests of an open loop share queues:
their order-statistic intervals are somewhat short, and say so in `docs/serving.md`. No torch.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np

from aether.evidence import statistics
from aether.evidence.statistics import Measurement
from aether.spec.evidence import Interval

_RESAMPLES = 1000
"""Bootstrap resamples of requests (assumed; a common choice for a 95% percentile interval)."""


@dataclass(frozen=True)
class Timing:
    """One request, in seconds from the start of its phase. `due_s` is when it should have been sent."""

    phase: Literal["open", "closed"]
    index: int
    prompt: str
    due_s: float
    started_s: float
    ended_s: float
    pieces_s: tuple[float, ...] = field(repr=False)
    prompt_tokens: int
    output_tokens: int
    status: int
    finish: str | None
    error: str | None

    @property
    def ttft_s(self) -> float:
        """From due to the first text."""
        return self.pieces_s[0] - self.due_s

    @property
    def e2e_s(self) -> float:
        """From due to the end."""
        return self.ended_s - self.due_s

    @property
    def gaps_s(self) -> tuple[float, ...]:
        """Between events with text."""
        return tuple(b - a for a, b in zip(self.pieces_s, self.pieces_s[1:], strict=False))

    def as_line(self) -> dict:
        """For requests.jsonl."""
        return asdict(self)


@dataclass(frozen=True)
class LatencyReport:
    """The open-loop phase. A metric that no request could give is absent: then every request failed."""

    metrics: dict[str, Measurement]
    requests: int
    errors: int
    offered_per_s: float
    completed_per_s: float
    client_lag_p99_s: float
    """How late the load generator itself was: large means that the client, not the server, was measured."""


def latency(timings: Sequence[Timing], level: float, seed: int) -> LatencyReport:
    """p50 and p99 of time to first token, between tokens and of the whole, over requests that were answered whole."""
    good = [timing for timing in timings if timing.error is None and timing.pieces_s]
    metrics: dict[str, Measurement] = {}
    for label, share in (("p50", 0.50), ("p99", 0.99)):
        if good:
            metrics[f"ttft_{label}"] = statistics.quantile([t.ttft_s for t in good], share, level)
            metrics[f"e2e_{label}"] = statistics.quantile([t.e2e_s for t in good], share, level)
        if any(t.gaps_s for t in good):
            metrics[f"itl_{label}"] = clustered_quantile([t.gaps_s for t in good], share, level, seed)
    lags = [t.started_s - t.due_s for t in timings]
    span_s = max(t.ended_s for t in timings)
    last_due_s = max(t.due_s for t in timings)
    return LatencyReport(
        metrics=metrics,
        requests=len(timings),
        errors=len(timings) - len(good),
        offered_per_s=len(timings) / last_due_s if last_due_s > 0 else 0.0,
        completed_per_s=len(good) / span_s,
        client_lag_p99_s=float(np.quantile(lags, 0.99)),
    )


def clustered_quantile(groups: Sequence[Sequence[float]], share: float, level: float, seed: int) -> Measurement:
    """A quantile of all values pooled, with a percentile bootstrap interval over whole groups (requests)."""
    held = [np.asarray(group, np.float64) for group in groups if len(group)]
    values = np.concatenate(held)
    owner = np.repeat(np.arange(len(held)), [len(group) for group in held])
    order = np.argsort(values, kind="stable")
    values, owner = values[order], owner[order]

    def at(weights: np.ndarray) -> float:
        running = np.cumsum(weights[owner])
        return float(values[np.searchsorted(running, share * running[-1] - 1e-9)])

    value = at(np.ones(len(held), np.int64))
    if len(held) < 2:
        return Measurement(value, None, None, len(values), len(held), "one request: no interval")
    generator = np.random.default_rng(seed)
    draws = [
        at(np.bincount(generator.integers(0, len(held), len(held)), minlength=len(held))) for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2])
    interval = Interval(
        low=min(float(low), value), high=max(float(high), value), level=level, method="bootstrap over requests"
    )
    return Measurement(value, float(np.std(draws, ddof=1)), interval, len(values), len(held))


def throughput(timings: Sequence[Timing], window: tuple[float, float], level: float) -> Measurement:
    """Output tokens per second that arrived in `window` (start, end), with a t interval over tenths of it.

    A request's tokens are spread over its events in equal parts.
    """
    start_s, end_s = window
    assert end_s > start_s
    tokens = np.zeros(10)
    for timing in timings:
        if not timing.pieces_s:
            continue
        share = timing.output_tokens / len(timing.pieces_s)
        tenth = ((np.asarray(timing.pieces_s) - start_s) / (end_s - start_s) * 10).astype(int)
        inside = tenth[(np.asarray(timing.pieces_s) >= start_s) & (tenth < 10)]
        tokens += share * np.bincount(inside, minlength=10)
    return statistics.mean(tokens / ((end_s - start_s) / 10), None, level)
