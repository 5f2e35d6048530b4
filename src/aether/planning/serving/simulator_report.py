"""From simulated requests to what is promised and paid: percentiles with intervals, goodput under limits, replicas, price.

Percentiles leave out the first requests, which meet an empty system. Requests of one run share queues, so a single run gets
batch-means intervals (Law, Simulation Modeling and Analysis, section 9.5.3), and several seeds a t interval over seeds.
Goodput is the rate of requests that meet every limit at once (DistServe, arXiv 2401.09670, section 2). Not here: a price that
nobody gave.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from aether.planning.serving.arrivals import Trace, Traffic
from aether.planning.serving.simulator import Deployment, Floats, Handoff, Outcome, Pool, simulate
from aether.spec.base import Noun
from aether.spec.errors import InputError
from aether.spec.evidence import Interval
from aether.spec.plan import Estimate, Term

WARM_UP = 0.1
"""Share of the requests that is left out of every figure (assumed)."""
_SHARES = (0.5, 0.95, 0.99)
_BATCHES = 10
"""Batches of one run for an interval (assumed; 10 to 30 are usual)."""


class Limits(Noun):
    """What users are promised. A request is good when it meets all that is stated."""

    ttft_s: float | None = Field(default=None, gt=0)
    token_s: float | None = Field(default=None, gt=0)
    """Mean time between its output tokens."""
    e2e_s: float | None = Field(default=None, gt=0)
    share: float = Field(default=0.99, gt=0, lt=1)
    """Share of requests that must be good."""


class Quantiles(Noun):
    """Of one kind of latency, in seconds."""

    mean: float
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values: Floats) -> "Quantiles | None":
        """None when there are no values."""
        if not len(values):
            return None
        p50, p95, p99 = np.quantile(values, _SHARES).tolist()
        return cls(mean=float(values.mean()), p50=p50, p95=p95, p99=p99)

    @classmethod
    def counted(cls, values: Floats, many: NDArray[np.int64]) -> "Quantiles | None":
        """The same of values of which there are so many each; None when there are none. Between two values as `np.quantile` has it."""
        held = many > 0
        values, many = values[held], many[held]
        if not len(values):
            return None
        order = np.argsort(values, kind="stable")
        values, upto = values[order], np.cumsum(many[order])
        at = (upto[-1] - 1) * np.array(_SHARES)
        low = np.floor(at)
        before, after = (
            values[np.searchsorted(upto, place, "right")] for place in (low, np.minimum(low + 1, upto[-1] - 1))
        )
        share, apart = at - low, after - before
        p50, p95, p99 = np.where(share < 0.5, before + apart * share, after - apart * (1 - share)).tolist()
        return cls(mean=float(values @ many[order] / upto[-1]), p50=p50, p95=p95, p99=p99)


class Summary(Noun):
    """One run, after the warm-up."""

    requests: int
    ttft_s: Quantiles
    gap_s: Quantiles | None
    """Of all gaps between tokens; None when every answer is one token."""
    token_s: Quantiles | None
    """Of requests' mean time between tokens."""
    e2e_s: Quantiles
    requests_per_s: float
    """Answered within the window between the first and the last counted arrival."""
    output_tokens_per_s: float
    prompt_tokens_per_s: float
    waiting: float
    """Mean number of requests that no engine has admitted yet."""
    in_system: float
    """Mean number of requests that are not answered."""
    good_share: float
    goodput_per_s: float
    """Requests per second that are within the limits."""
    preemptions: int
    busy_share: float


