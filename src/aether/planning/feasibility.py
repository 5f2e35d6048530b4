"""What no plan can do on this machine: hard bounds from the brief and the probe alone, before anything is trained.

Each bound is generous to the brief (the fewest bytes, the measured peak, the smallest decoder), so a refusal here is a
proof and not a forecast; forecasts refuse later, in `decide`, as `out_of_reach`. A bound whose inputs are unknown
(no probe of latency, no price) refuses nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from aether.hardware.machine import Machine
from aether.hardware.probe_floor import SMALLEST_LAYERS, SMALLEST_WIDTH
from aether.knowledge.library import constants
from aether.planning.gates import refuse_unshowable
from aether.spec.brief import Brief, Target
from aether.spec.evidence import Kind
from aether.spec.plan import Refusal, Term
from aether.spec.units import humanize

TRAINING_BYTES_PER_PARAMETER = 12.0
"""A float32 weight, its gradient and one momentum: the least that Aether's train stage keeps (computed)."""

SERVED_BYTES_PER_PARAMETER = 0.5
"""4 bits a weight, scales not counted: the fewest that Aether's compress stage stores (computed)."""

LEAST_BUILD_S = 20.0
"""A build's fixed part besides the load test: starting processes, reading data, probing (assumed; the probe alone takes 5)."""

MOST_SLOTS = 1024
"""Requests decoded together at most (the limit of `stages.serve.recipe.EngineRecipe.slots`)."""


@dataclass(frozen=True)
class _Case:
    brief: Brief
    machine: Machine

    def time_limit(self) -> tuple[float, str] | None:
        """The tighter of build_time and what build_cost buys, in seconds, and which of them it is."""
        limits: list[tuple[float, str]] = []
        if time := self.brief.target("build_time"):
            limits.append((time.value, "build_time"))
        if (cost := self.brief.target("build_cost")) and (price := self.machine.price_usd_per_hour):
            limits.append((cost.value / price * 3600.0, "build_cost"))
        return min(limits) if limits else None

    def floor_s(self) -> float:
        """Seconds that any build of this brief takes: the load test's own arrivals, and the fixed part."""
        return LEAST_BUILD_S + self.brief.load.requests / self.brief.load.requests_per_s

    def term(self, name: str, value: float, unit: str, kind: Kind | None = None, source: str | None = None) -> Term:
        return Term(
            name=name, value=value, unit=unit, kind=kind or self.machine.kind, source=source or self.machine.source
        )


_Check = Callable[[_Case], list[Refusal]]


def refuse_impossible(brief: Brief, machine: Machine) -> tuple[Refusal, ...]:
    """Every target that this machine cannot meet whatever is built. Empty when nothing is ruled out.

    Feasible means only "not impossible": what is reachable with the data and the time is `decide.make_plan`'s to say.
    """
    case = _Case(brief, machine)
    checks: tuple[_Check, ...] = (
        _parameters,
        _fractions,
        _build_time,
        _build_cost,
        _latency,
        _throughput,
        _memory,
        _load,
    )
    found = [*refuse_unshowable(brief), *(refusal for check in checks for refusal in check(case))]
    return tuple(_tightest_nearest(found))


def _tightest_nearest(found: list[Refusal]) -> list[Refusal]:
    """When several bounds rule out one target, each names the nearest brief that passes them all; the tightest is first."""
    merged: list[Refusal] = []
    for metric in dict.fromkeys(refusal.target.metric for refusal in found):
        same = [refusal for refusal in found if refusal.target.metric == metric]
        lower_is_better = same[0].target.comparison == "<="
        same.sort(key=lambda r: -r.best if lower_is_better else r.best)
        merged += [r.model_copy(update={"best": same[0].best, "nearest": same[0].nearest}) for r in same]
    return merged


