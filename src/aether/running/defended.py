"""A red team on the model as it is served, behind its defences: the one place where two stages meet in a process. They meet over HTTP.

Answers lie in the folder, so that one that was cut off goes on, at whatever address the server then is. Who may ask and how often is not
tried: keys and rates are left out.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from aether.evidence.hashing import hash_model
from aether.running.guarding import guard_identity, screening
from aether.stages.evaluate.recipe import RedTeamRecipe
from aether.stages.evaluate.redteam.run import Order, red_team
from aether.stages.evaluate.redteam.trying import requests_of
from aether.stages.evaluate.suites.target import Target
from aether.stages.serve.guard.settings import read_guard
from aether.stages.serve.recipe import ServerSettings
from aether.stages.serve.run import running_server


def red_team_behind(
    guard_file: Path,
    served: tuple[Path, ServerSettings],
    asked: tuple[RedTeamRecipe, Sequence[str | None]],
    out: Path,
    told: Callable[[str, int], None],
) -> None:
    """Fill `out` as `aether redteam` does. `served`: the model's folder and how it is served; `asked`: the recipe and its files.

    Raises InputError for a file that cannot be read, EnvironmentFault where the server does not come up.
    """
    model, settings = served
    recipe, files = asked
    guard = screening(read_guard(guard_file))
    harmful, benign = requests_of(recipe, files)
    out.mkdir(parents=True, exist_ok=True)
    with running_server(model, settings.model_copy(update={"guard": guard}), out.with_suffix(".log")) as server:
        target = Target(place=server.url, model=server.model, concurrency=settings.engine.slots)
        stands_for = {"sha256": hash_model(model), "guard": guard_identity(guard)}
        command = f"aether resume {out.parent}"
        red_team(Order(target, recipe, harmful, benign, out, command=command, stands_for=stands_for), told)
