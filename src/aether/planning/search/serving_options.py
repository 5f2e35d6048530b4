"""A finalist as an option: its queue simulated request by request, every metric with interval, terms and source.

Latencies are those of the simulator over the corrected step time, with the fitted costs of the engine's front end added to
the first token. Intervals are those of the fit (errors on models that it had not seen), not of the simulated chance.
"""

import math
from collections.abc import Sequence
from typing import Literal

from aether.planning.intervals import LEVEL
from aether.planning.search.corrected import Corrected
from aether.planning.search.problem import Priced
from aether.planning.search.quality import BITS
from aether.planning.search.serving import Candidate, ServingSearch
from aether.planning.search.standing import is_known, likely, worst
from aether.planning.search.steady import BUSIEST, Batch, steady
from aether.planning.serving.arrivals import Fixed, Poisson, Traffic
from aether.planning.serving.efficiency import coefficients
from aether.planning.serving.estimate import MEMORY_ERROR
from aether.planning.serving.memory import serving_memory
from aether.planning.serving.setup import ServingSetup
from aether.planning.serving.simulator import Pool, pool_of, simulate
from aether.planning.serving.simulator_replica import EngineLimits
from aether.planning.serving.simulator_report import Summary, summarise
from aether.spec.brief import Load
from aether.spec.evidence import Interval
from aether.spec.fleet import FleetOption
from aether.spec.plan import Estimate, Term

_STEPS = 6000
"""Engine steps that one simulation may take, about: some hundredths of a second (chosen)."""
_LEAST_REQUESTS, _MOST_REQUESTS = 200, 800
_MOST_IN_SYSTEM = 250
"""Sequences in flight beyond which fewer replicas are simulated with their share of the load (chosen: the simulation must
fill and settle; a router over more replicas only shortens queues)."""

_GROWN = 2
"""Replicas that are added at most to what a simulation finds at risk (chosen)."""


_Known = dict[tuple, list[tuple[EngineLimits, int, Summary]]]
"""Limits, cache blocks to spare and figures of simulations in which no limit held anybody back, by everything else that they had."""


def simulated(one: Candidate, load: Load, seed: int, known: _Known | None = None) -> Summary:
    """What users see, from a seeded simulation of some replicas with their share of the load. `known`: of this load and seed; one that would be
    the same step by step, since only limits differ that never held anybody back, is not made again."""
    live = one.state.sequences
    replicas = max(1, min(one.replicas, 4, int(_MOST_IN_SYSTEM / live)))
    requests = max(
        _LEAST_REQUESTS, min(_MOST_REQUESTS, int(_STEPS * live / load.output_tokens)), int(5 * live * replicas)
    )
    traffic = Traffic(
        arrivals=Poisson(requests_per_s=load.requests_per_s * replicas / one.replicas),
        prompt=Fixed(tokens=load.prompt_tokens),
        output=Fixed(tokens=load.output_tokens),
        requests=requests,
    )
    pool = Pool(one.cost.seconds, pool_of(one.setup).limits, replicas, decoding=one.cost.decoding)
    alike = [] if known is None else known.setdefault((id(one.cost), one.replicas, replicas, requests), [])
    for limits, spare, summary in alike:
        if _does_the_same(pool.limits, limits, spare):
            return summary
    outcome = simulate(pool, traffic, seed)
    summary = summarise(outcome)
    if outcome.spare_blocks is not None:
        alike.append((pool.limits, outcome.spare_blocks, summary))
    return summary


def _does_the_same(new: EngineLimits, old: EngineLimits, spare: int) -> bool:
    same = new.model_copy(update={"max_sequences": old.max_sequences, "cache_blocks": old.cache_blocks}) == old
    if new.cache_blocks is None or old.cache_blocks is None:
        room = new.cache_blocks is None
    else:
        room = new.cache_blocks >= old.cache_blocks - spare
    return same and room and new.max_sequences >= old.max_sequences


Wanted = Literal["options", "decision", "one"]
"""All options, those that the decision may fall on, or one that shows that there are some."""
AS_CHEAP = 1.05
"""Costs that differ by less are not told apart, so that the simpler option is taken (chosen: half of the usual interval)."""


