"""The plan: every shape that fits the time, predicted whole; ranked; one decided, or a refusal with the nearest brief.

An option is pruned when the whole interval of a prediction is on the wrong side of a target. Among the rest, the fewest
targets whose predicted value misses come first, then the lowest predicted loss (without pilots: the shape nearest 20
tokens per parameter). Deterministic given its inputs: steps are rounded, shapes come from a fixed ladder.
"""

import math
from collections.abc import Sequence

from aether.hardware.machine import Machine
from aether.planning.budget import budget_of, other_stages
from aether.planning.candidates import Candidate, Knowledge, candidate, candidates, within_reach
from aether.planning.facts import DataFacts, PilotResult
from aether.planning.forecast import ASYMPTOTE_BITS_PER_BYTE, Forecast, LossPoint, forecast
from aether.planning.ladder import context_for, ladder
from aether.planning.nearest import out_of_reach, would_change
from aether.planning.options import Scene, misses, option_of
from aether.planning.recipes import compiles, precision_for
from aether.planning.timing import fit_step_time
from aether.spec.brief import Brief
from aether.spec.errors import Infeasible
from aether.spec.plan import Option, Plan
from aether.spec.recipe import Step
from aether.spec.units import humanize

MOST_OPTIONS = 5
"""Candidates that are predicted whole, the queue simulation included (chosen: keeps a plan under 2 s)."""

SHOWN_OPTIONS = 5
"""Options that a plan lists."""


def make_plan(
    brief: Brief,
    machine: Machine,
    data_facts: DataFacts,
    pilots: Sequence[PilotResult] = (),
    elapsed_s: float = 0.0,
    price: float | None = None,
    before: Sequence[Step] = (),
) -> Plan:
    """Decide the main run. `elapsed_s` is what the build has taken; `before` are the steps that are done (the data step).

    Raises Infeasible with `details['refusals']` when no option can meet every target, even at the good end of its
    intervals; InputError when neither time nor money is bounded.
    """
    scene, shapes = scene_of(brief, machine, data_facts, tuple(pilots), (elapsed_s, price, tuple(before)))
    found = _ranked_candidates(scene, shapes)
    if not found:
        raise _refused(scene, [], shapes)
    options = [option_of(one, scene) for one in _spread(found)]
    ranked = sorted(range(len(options)), key=lambda i: (*_missed(options[i], brief), i))
    best = options[ranked[0]]
    if misses(best, brief.targets)[0]:
        raise _refused(scene, options, shapes)
    listed = tuple(_with_reason(options[i], best, brief) for i in ranked[:SHOWN_OPTIONS])
    chosen = next(one for one, option in zip(_spread(found), options, strict=True) if option is best)
    return Plan(
        options=listed,
        decided=best.name,
        because=_because(best, chosen, scene, len(found)),
        would_change=would_change(chosen, scene, shapes),
    )


def scene_of(
    brief: Brief,
    machine: Machine,
    facts: DataFacts,
    pilots: tuple[PilotResult, ...],
    circumstances: tuple[float, float | None, tuple[Step, ...]],
) -> tuple[Scene, tuple]:
    """What options share, and the shapes that may be chosen. `circumstances`: elapsed seconds, price, steps done."""
    elapsed_s, price, before = circumstances
    price = price if price is not None else machine.price_usd_per_hour
    known = Knowledge(
        facts, fit_step_time(machine, pilots), curve_of(pilots, facts), precision_for(machine), compiles(machine)
    )
    budget = budget_of(brief, elapsed_s, price)
    context = context_for(brief.load.prompt_tokens, brief.load.output_tokens)
    asked = brief.target("parameters")
    shapes = ladder(facts.vocab_size, context, asked.value if asked else 0.0, machine.working_memory_bytes / 16.0)
    if asked is None:
        shapes = within_reach(shapes, pilots)
    return Scene(brief, machine, known, pilots, budget, price, before), shapes


def curve_of(pilots: Sequence[PilotResult], facts: DataFacts) -> Forecast | None:
    """The loss curve that the pilots' ends say; None without pilots."""
    if not pilots:
        return None
    points = [
        LossPoint(parameters=p.decoder.matrix_parameters(), tokens=p.recipe.tokens(), loss=p.loss) for p in pilots
    ]
    return forecast(points, ASYMPTOTE_BITS_PER_BYTE * math.log(2) * facts.bytes_per_token)


def _ranked_candidates(scene: Scene, shapes: Sequence) -> list[Candidate]:
    found: list[Candidate] = []
    for shape in shapes:
        other = other_stages(shape, scene.brief, scene.machine, scene.known.facts)
        one = candidate(shape, scene.budget.training_s(other), scene.known)
        if one is not None:
            found.append(one)
    return candidates(found)


def _spread(found: list[Candidate]) -> list[Candidate]:
    """The best by loss, and from the rest the smallest and some between, so that latency and size have a choice."""
    best = found[: MOST_OPTIONS // 2]
    rest = sorted(found[MOST_OPTIONS // 2 :], key=lambda c: c.decoder.parameters())
    room = MOST_OPTIONS - len(best)
    if len(rest) <= room:
        return best + rest
    return best + [rest[round(i * (len(rest) - 1) / (room - 1))] for i in range(room)]


def _missed(option: Option, brief: Brief) -> tuple[int, int]:
    whole, value = misses(option, brief.targets)
    return len(whole), len(value)


def _with_reason(option: Option, best: Option, brief: Brief) -> Option:
    if option is best:
        return option
    whole, value = misses(option, brief.targets)
    if whole:
        reason = f"the whole interval misses {', '.join(str(t) for t in whole)}"
    elif len(value) > len(misses(best, brief.targets)[1]):
        reason = f"predicted to miss {', '.join(str(t) for t in value)}"
    else:
        return option
    return option.model_copy(update={"refused_because": reason})


def _because(best: Option, chosen: Candidate, scene: Scene, considered: int) -> str:
    bits = best.estimate("bits_per_byte")
    sentence = f"Of {considered} shapes that fit {humanize(scene.budget.limit_s, 's')} ({scene.budget.limit_metric}), "
    if bits is not None and bits.value is not None and bits.interval is not None:
        sentence += (
            f"it has the lowest predicted loss among those that meet the targets: {bits.value:.3f} bit/byte "
            f"({bits.interval.low:.3f} to {bits.interval.high:.3f}, {bits.interval.level:.0%})"
        )
    else:
        ratio = chosen.tokens / chosen.decoder.parameters()
        sentence += f"it is nearest to 20 tokens per parameter ({ratio:.1f}); no pilot has run, so no loss is predicted"
    risky = misses(best, scene.brief.targets)[1]
    if risky:
        sentence += (
            f". At risk, the predicted value misses but its interval does not: {', '.join(str(t) for t in risky)}"
        )
    left_out = scene.known.step_time.left_out
    if left_out:
        sentence += f". Something else ran beside the pilots: left out of the step times, {', '.join(left_out)}"
    return sentence + "."


def _refused(scene: Scene, options: list[Option], shapes: Sequence) -> Infeasible:
    refusals = out_of_reach(scene, options, shapes)
    return Infeasible(
        "; ".join(f"{r.target} cannot be met: {r.arithmetic}. {r.nearest}" for r in refusals),
        refusals=[r.model_dump(mode="json") for r in refusals],
    )