def summarise(outcome: Outcome, limits: Limits | None = None, warm_up: float = WARM_UP) -> Summary:
    """The figures of one run."""
    if not 0 <= warm_up < 1:
        raise InputError.of("warm_up", warm_up, "give a share from 0 to below 1")
    order = np.argsort(outcome.arrival_s, kind="stable")
    counted = order[int(len(order) * warm_up) :]
    gaps, means = _gaps(outcome, counted)
    ttft_s, e2e_s = outcome.ttft_s[counted], outcome.e2e_s[counted]
    first, ended = Quantiles.of(ttft_s), Quantiles.of(e2e_s)
    assert first is not None and ended is not None
    start_s, stop_s = float(outcome.arrival_s[counted[0]]), float(outcome.arrival_s[counted[-1]])
    if len(counted) < 2 or stop_s <= start_s:
        start_s, stop_s = 0.0, outcome.end_s
    span_s = stop_s - start_s
    ends_s = np.array([times[-1] for times in outcome.tokens_s])
    within = (ends_s > start_s) & (ends_s <= stop_s)
    every_s = np.concatenate(outcome.tokens_s)
    good = _good(limits, ttft_s, means, e2e_s)
    rate = float(within.sum()) / span_s
    return Summary(
        requests=len(counted),
        ttft_s=first,
        gap_s=gaps,
        token_s=Quantiles.of(means[~np.isnan(means)]),
        e2e_s=ended,
        requests_per_s=rate,
        output_tokens_per_s=float(((every_s > start_s) & (every_s <= stop_s)).sum()) / span_s,
        prompt_tokens_per_s=float(outcome.prompt_tokens[within].sum()) / span_s,
        waiting=_mean_number(outcome.arrival_s, outcome.arrival_s + outcome.waited_s, start_s, stop_s),
        in_system=_mean_number(outcome.arrival_s, ends_s, start_s, stop_s),
        good_share=float(good.mean()),
        goodput_per_s=rate * float(good.mean()),
        preemptions=outcome.preemptions,
        busy_share=outcome.busy_share,
    )


def _gaps(outcome: Outcome, counted: np.ndarray) -> tuple["Quantiles | None", Floats]:
    """Of all gaps between tokens, and each request's mean gap (NaN for an answer of one token). Requests that decode in one step have its gap
    together, so that gaps are counted by step: there are a thousand times as many of them."""
    steps = [np.diff(ends, prepend=ends[:1]) for ends in outcome.steps_s]
    changes = [[0] * (len(ends) + 1) for ends in outcome.steps_s]
    means, between = [], []
    for index in counted.tolist():
        runs = outcome.runs[index]
        for engine, first, last in runs:
            changes[engine][first + 1] += 1
            changes[engine][last + 1] -= 1
        engine, first, last = runs[0]
        piece = steps[engine][first + 1 : last + 1] if len(runs) == 1 else np.diff(outcome.tokens_s[index])
        means.append(np.add.reduce(piece) / len(piece) if len(piece) else math.nan)
        for (engine, _, last), (other, start, _) in pairwise(runs):
            between.append(outcome.steps_s[other][start] - outcome.steps_s[engine][last])
    many = [np.cumsum(each)[:-1] for each in changes]
    values = np.concatenate([*steps, np.array(between, np.float64)])
    return Quantiles.counted(values, np.concatenate([*many, np.ones(len(between), np.int64)])), np.array(means)


def _good(limits: Limits | None, ttft_s: Floats, means_s: Floats, e2e_s: Floats) -> np.ndarray:
    good = np.ones(len(ttft_s), bool)
    if limits is None:
        return good
    for most, values in ((limits.ttft_s, ttft_s), (limits.token_s, np.nan_to_num(means_s)), (limits.e2e_s, e2e_s)):
        if most is not None:
            good &= values <= most
    return good


def _mean_number(from_s: Floats, to_s: Floats, start_s: float, stop_s: float) -> float:
    """Time-average of how many intervals are open between `start_s` and `stop_s`."""
    overlap = np.minimum(to_s, stop_s) - np.maximum(from_s, start_s)
    return float(np.maximum(overlap, 0.0).sum()) / (stop_s - start_s)


def batch_means(values: Floats, share: float, level: float = 0.95) -> Interval | None:
    """An interval for a quantile from batches of consecutive values of one run; None with too few values."""
    from scipy import stats

    if len(values) < 2 * _BATCHES:
        return None
    each = np.array([np.quantile(batch, share) for batch in np.array_split(values, _BATCHES)])
    middle = float(np.quantile(values, share))
    half = float(stats.t.ppf(0.5 + level / 2, _BATCHES - 1) * each.std(ddof=1) / math.sqrt(_BATCHES))
    return Interval(low=middle - half, high=middle + half, level=level, method=f"{_BATCHES} batch means of one run")


_METRICS: dict[str, tuple[str, Callable[[Summary], float | None]]] = {
    "throughput": ("token/s", lambda s: s.output_tokens_per_s),
    "requests_per_s": ("1/s", lambda s: s.requests_per_s),
    "goodput": ("1/s", lambda s: s.goodput_per_s),
    "good_share": ("ratio", lambda s: s.good_share),
    "waiting": ("count", lambda s: s.waiting),
}
for _label in ("p50", "p95", "p99"):
    _METRICS[f"ttft_{_label}"] = ("s", lambda s, q=_label: getattr(s.ttft_s, q))
    _METRICS[f"itl_{_label}"] = ("s", lambda s, q=_label: getattr(s.gap_s, q) if s.gap_s else None)
    _METRICS[f"e2e_{_label}"] = ("s", lambda s, q=_label: getattr(s.e2e_s, q))