def _refusal(target: Target, binding: str, arithmetic: str, terms: list[Term], best: float, nearest: str) -> Refusal:
    return Refusal(
        target=target,
        verdict="impossible",
        binding=binding,
        arithmetic=arithmetic,
        terms=tuple(terms),
        best=best,
        nearest=nearest,
    )


def _parameters(case: _Case) -> list[Refusal]:
    target = case.brief.target("parameters")
    if target is None:
        return []
    found = [_parameters_in_memory(case, target), _parameters_in_time(case, target)]
    for metric, held in (("size_on_disk", "on disk"), ("serving_memory", "in the server's memory")):
        found.append(_parameters_in_bytes(case, target, metric, held))
    found.append(_parameters_on_disk(case, target))
    return [refusal for refusal in found if refusal is not None]


def _parameters_in_memory(case: _Case, target: Target) -> Refusal | None:
    limit = case.machine.working_memory_bytes
    bounded = case.brief.target("training_memory")
    name = "machine memory"
    if bounded is not None and bounded.value < limit:
        limit, name = bounded.value, "training_memory target"
    needed = target.value * TRAINING_BYTES_PER_PARAMETER
    if needed <= limit:
        return None
    best = limit / TRAINING_BYTES_PER_PARAMETER
    return _refusal(
        target,
        "memory",
        f"{humanize(target.value, 'count')} parameters x {TRAINING_BYTES_PER_PARAMETER:g} B (weight, gradient, momentum) = "
        f"{humanize(needed, 'byte')} > {humanize(limit, 'byte')} ({name})",
        [
            case.term(
                "bytes per parameter", TRAINING_BYTES_PER_PARAMETER, "byte", "computed", "float32 + float32 + float32"
            ),
            case.term(name, limit, "byte"),
        ],
        best,
        f"The nearest feasible brief has parameters >= {humanize(math.floor(best), 'count')}.",
    )


def _parameters_in_time(case: _Case, target: Target) -> Refusal | None:
    limit = case.time_limit()
    if limit is None:
        return None
    left = max(limit[0] - case.floor_s(), 0.0)
    flops, least = constants()["flops_per_parameter_token"], constants()["tokens_per_parameter_least"]
    peak, dtype = case.machine.peak_flops_per_s("train"), case.machine.fastest_dtype("train")
    tokens = target.value * least.value
    needed = flops.value * target.value * tokens / peak
    if needed <= left:
        return None
    best = math.sqrt(left * peak / (flops.value * least.value))
    years = humanize(needed, "s") if needed < 3.15e7 else f"{needed / 3.15576e7:,.1f} years"
    return _refusal(
        target,
        "arithmetic",
        f"{flops.value:g} FLOP x {humanize(target.value, 'count')} parameters x {humanize(tokens, 'count')} tokens "
        f"({least.value:g} per parameter, the least that counts as training) / {peak / 1e9:,.0f} GFLOP/s ({dtype}, {case.machine.kind} peak) "
        f"= {years} > {humanize(left, 's')} of {limit[1]} left after the fixed {humanize(case.floor_s(), 's')}",
        [
            case.term(flops.name, flops.value, flops.unit, flops.kind, flops.source),
            case.term(least.name, least.value, least.unit, least.kind, least.source),
            case.term(f"matmul_flops_per_s:{dtype}", peak, "FLOP/s"),
        ],
        best,
        f"The nearest feasible brief on this machine has parameters >= {humanize(math.floor(best), 'count')} "
        f"in the same time, or {limit[1]} of at least {years} for {humanize(target.value, 'count')}.",
    )


