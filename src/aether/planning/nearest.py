"""The other side of a decision: what would change it, and, when no option will do, the nearest brief that one can meet."""

from collections.abc import Sequence
from dataclasses import replace

from aether.models.config import DecoderConfig
from aether.planning.budget import other_stages
from aether.planning.candidates import Candidate, candidate, candidates
from aether.planning.options import Scene, misses
from aether.planning.quality import predict_bits_per_byte
from aether.spec.brief import Target
from aether.spec.plan import Estimate, Option, Refusal, Term
from aether.spec.units import humanize

MOST_TIME_FACTOR = 4096.0
"""How many times the training time the search for a nearest brief looks at: beyond it, extrapolation means nothing (chosen)."""


def would_change(chosen: Candidate, scene: Scene, shapes: Sequence[DecoderConfig]) -> tuple[str, ...]:
    """What the plan would be with half and with twice the time, and which unknowns would move it."""
    said: list[str] = []
    for factor in (0.5, 2.0):
        limit = scene.budget.limit_s * factor
        other = _best(replace(scene, budget=replace(scene.budget, limit_s=limit)), shapes)
        label = f"{scene.budget.limit_metric} at {humanize(limit, 's')}"
        if other is None:
            said.append(f"With {label}, nothing could be trained.")
            continue
        bits = _bits(other, scene)
        shape = f"{other.decoder.layers} layers of width {other.decoder.hidden_size} on {humanize(other.tokens, 'count')} tokens"
        same = "the same shape, " if other.decoder == chosen.decoder else ""
        said.append(f"With {label}: {same}{shape}{f', predicted {bits.value:.3f} bit/byte' if bits else ''}.")
    if chosen.loss is None:
        said.append("Pilots: they would replace the assumed utilisation and give a predicted loss.")
    if scene.price_usd_per_hour is None:
        said.append("A price per hour (hardware.price_usd_per_hour): the cost is unknown without it.")
    return tuple(said)


def out_of_reach(scene: Scene, options: Sequence[Option], shapes: Sequence[DecoderConfig]) -> tuple[Refusal, ...]:
    """One refusal per target that the best option misses with its whole interval, or one for the time when nothing fits."""
    if not options:
        return (_no_time(scene, shapes),)
    best = min(options, key=lambda o: len(misses(o, scene.brief.targets)[0]))
    return tuple(_refusal(target, best, options, scene, shapes) for target in misses(best, scene.brief.targets)[0])


def _refusal(
    target: Target, best: Option, options: Sequence[Option], scene: Scene, shapes: Sequence[DecoderConfig]
) -> Refusal:
    estimates = [e for o in options if (e := o.estimate(target.metric)) is not None and e.value is not None]
    order = min if target.comparison == "<=" else max
    top = order(estimates, key=lambda e: e.value or 0.0)
    here = best.estimate(target.metric)
    assert top.value is not None and here is not None and here.value is not None
    between = _between(here)
    sign = ">" if target.comparison == "<=" else "<"
    alone = target.is_met_by(_good_end(top, target))
    if alone:
        nearest = f"Another shape meets it, but misses {', '.join(sorted(_lost(target, options, scene)))}: loosen one of the two."
    else:
        nearest = _nearest(target, top, scene, shapes)
    return Refusal(
        target=target,
        verdict="out_of_reach",
        binding=here.binding or here.formula,
        arithmetic=f"{here.formula} = {humanize(here.value, target.unit)} ({between}) {sign} "
        f"{humanize(target.value, target.unit)} for the best option, {best.summary}",
        terms=here.terms
        or (Term(name=here.metric, value=here.value, unit=here.unit, kind=here.kind, source=here.formula),),
        best=top.value,
        nearest=nearest,
    )


def _lost(target: Target, options: Sequence[Option], scene: Scene) -> set[str]:
    """What the options that meet `target` miss instead."""
    lost: set[str] = set()
    for option in options:
        missed = misses(option, scene.brief.targets)[0]
        if target not in missed:
            lost |= {str(other) for other in missed}
    return lost


