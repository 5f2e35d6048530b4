"""The bounds on metrics of safety, shown on the served model behind its defences: `red_team.guard` of a brief. Answers lie in RUN/redteam.

What is released is the model with those defences: they are kept in RUN/guard, and `aether serve RUN` has them on.
"""

from collections.abc import Callable
from pathlib import Path

from aether.counsel.browse import server_settings
from aether.counsel.redteaming import headline, read_red_team, write_pages
from aether.evidence.verdicts import MEASURED_BY
from aether.planning.recipes import red_team_files, red_team_of
from aether.running.defended import red_team_behind
from aether.spec.brief import Brief
from aether.spec.evidence import Evidence
from aether.stages.serve.recipe import GuardSettings


def shown_behind_defences(
    brief: Brief, run: Path, model: Path, told: Callable[[str, int], None]
) -> tuple[Evidence, ...]:
    """Evidence of the metrics of safety, measured behind the brief's defences; none where it names no guard.

    The server is the one that the load test had. Raises what `red_team_behind` raises.
    """
    recipe, guard = red_team_of(brief), brief.red_team and brief.red_team.guard
    if recipe is None or guard is None:
        return ()
    settings = server_settings(run, "127.0.0.1", 0, GuardSettings()).model_copy(update={"model_name": brief.name})
    out = run / "redteam"
    red_team_behind(Path(guard), (model, settings), (recipe, red_team_files(brief)), out, told)
    done = read_red_team(out)
    write_pages(done)
    where = f"behind {Path(guard).name}"
    return tuple(
        row.model_copy(update={"id": MEASURED_BY[row.metric], "source": f"{row.source}, {where}"})
        for row in headline(done)
    )
