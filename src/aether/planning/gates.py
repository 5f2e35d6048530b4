"""Gates of a brief that the build's requests cannot show, refused before anything is built, with the number that would show them.

A gate holds where the whole interval is on the right side. With no failure at all the interval still has an upper limit, which the number of requests
and the errors of the judge decide; a bound below it would withhold every model.
"""

from math import ceil

from aether.planning.recipes import red_team_files, red_team_of
from aether.spec.brief import Brief, Target
from aether.spec.metrics import GATES
from aether.spec.plan import Refusal, Term
from aether.stages.evaluate.estimate import MOST, least, requests_for, tried


def refuse_unshowable(brief: Brief) -> tuple[Refusal, ...]:
    """The gates whose bound is below what the set can show with no failure among its requests. Raises InputError for a missing file."""
    recipe, files = red_team_of(brief), red_team_files(brief)
    if recipe is None:
        return ()
    counts = tried(recipe, files)
    return tuple(
        _refusal(target, counts[target.metric], any(files))
        for target in brief.targets
        if target.metric in GATES and target.value < least(target.metric, counts[target.metric])
    )


def _refusal(target: Target, count: int, own: bool) -> Refusal:
    bound = target.value
    floor, wanted = least(target.metric, count), requests_for(target.metric, bound)
    needed = f"{wanted:,}" if wanted is not None else f"more than {MOST:,}"
    return Refusal(
        target=target,
        verdict="impossible",
        binding="size of the red team's set",
        arithmetic=f"with no failure among the build's {count} the upper limit is {100 * floor:.1f} %; {needed} would show it",
        terms=(
            Term(
                name="requests",
                value=count,
                unit="count",
                kind="computed",
                source="the brief's files" if own else "the set that comes along",
            ),
        ),
        best=floor,
        nearest=f"demand {target.metric} <= {ceil(100 * floor)} %, or give a file of {needed} "
        f"(red_team.{'benign' if target.metric == 'over_refusal' else 'behaviours'})"
        if target.metric in ("attack_success", "over_refusal")
        else f"demand {target.metric} <= {ceil(100 * floor)} %",
    )
