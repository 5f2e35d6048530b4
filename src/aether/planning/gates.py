"""Gates of a brief that the build's own small set cannot show, refused before anything is built, with the number that would show them.

A gate holds where the whole interval is on the right side. With no failure at all the interval still has an upper limit, which the number of requests
and the errors of the judge decide; a bound below it would withhold every model.
"""

from math import ceil

from aether.spec.brief import Brief, Target
from aether.spec.metrics import GATES
from aether.spec.plan import Refusal, Term
from aether.stages.evaluate.estimate import MOST, least, requests_for, tried


def refuse_unshowable(brief: Brief) -> tuple[Refusal, ...]:
    """The gates whose bound is below what the set that comes along can show with no failure among its requests."""
    return tuple(
        _refusal(target)
        for target in brief.targets
        if target.metric in GATES and target.value < least(target.metric, tried()[target.metric])
    )


def _refusal(target: Target) -> Refusal:
    count, bound = tried()[target.metric], target.value
    floor, wanted = least(target.metric, count), requests_for(target.metric, bound)
    needed = f"{wanted:,}" if wanted is not None else f"more than {MOST:,}"
    return Refusal(
        target=target,
        verdict="impossible",
        binding="size of the red team's set",
        arithmetic=f"with no failure among the build's {count} the upper limit is {100 * floor:.1f} %; {needed} would show it",
        terms=(Term(name="requests", value=count, unit="count", kind="computed", source="the set that comes along"),),
        best=floor,
        nearest=f"demand {target.metric} <= {ceil(100 * floor)} %, or serve the model with its defences and run "
        f"`aether redteam ADDRESS --gate` with a set of {needed}",
    )
