"""What failures cost a synchronous training job: how often it stops, how often to checkpoint, what part of the time trains.

One failed device stops the job, so failures of n devices come n times as often. Checkpoint intervals: Young 1974, Daly 2006
(equation 37), and the exact optimum of Daly's complete model (equation 20), which is also the closed form here: exponential
failures that strike work, checkpoints and restarts alike. A seeded Monte-Carlo simulation beside it takes other gaps
(Weibull) too. Rates are published ones (knowledge/reliability.toml). Not here: correlated failures, silent corruption, jobs
that go on with fewer replicas, waiting for spare machines.
"""

import functools
import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from aether.knowledge.sourced import Sourced
from aether.knowledge.tables import table
from aether.spec.base import Noun
from aether.spec.errors import InputError
from aether.spec.evidence import Interval
from aether.spec.plan import Estimate, Term

HOUR_S = 3600.0


class Cluster(Sourced):
    """What was published about the failures of one job or cluster."""

    devices: int = Field(ge=1)
    failures: int | None = Field(default=None, ge=1)
    days: float | None = Field(default=None, gt=0)
    failures_per_1000_node_days: float | None = Field(default=None, gt=0)
    devices_per_node: int | None = Field(default=None, ge=1)
    effective_share: float | None = Field(default=None, gt=0, le=1)
    """Part of the time that moved training forward."""
    restart_s: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _whole(self) -> "Cluster":
        assert (self.failures is None) == (self.days is None), f"{self.name}: failures need days"
        assert (self.failures_per_1000_node_days is None) == (self.devices_per_node is None), f"{self.name}: whole rate"
        return self

    @property
    def device_mtbf_s(self) -> float | None:
        """Mean time between failures of the job that one device accounts for; None where no rate was published."""
        if self.failures is not None and self.days is not None:
            return self.devices * self.days * 24 * HOUR_S / self.failures
        if self.failures_per_1000_node_days is not None and self.devices_per_node is not None:
            return self.devices_per_node * 1000 * 24 * HOUR_S / self.failures_per_1000_node_days
        return None


@functools.cache
def clusters() -> dict[str, Cluster]:
    """Name -> published cluster."""
    return {row["name"]: Cluster.model_validate(row) for row in table("reliability.toml")["cluster"]}


RateFrom = Literal["llama-3-405b", "meta-rsc-1", "b200-504"]


class TrainingJob(Noun):
    """A synchronous job: every device is needed."""

    devices: int = Field(ge=1, le=1_000_000)
    work_s: float = Field(gt=0)
    """Training time on devices that never fail."""
    checkpoint_s: float = Field(ge=0)
    """How long a checkpoint holds training up."""
    restart_s: float = Field(ge=0)
    """From a failure until training goes on: detection, replacement, start, loading."""
    rate_from: RateFrom = "llama-3-405b"
    device_mtbf_s: float | None = Field(default=None, gt=0)
    """The person's own measurement, in place of `rate_from`."""

    @property
    def mtbf_s(self) -> float:
        """Mean time between failures of the whole job."""
        return self.device_rate_s / self.devices

    @property
    def device_rate_s(self) -> float:
        """Mean time between failures for each device."""
        if self.device_mtbf_s is not None:
            return self.device_mtbf_s
        published = clusters()[self.rate_from].device_mtbf_s
        assert published is not None
        return published


def young_interval_s(checkpoint_s: float, mtbf_s: float) -> float:
    """First-order optimum of work between checkpoints (Young 1974)."""
    return math.sqrt(2.0 * checkpoint_s * mtbf_s)


def daly_interval_s(checkpoint_s: float, mtbf_s: float) -> float:
    """Higher-order optimum of work between checkpoints (Daly 2006, equation 37)."""
    if checkpoint_s >= 2.0 * mtbf_s:
        return mtbf_s
    ratio = checkpoint_s / (2.0 * mtbf_s)
    return math.sqrt(2.0 * checkpoint_s * mtbf_s) * (1.0 + math.sqrt(ratio) / 3.0 + ratio / 9.0) - checkpoint_s