def _parameters_in_bytes(case: _Case, target: Target, metric: str, held: str) -> Refusal | None:
    bound = case.brief.target(metric)
    if bound is None or target.value * SERVED_BYTES_PER_PARAMETER <= bound.value:
        return None
    needed, best = target.value * SERVED_BYTES_PER_PARAMETER, bound.value / SERVED_BYTES_PER_PARAMETER
    return _refusal(
        target,
        f"contradiction with {metric}",
        f"{humanize(target.value, 'count')} parameters x 4 bits = {humanize(needed, 'byte')} > {bound} {held}",
        [case.term("bytes per parameter at 4 bits", SERVED_BYTES_PER_PARAMETER, "byte", "computed", "4 / 8")],
        best,
        f"The nearest feasible brief has parameters >= {humanize(math.floor(best), 'count')}, "
        f"or {metric} <= {humanize(needed, 'byte')}.",
    )


def _parameters_on_disk(case: _Case, target: Target) -> Refusal | None:
    # The float32 model as trained and the smallest compressed one lie on disk together.
    each = 4.0 + SERVED_BYTES_PER_PARAMETER
    if target.value * each <= case.machine.disk_free_bytes:
        return None
    best = case.machine.disk_free_bytes / each
    return _refusal(
        target,
        "disk",
        f"{humanize(target.value, 'count')} parameters x {each:g} B (trained and compressed) = "
        f"{humanize(target.value * each, 'byte')} > {humanize(case.machine.disk_free_bytes, 'byte')} free on disk",
        [case.term("disk_free_bytes", case.machine.disk_free_bytes, "byte")],
        best,
        f"The nearest feasible brief has parameters >= {humanize(math.floor(best), 'count')}, or more free disk.",
    )


def _fractions(case: _Case) -> list[Refusal]:
    return [
        _refusal(
            target,
            "definition",
            f"{target.metric} is a share, at most 100 %, and {humanize(target.value, 'fraction')} is asked",
            [case.term("largest share", 1.0, "fraction", "computed", "definition of a share")],
            1.0,
            f"The nearest brief has {target.metric} below 100 %.",
        )
        for target in case.brief.targets
        if target.unit == "fraction" and target.value > 1.0
    ]


def _build_time(case: _Case) -> list[Refusal]:
    target = case.brief.target("build_time")
    if target is None or target.value >= case.floor_s():
        return []
    return [_too_short(case, target, case.floor_s(), "s")]


def _build_cost(case: _Case) -> list[Refusal]:
    target, price = case.brief.target("build_cost"), case.machine.price_usd_per_hour
    if target is None or price is None:
        return []
    floor = case.floor_s() / 3600.0 * price
    return [] if target.value >= floor else [_too_short(case, target, floor, "USD")]


def _too_short(case: _Case, target: Target, best: float, unit: str) -> Refusal:
    load, price = case.brief.load, case.machine.price_usd_per_hour
    cost = f" x {price:g} USD/h = {humanize(best, 'USD')}" if unit == "USD" else ""
    terms = [
        case.term("fixed part", LEAST_BUILD_S, "s", "assumed", "processes, reading, probe"),
        case.term("requests", load.requests, "count", "computed", "the brief's load"),
        case.term("requests_per_s", load.requests_per_s, "request/s", "computed", "the brief's load"),
    ]
    if unit == "USD" and price is not None:
        terms.append(case.term("price_usd_per_hour", price, "USD", "assumed", "the brief"))
    return _refusal(
        target,
        "load test",
        f"{load.requests} requests / {load.requests_per_s:g} per s + {LEAST_BUILD_S:g} s fixed = "
        f"{humanize(case.floor_s(), 's')}{cost} > {humanize(target.value, target.unit)}",
        terms,
        best,
        f"The nearest feasible brief has {target.metric} <= {humanize(best, unit)}, or fewer load.requests.",
    )


def _latency(case: _Case) -> list[Refusal]:
    return [
        refusal
        for target in case.brief.targets
        if target.metric.startswith(("ttft_", "itl_", "e2e_"))
        if (refusal := _latency_of(case, target)) is not None
    ]