def _nearest(target: Target, top: Estimate, scene: Scene, shapes: Sequence[DecoderConfig]) -> str:
    assert top.value is not None
    reachable = humanize(_good_end(top, target), target.unit)
    bounded = f"{target.metric} {target.comparison} {reachable}"
    if target.metric == "bits_per_byte":
        factor = _time_factor(target, scene, shapes)
        if factor is None:
            return (
                f"The nearest feasible brief has {bounded}; no time that the pilots can speak for reaches the target."
            )
        limit = humanize(scene.budget.limit_s * factor, "s")
        return f"The nearest feasible brief has {bounded} in the same time, or {scene.budget.limit_metric} of at least {limit}."
    if target.metric in ("build_time", "build_cost"):
        return f"The nearest feasible brief has {bounded}, or a smaller load test (load.requests)."
    return f"The nearest feasible brief has {bounded}."


def _time_factor(target: Target, scene: Scene, shapes: Sequence[DecoderConfig]) -> float | None:
    """How many times the build's bound lets the good end of some option's interval meet the target; None beyond the search."""

    def meets(factor: float) -> bool:
        longer = replace(scene, budget=replace(scene.budget, limit_s=scene.budget.limit_s * factor))
        one = _best(longer, shapes)
        bits = _bits(one, scene) if one is not None else None
        return bits is not None and target.is_met_by(_good_end(bits, target))

    factor = 2.0
    while not meets(factor):
        factor *= 2.0
        if factor > MOST_TIME_FACTOR:
            return None
    low, high = factor / 2.0, factor
    for _ in range(3):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if meets(middle) else (middle, high)
    return high


def _no_time(scene: Scene, shapes: Sequence[DecoderConfig]) -> Refusal:
    budget = scene.budget
    target = scene.brief.target(budget.limit_metric)
    assert target is not None
    smallest = min(shapes, key=lambda s: s.parameters())
    other = other_stages(smallest, scene.brief, scene.machine, scene.known.facts)
    limit_s = budget.limit_s
    while limit_s < budget.limit_s * MOST_TIME_FACTOR:
        limit_s *= 1.1
        if candidate(smallest, limit_s - budget.elapsed_s - other.high_s, scene.known) is not None:
            break
    left_s = budget.limit_s - budget.elapsed_s - other.high_s
    each = 1.0 if target.unit == "s" else (scene.price_usd_per_hour or 0.0) / 3600.0
    return Refusal(
        target=target,
        verdict="out_of_reach",
        binding="other stages",
        arithmetic=f"{humanize(budget.limit_s, 's')} - {humanize(budget.elapsed_s, 's')} spent - "
        f"{humanize(other.high_s, 's')} for compress, evaluate, serve and report leaves "
        f"{humanize(left_s, 's') if left_s > 0 else 'nothing'}: too little to train "
        f"{humanize(smallest.parameters(), 'count')} parameters",
        terms=other.parts,
        best=limit_s * each,
        nearest=f"The nearest feasible brief has {target.metric} <= {humanize(limit_s * each, target.unit)}.",
    )


def _best(scene: Scene, shapes: Sequence[DecoderConfig]) -> Candidate | None:
    found = [
        one
        for shape in shapes
        if (
            one := candidate(
                shape,
                scene.budget.training_s(other_stages(shape, scene.brief, scene.machine, scene.known.facts)),
                scene.known,
            )
        )
        is not None
    ]
    return candidates(found)[0] if found else None


def _bits(one: Candidate, scene: Scene) -> Estimate | None:
    if one.loss is None:
        return None
    return predict_bits_per_byte(one.loss, scene.known.facts, scene.brief.quality_loss_bound)


def _good_end(estimate: Estimate, target: Target) -> float:
    assert estimate.value is not None
    if estimate.interval is None:
        return estimate.value
    return estimate.interval.low if target.comparison == "<=" else estimate.interval.high


def _between(estimate: Estimate) -> str:
    if estimate.interval is None:
        return "no interval"
    interval = estimate.interval
    return f"{humanize(interval.low, estimate.unit)} to {humanize(interval.high, estimate.unit)}, {interval.level:.0%}"