def optimum_interval_s(checkpoint_s: float, mtbf_s: float) -> float:
    """The exact optimum for exponential failures: the root of exp((t + c) / M) (1 - t / M) = 1, by bisection."""
    low, high = 0.0, mtbf_s
    for _ in range(100):
        middle = (low + high) / 2
        more = (middle + checkpoint_s) / mtbf_s + math.log1p(-middle / mtbf_s) > 0
        low, high = (middle, high) if more else (low, middle)
    return high


class Shares(Noun):
    """Where the time goes in the long run; the four add up to 1."""

    training: float
    """The goodput: work that is kept."""
    checkpoints: float
    """Of the checkpoints that were kept."""
    rework: float
    """Work and checkpoints that a failure undid."""
    restarts: float


def shares(job: TrainingJob, interval_s: float) -> Shares:
    """The closed form for work of `interval_s` between checkpoints."""
    if interval_s <= 0:
        raise InputError.of("interval_s", interval_s, "give seconds above 0")
    mtbf_s = job.mtbf_s
    exponent = (interval_s + job.checkpoint_s) / mtbf_s
    restarts = -math.expm1(-job.restart_s / mtbf_s)
    # An interval that a failure hits many times over never ends: its goodput is 0, not an overflow.
    kept = math.exp(-job.restart_s / mtbf_s) / math.expm1(exponent) if exponent < 700 else 0.0
    training, checkpoints = kept * interval_s / mtbf_s, kept * job.checkpoint_s / mtbf_s
    rework = max(0.0, 1.0 - restarts - training - checkpoints)
    return Shares(training=training, checkpoints=checkpoints, rework=rework, restarts=restarts)


def best_interval_s(job: TrainingJob) -> float:
    """The interval to plan with. Checkpoints that cost nothing are still at least a second apart."""
    return max(1.0, optimum_interval_s(job.checkpoint_s, job.mtbf_s))


def simulate_runs(
    job: TrainingJob, interval_s: float, runs: int = 200, seed: int = 0, shape: float = 1.0
) -> NDArray[np.float64]:
    """Wall-clock seconds of whole runs. `shape` below 1 makes failures come in clusters (Weibull gaps); 1 is exponential.

    The last stretch of work is what is left, with a checkpoint at its end. Each failure renews the gaps.
    """
    if not (interval_s > 0 and runs > 0 and shape > 0):
        raise InputError.of("interval_s, runs, shape", (interval_s, runs, shape), "give numbers above 0")
    if shares(job, interval_s).training < 1e-3:
        mend = "under a thousandth of the time would be training: the run would not end"
        raise InputError.of("interval_s", interval_s, mend)
    generator = np.random.default_rng(seed)
    scale_s = job.mtbf_s / math.gamma(1.0 + 1.0 / shape)
    cycles = max(0, math.ceil(job.work_s / interval_s) - 1)
    stretch = (cycles, interval_s + job.checkpoint_s, job.work_s - cycles * interval_s + job.checkpoint_s)
    return np.array([_one_run(generator, (scale_s, shape), stretch, job.restart_s) for _ in range(runs)])


