"""Any traffic through a deployment, request by request: what users would see, how many replicas a promise needs, what it costs.

The step time and the front end are those of `corrected` (the roofline with its fitted residuals) at the mean batch of a first
run. Intervals join the error of the step time, from models left out of its fit, with the spread over seeds of the traffic.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from aether.knowledge import library
from aether.planning.search.corrected import Corrected
from aether.planning.search.question import read_deployment, serving_setup
from aether.planning.search.steady import Steady
from aether.planning.serving.arrivals import Clients, Trace, Traffic
from aether.planning.serving.disaggregation import cache_bytes_per_token, describe, splits
from aether.planning.serving.setup import ServingSetup
from aether.planning.serving.simulator import Pool, pool_of, simulate
from aether.planning.serving.simulator_report import (
    Limits,
    Summary,
    replicas_needed,
    summarise,
    usd_per_million_tokens,
)
from aether.planning.serving.speculative import best_draft_tokens, break_even_sequences, relative_draft, speculate
from aether.planning.serving.traffic_file import Asked, Drafts, read_traffic
from aether.policy.brief_errors import of_validation, raise_all
from aether.spec.brief import Load
from aether.spec.errors import InputError
from aether.spec.evidence import Interval
from aether.spec.plan import Estimate, Term

LEVEL = 0.8
SEEDS = (0, 1, 2)
"""Draws of the traffic (chosen: a simulation of a thousand requests takes some tenths of a second)."""
_SHARES = ("p50", "p95", "p99")


@dataclass(frozen=True)
class Simulated:
    """The deployment in words, its estimates, and sentences about replicas, splits and drafts."""

    subject: str
    estimates: tuple[Estimate, ...]
    findings: tuple[str, ...]
    setup: dict[str, Any]


@dataclass(frozen=True)
class _Scene:
    """A deployment under a traffic, at the batch that settles."""

    setup: ServingSetup
    asked: Asked
    pool: Pool
    cost: Corrected
    state: Steady
    load: Load

    def first_s(self, engine_s: float) -> float:
        """A first token as a client sees it."""
        return self.cost.first_s(engine_s, self.state)

    def engine_limits(self) -> Limits | None:
        """The promise in the engine's own time: its first token comes before the front end has passed it on."""
        promise = self.asked.promise
        if promise is None or promise.ttft_s is None:
            return promise
        at_nothing, slope = self.first_s(0.0), self.first_s(1.0) - self.first_s(0.0)
        left_s = (promise.ttft_s - at_nothing) / slope
        if left_s <= 0:
            mend = f"the front end alone takes {at_nothing:.3g} s: promise more"
            raise InputError.of("promise.ttft_s", promise.ttft_s, mend)
        return promise.model_copy(update={"ttft_s": left_s})


def simulated(model: str, path: Path, on: str, devices: int, settings: Sequence[str]) -> Simulated:
    """The answer. Raises InputError naming field, value and mend."""
    if devices < 1:
        raise InputError.of("devices", devices, "give at least 1")
    asked = read_traffic(path)
    given = read_deployment(settings)
    try:
        name, setup = serving_setup(model, on, devices, given)
    except ValidationError as error:
        raise_all("--set", of_validation(error, ""))
    replicas, rest = divmod(devices, setup.devices)
    if rest or not replicas:
        mend = f"a replica takes tp * attn_dp * pp = {setup.devices}: give a multiple of it"
        raise InputError.of("devices", devices, mend)
    scene = _settled(setup, asked, replicas)
    limits = scene.engine_limits()
    runs = [summarise(simulate(scene.pool, asked.traffic, seed), limits) for seed in SEEDS]
    estimates = (*_latencies(scene, runs), *_rates(scene, runs), _money(scene, runs[0], given["price_usd_per_hour"]))
    subject = f"{name} on {devices} x {setup.device.name}, {given['precision']}, {replicas} x tp{setup.tp}"
    if setup.pp > 1:
        subject += f" pp{setup.pp}"
    return Simulated(subject, estimates, tuple(_findings(scene, runs[0], limits)), setup.model_dump(mode="json"))


def _settled(setup: ServingSetup, asked: Asked, replicas: int) -> _Scene:
    """The pool with the step time at the batch of a first, uncorrected run."""
    plain = pool_of(setup, replicas)
    seen = summarise(simulate(plain, asked.traffic, SEEDS[0]))
    load = _mean_load(asked.traffic, seen)
    sequences = max(1.0, (seen.in_system - seen.waiting) / replicas)
    cost = Corrected(setup, load, sequences)
    context = load.prompt_tokens + load.output_tokens / 2
    token_s = cost.seconds(0.0, 0.0, sequences, context)
    state = Steady(sequences, token_s, token_s, seen.ttft_s.p50, seen.ttft_s.p99, 0.0)
    return _Scene(setup, asked, Pool(cost.seconds, plain.limits, replicas), cost, state, load)


def _mean_load(traffic: Traffic | Trace, seen: Summary) -> Load:
    drawn = traffic.draw(SEEDS[0])
    prompt = round(float(np.mean([request.prompt_tokens for request in drawn])))
    output = round(float(np.mean([request.output_tokens for request in drawn])))
    return Load(requests_per_s=seen.requests_per_s, prompt_tokens=max(1, prompt), output_tokens=max(1, output))


