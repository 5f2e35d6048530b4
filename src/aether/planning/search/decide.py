"""From a problem to a plan: search, rank, decide, say why and what would change it; or say what keeps it from being met.

The decision is the cheapest option whose quality is known and whose targets are met at 90 %, or a simpler one that costs about
as much; options at risk, first those that are predicted to meet their targets, and options of unknown quality come after. What is
offered are the options that no other beats. Nothing is made up: a quality or a price that nobody knows stays unknown, with the
protocol that would settle it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aether.knowledge.library import device
from aether.planning.search import serving_options
from aether.planning.search.bounds import serving_bounds, training_bounds
from aether.planning.search.pareto import Merit, front
from aether.planning.search.problem import Problem
from aether.planning.search.quality import BITS
from aether.planning.search.reasons import Pruned, Reason
from aether.planning.search.serving import Screened, ServingSearch
from aether.planning.search.serving_options import AS_CHEAP, Wanted
from aether.planning.search.standing import certain_end, is_known, standing_of
from aether.planning.search.steady import BUSIEST
from aether.spec.brief import Target
from aether.spec.fleet import FleetOption, FleetPlan, Shortfall
from aether.spec.plan import Estimate
from aether.spec.units import humanize, humanize_range

if TYPE_CHECKING:
    from aether.planning.search.training import TrainingScreened

_STANDING = {"met": 0, "at_risk": 1, "missed": 3}
_COMPLEXITY = {"low": 0, "medium": 1, "high": 2}


@dataclass(frozen=True)
class Found:
    """What a search found: options that no other beats, best first, and what keeps the brief from being met, if anything."""

    options: tuple[FleetOption, ...]
    shortfalls: tuple[Shortfall, ...]
    considered: int
    pruned: Pruned

    @property
    def feasible(self) -> bool:
        """Whether some option does not miss a target."""
        return bool(self.options) and self.options[0].standing != "missed"


def search(problem: Problem, bounded: bool = True, wanted: Wanted = "options") -> Found:
    """Every layout bounded, the survivors estimated, the best offered. `bounded` False: what comes nearest to the targets is
    offered, even where no hardware could meet them. `wanted`: deployments
    are simulated no further than the decision takes, or until one of known quality meets every target."""
    pruned: Pruned
    if problem.task == "serve":
        serving = ServingSearch(problem, bounded)
        hard = serving_bounds(problem, serving.space) if bounded else ()
        finalists, screened = serving.finalists()
        options = serving_options.offered(serving, finalists if not hard else (), wanted)
        considered, pruned = serving.space.considered, serving.pruned
        short = hard or (() if options else _without_serving(problem, screened, pruned))
    else:
        # What trains is loaded where something is trained: a deployment is answered without it.
        from aether.planning.search import training_options
        from aether.planning.search.training import TrainingSearch

        training = TrainingSearch(problem, bounded)
        hard = training_bounds(problem, training.space) if bounded else ()
        candidates, seen = training.finalists()
        options = [training_options.option_of(training, one) for one in candidates]
        considered, pruned = training.space.considered, training.pruned
        short = hard or (() if options else _without_training(problem, seen, pruned))
    best = decided_first(sorted(front(options, merit_of), key=rank))
    kept = {one.name for one in best}
    for one in options:
        if one.name not in kept:
            pruned.add(Reason.DOMINATED, one.name)
    if not short and best and best[0].standing == "missed":
        short = _missed(problem, best)
    return Found(tuple(best), short, considered, pruned)


def merit_of(option: FleetOption) -> Merit:
    """An option's coordinates, from its estimates."""

    def value(metric: str) -> float | None:
        estimate = option.estimate(metric)
        return None if estimate is None else estimate.value

    serving = option.estimate("e2e_p50") is not None
    speed, memory = value("e2e_p50" if serving else "build_time"), value("device_memory")
    cost = option.estimate("cost_per_million_tokens" if serving else "build_cost")
    assert speed is not None and memory is not None and cost is not None
    return Merit(
        format=option.precision,
        quality_loss=value("quality_loss"),
        speed_s=speed,
        memory_bytes=memory,
        cost=cost.value,
        device_hours=cost.terms[0].value,
        device=option.device,
        complexity=_COMPLEXITY[option.complexity],
        standing=_STANDING[option.standing] + (option.standing == "at_risk" and not option.likely),
    )