def _one_run(
    generator: np.random.Generator, gaps: tuple[float, float], stretch: tuple[int, float, float], restart_s: float
) -> float:
    """`stretch`: whole intervals, seconds of each, seconds of the last one, checkpoints counted."""
    (scale_s, shape), (left, cycle_s, last_s) = gaps, stretch
    wall_s, down_s = 0.0, 0.0
    while True:
        for gap_s in (scale_s * generator.weibull(shape, 256)).tolist():
            if gap_s - down_s >= left * cycle_s + last_s:
                return wall_s + down_s + left * cycle_s + last_s
            left -= min(left, int((gap_s - down_s) // cycle_s) if gap_s > down_s else 0)
            wall_s += gap_s
            down_s = restart_s


def straggler_slowdown(workers: int, sigma: float) -> float:
    """Mean step time of `workers` that wait for the slowest, over the mean of one.

    Step times are lognormal with `sigma` (standard deviation of the logarithm, about the relative spread), independent
    between workers: E[max] by integrating 1 - F^n.
    """
    from scipy.special import log_ndtr

    if workers < 1 or not 0 <= sigma <= 2:
        raise InputError.of("workers, sigma", (workers, sigma), "give at least one worker and a spread from 0 to 2")
    z = np.linspace(-12.0, 20.0, 64_001)
    above = -np.expm1(workers * log_ndtr(z))
    mean = math.exp(-12.0 * sigma) + float(np.trapezoid(sigma * np.exp(sigma * z) * above, z))
    return mean / math.exp(sigma**2 / 2)


def estimates(job: TrainingJob, sigma: float = 0.0, runs: int = 200, seed: int = 0) -> tuple[Estimate, ...]:
    """Failures, interval, goodput and wall-clock time of a job, each with where its numbers come from.

    Goodput's interval spans the published failure rates when none was measured; the time's is the chance of single runs.
    `sigma` is the spread of step times between workers.
    """
    interval_s = best_interval_s(job)
    found, slow = shares(job, interval_s), straggler_slowdown(job.devices, sigma)
    walls_s = simulate_runs(job, interval_s, runs, seed) * slow
    wall_s = job.work_s / found.training * slow
    terms = _terms(job, slow)
    low_s, high_s = np.quantile(walls_s, [0.1, 0.9]).tolist()
    # Where hardly a run fails, the mean lies beyond most runs.
    ends = {"low": min(low_s, wall_s), "high": max(high_s, wall_s)}
    chance = Interval(**ends, level=0.8, method=f"Monte-Carlo, {runs} runs, seed {seed}")
    parts = found.model_dump()
    lost = max(("checkpoints", "rework", "restarts"), key=lambda name: parts[name])

    def one(metric: str, value: float, unit: str, formula: str, interval: Interval | None = None) -> Estimate:
        return Estimate(
            metric=metric,
            value=value,
            unit=unit,
            interval=interval,
            kind="computed",
            formula=formula,
            terms=terms,
            binding=lost,
        )

    renewal = "t / (M e^(R/M) (e^((t+c)/M) - 1)), Daly 2006 equation 20"
    return (
        one("job_mtbf", job.mtbf_s, "s", "device time between failures / devices"),
        one("checkpoint_interval", interval_s, "s", "root of e^((t+c)/M) (1 - t/M) = 1"),
        one("goodput", found.training / slow, "ratio", f"{renewal}, over the stragglers' slowdown", _range(job, slow)),
        one("wall_clock", wall_s, "s", "work / goodput", chance),
        one("failures", wall_s / job.mtbf_s, "count", "wall-clock time / M"),
        *(one(f"{name}_share", parts[name], "ratio", renewal) for name in ("checkpoints", "rework", "restarts")),
    )


def _range(job: TrainingJob, slow: float) -> Interval | None:
    """Goodput at the published rates that are farthest apart; None when the job's own rate was measured."""
    if job.device_mtbf_s is not None:
        return None
    rates = [c.device_mtbf_s for c in clusters().values() if c.device_mtbf_s is not None]
    others = [job.model_copy(update={"device_mtbf_s": rate}) for rate in rates]
    values = [shares(other, best_interval_s(other)).training / slow for other in others]
    method = f"lowest and highest of {len(rates)} published failure rates (level assumed)"
    return Interval(low=min(values), high=max(values), level=0.8, method=method)


def _terms(job: TrainingJob, slow: float) -> tuple[Term, ...]:
    own = "given with the job"
    if job.device_mtbf_s is not None:
        rate = Term(name="device MTBF", value=job.device_mtbf_s, unit="s", kind="measured", source=own)
    else:
        row = clusters()[job.rate_from]
        source = f"{row.source} ({row.as_of})"
        rate = Term(name="device MTBF", value=job.device_rate_s, unit="s", kind=row.kind, source=source)
    lognormal = "max of n lognormal step times, spread given with the job"
    return (
        rate,
        Term(name="devices", value=job.devices, unit="count", kind="assumed", source=own),
        Term(name="checkpoint", value=job.checkpoint_s, unit="s", kind="assumed", source=own),
        Term(name="restart", value=job.restart_s, unit="s", kind="assumed", source=own),
        Term(name="straggler slowdown", value=slow, unit="ratio", kind="computed", source=lognormal),
    )