def offered(search: ServingSearch, finalists: Sequence[Candidate], wanted: Wanted) -> list[FleetOption]:
    """The finalists as options. One of known quality that its simulation finds at risk gets another replica, while that is cheaper
    than what meets every target. Where only a decision or one option is wanted, known quality comes first, and no more are simulated than
    it takes."""
    found: list[FleetOption] = []
    cheapest, group, one_is_enough = math.inf, None, wanted == "one"
    for finalist in finalists if wanted == "options" else sorted(finalists, key=lambda one: _before(search, one)):
        unknown, _ = _before(search, finalist)
        if wanted == "decision" and cheapest < math.inf and (unknown or search.price(finalist) > AS_CHEAP * cheapest):
            continue
        if one_is_enough and _before(search, finalist) != group:
            if any(option.standing != "missed" for option in found):
                break  # what follows comes after in every decision
            group = _before(search, finalist)
        one: Candidate | None = finalist
        for _ in range(1 + _GROWN):
            if one is None or (one is not finalist and search.price(one) >= cheapest):
                break
            found.append(option_of(search, one))
            if not is_known(found[-1]):
                break
            if found[-1].standing == "met":
                cheapest = min(cheapest, search.price(one))
                break
            one = search.grown(one)
        if one_is_enough and any(option.standing == "met" for option in found):
            break
    return found


def _before(search: ServingSearch, one: Candidate) -> tuple[bool, int]:
    """What comes before standing and cost in a decision: known quality, else more bits."""
    known = search.space.quality[one.layout.form].value is not None
    return not known, 0 if known else -BITS[one.layout.form]


def option_of(search: ServingSearch, one: Candidate) -> FleetOption:
    """The finalist with every estimate."""
    problem, setup = search.problem, one.setup
    summary = simulated(one, problem.load, problem.brief.seed, search.simulations)
    estimates = (search.space.quality[one.layout.form], *_latencies(one, problem.load, summary), *_rest(search, one))
    by_metric = {e.metric: e for e in estimates}
    batch = f"{setup.max_sequences} seqs, {setup.chunk_tokens} tokens"
    named = f"{one.replicas}x {one.layout.text} {one.layout.form} {setup.engine} on {one.layout.priced.device.name}"
    return FleetOption(
        name=f"{named} ({batch})",
        model=problem.model,
        device=one.layout.priced.device.name,
        devices=one.devices,
        replicas=one.replicas,
        layout=one.layout.text,
        precision=one.layout.form,
        software=setup.engine,
        batch=batch,
        setup=setup.model_dump(mode="json"),
        estimates=estimates,
        complexity=("low", "medium", "high")[min(2, one.complexity)],
        standing=worst(problem.targets, by_metric),
        likely=likely(problem.targets, by_metric),
    )


def step_terms(one: Candidate, load: Load) -> tuple[Term, ...]:
    """Where the time of a mean step goes."""
    state = one.state
    rate = load.requests_per_s / one.replicas
    at = (rate * load.prompt_tokens * state.token_s, load.prompt_tokens / 2, state.sequences)
    parts = one.cost.model.time(*at, load.prompt_tokens + load.output_tokens / 2).parts()
    fitted = coefficients()
    found = [Term(name=n, value=v, unit="s", kind="computed", source="planning.serving.step") for n, v in parts.items()]
    found.append(Term(name="residual", value=one.cost.slower, unit="factor", kind=fitted.kind, source=fitted.source))
    found.append(
        Term(name="sequences", value=state.sequences, unit="count", kind="computed", source="rate * time in service")
    )
    return tuple(found)


def _latencies(one: Candidate, load: Load, seen: Summary) -> list[Estimate]:
    terms = step_terms(one, load)
    binding = max(terms[:-2], key=lambda term: term.value).name
    found = []
    shares = ("p50", "p95", "p99")

    def add(metric: str, value: float, quantity: str, formula: str) -> None:
        width = math.exp(one.cost.known.ttft if quantity == "ttft" else one.cost.known.token)
        interval = Interval(low=value / width, high=value * width, level=LEVEL, method=one.cost.known.method)
        found.append(
            Estimate(
                metric=metric,
                value=value,
                unit="s",
                interval=interval,
                kind="computed",
                formula=f"{formula}, {seen.requests} simulated requests",
                terms=terms,
                binding=binding,
            )
        )

    firsts_s = {s: one.cost.first_s(getattr(seen.ttft_s, s), one.state) for s in shares}
    for share in shares:
        added_s = firsts_s[share] - getattr(seen.ttft_s, share)
        add(f"ttft_{share}", firsts_s[share], "ttft", "(waiting + front end) * residual")
        add(f"e2e_{share}", max(firsts_s[share], getattr(seen.e2e_s, share) + added_s), "token", "first token + steps")
        if seen.gap_s:
            add(f"itl_{share}", getattr(seen.gap_s, share), "token", "step time * residual")
        if seen.token_s and share != "p95":
            add(f"tpot_{share}", getattr(seen.token_s, share), "token", "mean step of a request * residual")
    return found