def _latency_of(case: _Case, target: Target) -> Refusal | None:
    machine = case.machine
    name, _, share = target.metric.partition("_")
    step, served = machine.launch_overhead_s, machine.served_ttft_p50_s
    if step is None:
        return None
    first = served if served is not None else step
    label = "served_ttft_p50_s" if served is not None else "launch_overhead_s"
    tail = machine.intervals.get("served_ttft_p99_s")
    if share == "p99" and tail is not None and tail.low > first:
        first, label = tail.low, "served_ttft_p99_s (lower end)"
    smallest = f"{SMALLEST_LAYERS} layers, width {SMALLEST_WIDTH}"
    steps = case.brief.load.output_tokens - 1
    floors = {"ttft": first, "itl": step, "e2e": first + steps * step}
    said = {
        "ttft": f"first token of the smallest decoder ({smallest}) over HTTP {humanize(first, 's')}",
        "itl": f"one decode step of the smallest decoder ({smallest}) {humanize(step, 's')}",
        "e2e": f"first token {humanize(first, 's')} + {steps} tokens x {humanize(step, 's')} per step ({smallest})"
        f" = {humanize(floors['e2e'], 's')}",
    }
    if target.value >= floors[name]:
        return None
    terms = [case.term("launch_overhead_s", step, "s")]
    if name != "itl":
        terms.append(case.term(label, first, "s"))
    shorter = " or fewer load.output_tokens," if name == "e2e" else ""
    return _refusal(
        target,
        "overhead of a step",
        f"{said[name]} > {humanize(target.value, 's')}, before the model computes anything useful",
        terms,
        floors[name],
        f"The nearest feasible brief on this machine has {target.metric} <= {humanize(floors[name] * 1.05, 's')},{shorter} "
        "and that only for a toy model.",
    )


def _most_tokens_per_s(case: _Case) -> float | None:
    step = case.machine.launch_overhead_s
    return None if step is None else MOST_SLOTS / step


def _throughput(case: _Case) -> list[Refusal]:
    target, most = case.brief.target("throughput"), _most_tokens_per_s(case)
    if target is None or most is None or target.value <= most:
        return []
    step = case.machine.launch_overhead_s
    assert step is not None
    return [
        _refusal(
            target,
            "overhead of a step",
            f"{MOST_SLOTS} requests at once / {humanize(step, 's')} per step = {most:,.0f} token/s < "
            f"{humanize(target.value, 'token/s')}",
            [case.term("launch_overhead_s", step, "s")],
            most,
            f"The nearest feasible brief has throughput >= {most:,.0f} token/s.",
        )
    ]


def _load(case: _Case) -> list[Refusal]:
    asked = case.brief.load.requests_per_s * case.brief.load.output_tokens
    most = _most_tokens_per_s(case)
    if most is None or asked <= most:
        return []
    return [
        _refusal(
            target,
            "load",
            f"{case.brief.load.requests_per_s:g} requests/s x {case.brief.load.output_tokens} tokens = {asked:,.0f} token/s > "
            f"{most:,.0f} token/s, the most that any decoder gives here: the queue grows without end",
            [case.term("most tokens per second", most, "token/s", "computed", "slots / launch_overhead_s")],
            target.value,
            f"The nearest feasible brief has load.requests_per_s <= {most / case.brief.load.output_tokens:,.1f}.",
        )
        for target in case.brief.targets
        if target.metric.startswith(("ttft_", "itl_", "e2e_"))
    ]


def _memory(case: _Case) -> list[Refusal]:
    floor = case.machine.runtime_memory_bytes
    if floor is None:
        return []
    return [
        _refusal(
            target,
            "runtime",
            f"a process that has only loaded torch holds {humanize(floor, 'byte')} > {humanize(target.value, 'byte')}",
            [case.term("runtime_memory_bytes", floor, "byte")],
            floor,
            f"The nearest feasible brief has {target.metric} <= {humanize(floor * 1.5, 'byte')}.",
        )
        for target in case.brief.targets
        if target.metric in ("serving_memory", "training_memory") and target.value < floor
    ]