NOTABLE_GOODPUT = 0.98
"""Below this share of the time that trains, failures are worth a word (chosen)."""


def _class(option: FleetOption) -> tuple:
    """What comes before cost: targets missed, quality unknown (then the more bits the better), risk, price unknown."""
    merit, known = merit_of(option), is_known(option)
    fewer_bits = 0 if known else -BITS[option.precision]
    return (option.standing == "missed", not known, fewer_bits, merit.standing, merit.cost is None)


def _price(option: FleetOption) -> float:
    merit = merit_of(option)
    return merit.device_hours if merit.cost is None else merit.cost


def rank(option: FleetOption) -> tuple:
    """What sorts options: targets missed, quality known, the more bits, standing, price, complexity, speed."""
    merit = merit_of(option)
    return (*_class(option), _price(option), merit.complexity, merit.speed_s)


def decided_first(ranked: Sequence[FleetOption]) -> list[FleetOption]:
    """The decision to the front: of those that meet the targets like the first and are about as cheap, the simplest."""
    if not ranked:
        return []
    first = ranked[0]
    if first.standing != "met":
        return list(ranked)
    alike = [o for o in ranked if _class(o) == _class(first) and _price(o) <= AS_CHEAP * _price(first)]
    chosen = min(alike, key=lambda option: (merit_of(option).complexity, _price(option)))
    return [chosen, *(option for option in ranked if option is not chosen)]


def cost_of(option: FleetOption) -> float | None:
    """US dollars per million tokens, or of the whole training; None without a price."""
    return merit_of(option).cost


def plan_of(problem: Problem, found: Found) -> FleetPlan:
    """The decision and its reasons. Only for a search that found a feasible option."""
    assert found.feasible
    best = found.options[0]
    unknown: dict[str, Estimate] = {}
    for option in found.options:
        for estimate in option.estimates:
            if estimate.value is None:
                unknown.setdefault(f"{estimate.metric} {estimate.formula}", estimate)
    return FleetPlan(
        targets=problem.targets,
        models=(problem.model,),
        task=problem.task,
        options=found.options,
        decided=best.name,
        because=_because(problem, found),
        would_change=tuple(_would_change(problem, found)),
        unknown=tuple(unknown.values()),
        considered=found.considered,
        left_out=found.pruned.listed(),
    )