def _latencies(scene: _Scene, runs: Sequence[Summary]) -> list[Estimate]:
    def added_s(run: Summary, share: str) -> float:
        engine_s = getattr(run.ttft_s, share)
        return scene.first_s(engine_s) - engine_s

    readers: list[tuple[str, str, Callable[[Summary, str], float | None]]] = [
        ("ttft", "ttft", lambda run, share: scene.first_s(getattr(run.ttft_s, share))),
        ("itl", "token", lambda run, share: getattr(run.gap_s, share) if run.gap_s else None),
        ("e2e", "token", lambda run, share: getattr(run.e2e_s, share) + added_s(run, share)),
    ]
    found = []
    for kind, quantity, read in readers:
        for share in _SHARES:
            values = [value for run in runs if (value := read(run, share)) is not None]
            if values:
                found.append(_spread(f"{kind}_{share}", "s", values, quantity, scene, runs[0].requests))
    return found


def _rates(scene: _Scene, runs: Sequence[Summary]) -> list[Estimate]:
    readers: list[tuple[str, str, Callable[[Summary], float]]] = [
        ("throughput", "token/s", lambda run: run.output_tokens_per_s),
        ("requests_per_s", "request/s", lambda run: run.requests_per_s),
        ("busy_share", "fraction", lambda run: run.busy_share),
    ]
    if scene.asked.promise is not None:
        readers.append(("good_share", "fraction", lambda run: run.good_share))
    return [_plain(metric, unit, [read(run) for run in runs], runs[0].requests) for metric, unit, read in readers]


def _spread(metric: str, unit: str, values: Sequence[float], quantity: str, scene: _Scene, requests: int) -> Estimate:
    """The middle over seeds, with the error of the step time and the spread of the traffic joined as independent."""
    value = float(np.median(values))
    chance = math.log(max(values) / min(values)) / 2 if min(values) > 0 else 0.0
    known = scene.cost.known
    width = math.exp(math.hypot(known.ttft if quantity == "ttft" else known.token, chance))
    term = Term(name="mean batch", value=scene.state.sequences, unit="count", kind="computed", source="first run")
    return Estimate(
        metric=metric,
        value=value,
        unit=unit,
        interval=Interval(
            low=value / width, high=value * width, level=LEVEL, method="fit's error and traffic's spread"
        ),
        kind="computed",
        formula=f"median over {len(values)} seeds of {requests} simulated requests",
        terms=(term,),
        binding="the step's time",
    )


def _plain(metric: str, unit: str, values: Sequence[float], requests: int) -> Estimate:
    """What the traffic more than the step time decides: its interval is of the seeds alone."""
    method = f"least and most of {len(values)} seeds"
    return Estimate(
        metric=metric,
        value=float(np.mean(values)),
        unit=unit,
        interval=Interval(low=min(values), high=max(values), level=LEVEL, method=method),
        kind="computed",
        formula=f"mean over seeds of {requests} simulated requests",
    )


def _money(scene: _Scene, run: Summary, own_price: float | None) -> Estimate:
    device = scene.setup.device.name
    price = library.price_usd_per_hour(device, {} if own_price is None else {device: own_price})
    value = usd_per_million_tokens(run, scene.pool, scene.setup.devices, price)
    return Estimate(
        metric="cost_per_million_tokens",
        value=value,
        unit="USD",
        interval=None,
        kind="computed",
        formula="all devices, busy or not, over the output tokens of this traffic",
        protocol=None if value is not None else "give the price: --set price_usd_per_hour=2.5",
    )


def _findings(scene: _Scene, run: Summary, limits: Limits | None) -> list[str]:
    asked, found = scene.asked, []
    if run.preemptions:
        found.append(f"{run.preemptions} times the cache was full and a sequence was computed again")
    if limits is not None and not isinstance(asked.traffic, Trace) and not isinstance(asked.traffic.arrivals, Clients):
        sizing = replicas_needed(scene.pool, asked.traffic, limits, seeds=SEEDS)
        found.append(f"replicas for the promise: {sizing.because}")
    if asked.link is not None:
        if limits is None:
            raise InputError.of("link", asked.link.bytes_per_s, "a split is judged by a promise: give [promise] too")
        bytes_each = cache_bytes_per_token(scene.setup, scene.load.prompt_tokens)
        found.append(describe(splits(scene.pool, bytes_each, asked.link, asked.traffic, limits)))
    if asked.speculation is not None:
        found += _drafts(scene, asked.speculation)
    return found


def _drafts(scene: _Scene, drafts: Drafts) -> list[str]:
    cost = scene.pool.cost
    draft = relative_draft(cost, drafts.draft_share)
    at = (scene.state.sequences, scene.load.prompt_tokens + scene.load.output_tokens / 2)
    own = speculate(cost, draft, drafts.acceptance, drafts.draft_tokens, *at)
    best = best_draft_tokens(cost, draft, drafts.acceptance, *at)
    end = break_even_sequences(cost, draft, drafts.acceptance, drafts.draft_tokens, at[1])
    until = "at every batch up to 4,096" if end is None else f"below {end} sequences"
    return [
        f"speculation at a batch of {at[0]:.3g}: {own.verdict}",
        f"best draft here: {best.draft_tokens} tokens ({best.speedup:.2f} times); {drafts.draft_tokens} gain {until}",
    ]