def forecast(
    deployment: Deployment,
    traffic: Traffic | Trace,
    limits: Limits | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    level: float = 0.95,
) -> tuple[Estimate, ...]:
    """Every figure as the mean over seeds with a t interval. It speaks of chance in the traffic, not of an error in the
    step time."""
    found = [summarise(simulate(deployment, traffic, seed), limits) for seed in seeds]
    source = f"aether.planning.serving.simulator, {found[0].requests} counted requests for each of {len(seeds)} seeds"
    estimates: list[Estimate] = []
    for metric, (unit, read) in _METRICS.items():
        values = [value for value in map(read, found) if value is not None]
        if not values:
            continue
        from aether.evidence import statistics  # Its SciPy takes half a second to load: a plan should not wait for it.

        mean = statistics.mean(values, None, level)
        interval = mean.interval
        if interval is not None:
            interval = Interval(low=max(0.0, interval.low), high=interval.high, level=level, method="t over seeds")
        terms = (Term(name="seeds", value=len(seeds), unit="count", kind="computed", source=source),)
        estimates.append(
            Estimate(
                metric=metric,
                value=mean.value,
                unit=unit,
                interval=interval,
                kind="computed",
                formula="discrete-event simulation of the queue over step time",
                terms=terms,
            )
        )
    return tuple(estimates)


class Sizing(Noun):
    """How many replicas meet the limits. `replicas` is None when even `most` do not."""

    replicas: int | None
    tried: tuple[tuple[int, float], ...]
    """(replicas, share of good requests) in order of trial."""
    because: str


def replicas_needed(
    pool: Pool,
    traffic: Traffic | Trace,
    limits: Limits,
    most: int = 256,
    seeds: Sequence[int] = (0, 1, 2),
) -> Sizing:
    """The least number of replicas with which the share of good requests is reached, by doubling and halving.

    More replicas are taken never to be worse, which holds for the mean over seeds but for noise.
    """
    tried: dict[int, float] = {}

    def share(count: int) -> float:
        if count not in tried:
            larger = Pool(pool.cost, pool.limits, count, pool.routing)
            found = [summarise(simulate(larger, traffic, seed), limits).good_share for seed in seeds]
            tried[count] = sum(found) / len(found)
        return tried[count]

    enough = 1
    while share(enough) < limits.share and enough < most:
        enough = min(most, 2 * enough)
    if share(enough) < limits.share:
        because = (
            f"{enough} replicas reach {share(enough):.3f} of requests within the limits, not {limits.share:g}: "
            "a faster step or a looser limit is needed, or `most` must be larger"
        )
        return Sizing(replicas=None, tried=tuple(tried.items()), because=because)
    low = max((count for count in tried if tried[count] < limits.share), default=0)
    while enough - low > 1:
        middle = (enough + low) // 2
        low, enough = (low, middle) if share(middle) >= limits.share else (middle, enough)
    because = f"{enough} replicas reach {tried[enough]:.3f} of requests within the limits"
    if enough > 1:
        because += f", {enough - 1} reach {share(enough - 1):.3f}"
    return Sizing(replicas=enough, tried=tuple(tried.items()), because=f"{because}; asked for {limits.share:g}")


def usd_per_million_tokens(
    summary: Summary, deployment: Deployment, devices_per_replica: int, usd_per_device_hour: float | None
) -> float | None:
    """What a million output tokens cost at this load; None without a price."""
    if usd_per_device_hour is None:
        return None
    if usd_per_device_hour <= 0 or devices_per_replica < 1:
        mend = "give a price above 0 and at least one device"
        raise InputError.of("usd_per_device_hour", (usd_per_device_hour, devices_per_replica), mend)
    replicas = (
        deployment.prefill.replicas + deployment.decode.replicas
        if isinstance(deployment, Handoff)
        else deployment.replicas
    )
    usd_per_s = replicas * devices_per_replica * usd_per_device_hour / 3600.0
    return usd_per_s / summary.output_tokens_per_s * 1e6