def _said(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "unknown"
    text = humanize(estimate.value, estimate.unit)
    if estimate.interval is None:
        return text
    ends = humanize_range(estimate.interval.low, estimate.interval.high, estimate.value, estimate.unit)
    return f"{text} ({ends})" if ends else text


def _because(problem: Problem, found: Found) -> str:
    best, cost = found.options[0], _cost_metric(problem)
    kept = (
        "meets every target at 90 %"
        if best.standing == "met"
        else "misses no target for certain, but does not meet all at 90 %"
    )
    quality = "its quality is known" if is_known(best) else "its quality is unknown until it is measured"
    text = f"It {kept}, {quality}, and {_cheapest(found)}"
    priced = best.estimate(cost)
    if priced is not None and priced.value is not None:
        text += f": {cost.replace('_', ' ')} {_said(priced)}"
    risky = [t for t in problem.targets if standing_of(t, best.estimate(t.metric)) == "at_risk"]
    for target in risky:
        text += f". At risk: {target}, predicted {_said(best.estimate(target.metric))}"
    return text + "."


def _cheapest(found: Found) -> str:
    """How the decision compares with what is like it."""
    best = found.options[0]
    same = [o for o in found.options if _class(o)[:4] == _class(best)[:4]]
    if len(same) == 1:
        return "it is the only such option"
    priced = [o for o in same if merit_of(o).cost is not None]
    if not priced:
        return f"it takes the fewest device-hours of {len(same)} such options (no price is known)"
    least = min(_price(o) for o in priced)
    of = (
        f"{len(priced)} such options"
        if len(priced) == len(same)
        else f"those {len(priced)} of {len(same)} with a price"
    )
    if _price(best) > least:
        return f"of {of} it is the simplest of those that cost about as little as the cheapest (within 5 %)"
    return f"it is the cheapest of {of}" if len(priced) > 1 else f"it is the only one of {len(same)} with a price"


def _cost_metric(problem: Problem) -> str:
    return "cost_per_million_tokens" if problem.task == "serve" else "build_cost"


def _would_change(problem: Problem, found: Found) -> list[str]:
    best = found.options[0]
    said = [*_other_options(problem, found)]
    for target in problem.targets:
        estimate = best.estimate(target.metric)
        if estimate is not None and estimate.value is None:
            said.append(f"{target.metric} is asked for and not known; to settle it: {estimate.protocol}.")
        elif estimate is not None and standing_of(target, estimate) == "at_risk":
            end = humanize(certain_end(target, estimate), target.unit)
            said.append(
                f"If {target.metric} is measured on the wrong side of {humanize(target.value, target.unit)}; at 90 % this option "
                f"keeps {target.comparison} {end}, so asking for that would take the risk away."
            )
    most = best.estimate("throughput")
    if most is not None and most.value is not None:
        rate = BUSIEST * most.value / problem.load.output_tokens
        asked = problem.load.requests_per_s
        said.append(f"A load beyond {rate:.3g} requests/s (asked: {asked:g}): this option does not keep up with more.")
    time = best.estimate("build_time")
    goodput = next((t.value for t in time.terms if t.name == "goodput"), 1.0) if time else 1.0
    if goodput < NOTABLE_GOODPUT:
        said.append(
            f"Failures of the cluster: at the published rate {goodput:.0%} of the time trains. A measured rate, or how long a "
            "checkpoint and a restart take, changes the run's time (`aether estimate train`, --set device_mtbf_hours=...)."
        )
    return said


def _other_options(problem: Problem, found: Found) -> Iterator[str]:
    """A format that would be better if its quality were measured, a device that would be if it were priced otherwise."""
    best, own = found.options[0], merit_of(found.options[0])
    seen: set[str] = set()
    for option in found.options[1:]:
        other, known = merit_of(option), is_known(option)
        if option.standing == "missed" or option.precision in seen or option.device in seen:
            continue
        both = own.cost is not None and other.cost is not None
        here, there = (own.cost, other.cost) if both else (own.device_hours, other.device_hours)
        assert here is not None and there is not None
        alike = both or option.device == best.device
        gain = 1 - there / here if alike else 0.0
        if not known and is_known(best) and (gain > 0.02 or other.standing < own.standing):
            seen.add(option.precision)
            what = f"{gain:.0%} less {'cost' if both else 'device-hours'}" if gain > 0 else "targets met at 90 %"
            bound = f"{problem.brief.quality_loss_bound:.0%}"
            yield f"If {option.precision} is measured to lose no more than {bound} of quality, {option.name}: {what}."
        elif known and option.device != best.device and both and there > here:
            seen.add(option.device)
            yield f"If a {option.device} costs less than {here / there:.0%} of its price, {option.name}."
        elif known and option.device != best.device and own.cost is not None and other.cost is None:
            seen.add(option.device)
            limit = own.cost / other.device_hours
            yield f"If a {option.device}, whose price is not known, costs less than {limit:.3g} USD per hour, {option.name}."


def _missed(problem: Problem, best: Sequence[FleetOption]) -> tuple[Shortfall, ...]:
    """Targets that no option reaches; where each alone can be reached, those of the option that is nearest."""

    def of(target: Target, option: FleetOption) -> Shortfall | None:
        estimate = option.estimate(target.metric)
        if estimate is None or estimate.value is None or standing_of(target, estimate) != "missed":
            return None
        end = certain_end(target, estimate)
        ratio = end / target.value if target.comparison == "<=" else target.value / end
        text = (
            f"{target.metric} is predicted as {_said(estimate)} by {option.name}: {humanize(end, target.unit)} is kept at 90 %, "
            f"{humanize(target.value, target.unit)} is asked"
        )
        return Shortfall(
            subject=target.metric,
            verdict="out_of_reach",
            binding=estimate.binding or estimate.formula,
            asked=target.value,
            best=end,
            unit=target.unit,
            factor=max(1.0, ratio),
            arithmetic=text,
            terms=estimate.terms,
        )

    def gap(option: FleetOption) -> float:
        return max((s.factor for t in (*problem.targets, *_implied(option)) if (s := of(t, option))), default=1.0)

    nearest = min(best, key=gap)
    found = [s for t in (*problem.targets, *_implied(nearest)) if (s := of(t, nearest))]
    return tuple(found)


def _implied(option: FleetOption) -> tuple[Target, ...]:
    """What must fit into a device's memory, where an estimate says how much it is."""
    room = float(device(option.device).memory_bytes)
    return (Target(metric="device_memory", comparison="<=", value=room, unit="byte"),)


def _without_serving(problem: Problem, seen: Screened, pruned: Pruned) -> tuple[Shortfall, ...]:
    """No layout keeps up with the load, or holds the model with one request."""
    if seen.slow:
        rate, layout = max(seen.slow, key=lambda pair: pair[0])
        most = BUSIEST * rate
        text = f"{layout.priced.count} x {layout.priced.device.name} ({layout.form}, {layout.text}) keep up with {most:.3g} requests/s"
        return (
            _lack(
                "load.requests_per_s",
                problem.load.requests_per_s,
                most,
                "request/s",
                "throughput of all replicas",
                text,
            ),
        )
    if seen.crowded:
        lacks, layout = min(seen.crowded, key=lambda pair: pair[0])
        room = float(layout.priced.device.memory_bytes)
        text = f"{layout.named}: {humanize(lacks, 'byte')} too little on each device for the weights and the cache of one request"
        return (_lack("memory", room + lacks, room, "byte", "weights and cache", text),)
    return (_nothing(pruned),)


def _without_training(problem: Problem, seen: "TrainingScreened", pruned: Pruned) -> tuple[Shortfall, ...]:
    if seen.least_excess is None:
        need = 16.0 * problem.counts.total
        room = max(float(p.count * p.device.memory_bytes) for p in problem.hardware)
        if need <= room:
            return (_nothing(pruned),)
        text = f"16 bytes for each of {problem.counts.total / 1e9:.1f} B parameters (weights, gradients, Adam), split over all devices"
        return (_lack("memory", need, room, "byte", "weights, gradients and optimiser states", text),)
    lacks, layout = seen.least_excess
    room = float(layout.priced.device.memory_bytes)
    text = f"{layout.named}, micro-batch {layout.micro_batch}, full recomputation: {humanize(lacks, 'byte')} too little on each device"
    return (_lack("memory", room + lacks, room, "byte", "weights, states and activations", text),)


def _nothing(pruned: Pruned) -> Shortfall:
    listed = pruned.listed()[:3]
    why = "; ".join(f"{one.meaning} ({one.count:,})" for one in listed)
    text = f"no layout of this model fits the structure of these devices. Most of the {pruned.total:,} layouts fall because {why}"
    if len(listed) == 1:
        text = f"none of the {pruned.total:,} layouts is left: {listed[0].meaning}"
    return _lack("layout", 1.0, 1.0, "count", "structure", text)


def _lack(subject: str, asked: float, best: float, unit: str, binding: str, text: str) -> Shortfall:
    return Shortfall(
        subject=subject,
        verdict="out_of_reach",
        binding=binding,
        asked=asked,
        best=best,
        unit=unit,
        factor=max(1.0, asked / best),
        arithmetic=text,
    )