def _rest(search: ServingSearch, one: Candidate) -> list[Estimate]:
    load = search.load
    width = math.exp(one.cost.known.token)
    most = one.capacity_per_s * load.output_tokens * one.replicas
    source = "planning.serving.memory"
    memory = one.memory
    parts = {
        "weights": memory.weights_bytes,
        "cache": one.device_bytes - memory.fixed_bytes,
        "activations": memory.activations_bytes,
        "runtime": memory.runtime_bytes,
    }
    capacity = Estimate(
        metric="throughput",
        value=most,
        unit="token/s",
        interval=Interval(low=most / width, high=most * width, level=LEVEL, method=one.cost.known.method),
        kind="computed",
        formula="replicas * full batch / its step time",
    )
    held = Estimate(
        metric="device_memory",
        value=one.device_bytes,
        unit="byte",
        interval=Interval(
            low=one.device_bytes * (1 - MEMORY_ERROR),
            high=one.device_bytes * (1 + MEMORY_ERROR),
            level=LEVEL,
            method="assumed: the runtime's own share is not measured",
        ),
        kind="computed",
        formula="weights + cache of the sequences in flight + activations + runtime",
        terms=tuple(Term(name=n, value=v, unit="byte", kind="computed", source=source) for n, v in parts.items()),
        binding=max(parts, key=lambda name: parts[name]),
    )
    return [capacity, held, _cost(search, one, width)]


def _cost(search: ServingSearch, one: Candidate, width: float) -> Estimate:
    """Of the replicas that there are; its interval is that of the replicas that the load needs at either end of the step time."""
    priced, own = one.layout.priced, search.device_hours(one.devices)

    def hours(capacity_per_s: float) -> float:
        replicas = math.ceil(search.load.requests_per_s / (BUSIEST * capacity_per_s))
        return search.device_hours(replicas * one.layout.devices)

    least, most = min(own, hours(one.capacity_per_s * width)), max(own, hours(one.capacity_per_s / width))
    price = priced.price_usd_per_hour or 0.0
    method = "replicas that the load needs at either end of the step time"
    ends = Interval(low=least * price, high=most * price, level=LEVEL, method=method)
    return cost_estimate("cost_per_million_tokens", own, priced, ends)


def cost_estimate(metric: str, hours: float, priced: Priced, interval: Interval | None) -> Estimate:
    """Device-hours at the device's price; unknown without one."""
    own = Term(name="device-hours", value=hours, unit="h", kind="computed", source="devices / output tokens per second")
    if priced.price_usd_per_hour is None:
        return Estimate(
            metric=metric,
            value=None,
            unit="USD",
            interval=None,
            kind="computed",
            formula=f"{hours:.4g} device-hours of {priced.device.name} at a price that is not known",
            terms=(own,),
            protocol="set hardware.price_usd_per_hour to what one device costs you",
        )
    price = priced.price_usd_per_hour
    dollars = Term(name="price", value=price, unit="USD/h", kind=priced.price_kind, source=priced.price_source)
    return Estimate(
        metric=metric,
        value=hours * price,
        unit="USD",
        interval=interval,
        kind="computed",
        formula=f"{hours:.4g} device-hours * {price:g} USD",
        terms=(own, dollars),
        binding="device-hours",
    )


_LOADS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""Shares of the brief's load in the curve (chosen)."""


def first_token_at(search: ServingSearch, setup: ServingSetup, replicas: int) -> list[tuple[float, float, float]]:
    """(requests per second, median, 99th percentile of the first token) of a deployment, until it no longer keeps up."""
    load, found = search.load, []
    memory = serving_memory(setup, load.prompt_tokens + load.output_tokens)
    batch = Batch(memory.sequences, setup.max_sequences, setup.chunk_tokens * setup.attn_dp)
    for share in _LOADS:
        asked = load.model_copy(update={"requests_per_s": load.requests_per_s * share})
        cost = Corrected(setup, asked, 1.0)
        state = steady(cost.seconds, asked, asked.requests_per_s / replicas, batch)
        if state is None:
            break
        pool = pool_of(setup, 1)
        traffic = Traffic(
            arrivals=Poisson(requests_per_s=asked.requests_per_s / replicas),
            prompt=Fixed(tokens=load.prompt_tokens),
            output=Fixed(tokens=load.output_tokens),
            requests=max(_LEAST_REQUESTS, int(5 * state.sequences)),
        )
        seen = summarise(simulate(Pool(cost.seconds, pool.limits), traffic, search.problem.brief.seed)).ttft_s
        found.append((asked.requests_per_s, cost.first_s(seen.p50, state), cost.first_s(seen.p99, state)))
    return found
