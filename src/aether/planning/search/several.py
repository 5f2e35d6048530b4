"""A brief that takes any of several models: each is searched, the cheapest that meets the targets is decided.

How well two models answer is not compared: no table that holds for the person's task is on record. So no model's option beats
another's, the models' own options stand side by side, and the plan says what would settle which is good enough.
"""

from collections.abc import Sequence

from aether.planning.search.decide import Found, cost_of, decided_first, plan_of, rank
from aether.planning.search.problem import Problem
from aether.planning.search.reasons import Pruned
from aether.spec.fleet import FleetOption, FleetPlan
from aether.spec.plan import Estimate

Searched = tuple[Problem, Found]


def combined(searched: Sequence[Searched]) -> Searched:
    """The search of all models as one, with the problem of the model that is decided or, when none can be, of the nearest."""
    feasible = [one for one in searched if one[1].feasible and not one[1].shortfalls]
    if not feasible:
        return min(searched, key=lambda one: max((s.factor for s in one[1].shortfalls), default=1.0))
    if len(searched) == 1:
        return searched[0]
    options = decided_first(sorted((o for _, found in feasible for o in found.options), key=rank))
    named = tuple(o.model_copy(update={"name": f"{o.model} {o.name}"}) for o in options)
    pruned = Pruned()
    for _, found in searched:
        pruned.add_all(found.pruned)
    whole = Found(named, (), sum(found.considered for _, found in searched), pruned)
    chosen = next(problem for problem, _ in feasible if problem.model == named[0].model)
    return chosen, whole


def plan_of_several(searched: Sequence[Searched]) -> FleetPlan:
    """The plan over all models. Only where some model's search is feasible."""
    problem, found = combined(searched)
    plan = plan_of(problem, found)
    models = tuple(one.model for one, _ in searched)
    if len(models) == 1:
        return plan
    left = [one.model for one, search in searched if search.shortfalls or not search.feasible]
    because = (
        f"{plan.because} {plan.decision.model} is the cheapest model that does it, not the best: see what is not known."
    )
    if left:
        because += f" No option of {', '.join(left)} meets the targets."
    return plan.model_copy(
        update={
            "models": models,
            "because": because,
            "would_change": (*_other_models(plan), *plan.would_change),
            "unknown": (_which_is_better(models), *plan.unknown),
        }
    )


def _other_models(plan: FleetPlan) -> list[str]:
    """What each other model would cost, should the decided one answer too badly."""
    best, said, seen = plan.decision, [], {plan.decision.model}
    for option in plan.options:
        if option.model in seen or option.standing == "missed":
            continue
        seen.add(option.model)
        said.append(
            f"If {best.model} is measured to answer too badly for the task, {option.name}{_dearer(option, best)}."
        )
    return said


def _dearer(option: FleetOption, best: FleetOption) -> str:
    there, here = cost_of(option), cost_of(best)
    if there is None or not here:
        return ""
    change = there / here - 1
    return ": the same cost" if abs(change) < 0.005 else f": {abs(change):.0%} {'more' if change > 0 else 'less'} cost"


def _which_is_better(models: tuple[str, ...]) -> Estimate:
    return Estimate(
        metric="quality",
        value=None,
        unit="fraction",
        interval=None,
        kind="computed",
        formula=f"which of {', '.join(models)} answers better: nothing on record holds for this task",
        protocol="score each on the same few hundred examples of the task, paired, with an interval of the difference, "
        "and set a bound that the model must meet before the cheaper one is taken",
    )
