"""How far a brief reaches: the fewest devices that meet it, and the most requests that its devices take."""

from aether.planning.search.decide import Found, search
from aether.planning.search.nearby import counted, floored, nearest, nearest_rung
from aether.planning.search.problem import problem_of
from aether.planning.search.standing import is_known
from aether.spec.brief import Brief

_SHARES = tuple(step / 20.0 for step in range(20, 0, -1))
"""Of the most that any layout takes at the low end of its interval: the loads that are tried."""


def fewest(brief: Brief) -> int | None:
    """The fewest devices on which a brief's one kind meets it, of the counts that are rented; None where no tried count does. Raises InputError."""
    assert brief.hardware is not None
    problem = problem_of(brief.model_copy(update={"hardware": counted(brief.hardware, 1)[0]}))
    found = search(problem)
    if _holds(found):
        return 1
    for near in nearest(problem, found, ("count",)):
        for setting in near.settings if near.axis == "count" else ():
            field, _, value = setting.partition("=")
            if field == "hardware.count":
                return int(value)
    return None


def most_load(brief: Brief, beyond: float) -> float | None:
    """Requests per second that the brief's devices take within its targets: at 90 % and in a format of known quality, else in any format, else at
    risk. None where they take none. `beyond`: a rate that is certainly too high. Raises InputError.
    """
    found = _at(brief, beyond)
    if _holds(found):
        return beyond
    most = next((lack.best for lack in found.shortfalls if lack.subject == "load.requests_per_s"), beyond)
    rates = [floored(most * share) for share in _SHARES] if most > 0 else []
    for good in (_safe, _met, _holds):
        place = nearest_rung(0, len(rates), lambda i, good=good: good(_at(brief, rates[i])))
        if place is not None:
            return rates[place]
    return None


def _at(brief: Brief, requests_per_s: float) -> Found:
    load = brief.load.model_copy(update={"requests_per_s": requests_per_s})
    return search(problem_of(brief.model_copy(update={"load": load})))


def _holds(found: Found) -> bool:
    return found.feasible and not found.shortfalls


def _met(found: Found) -> bool:
    return _holds(found) and any(option.standing == "met" for option in found.options)


def _safe(found: Found) -> bool:
    return _holds(found) and found.options[0].standing == "met" and is_known(found.options[0])
