"""`aether scaling`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aether.surfaces.cli.edge import explained, json_option, say_json

if TYPE_CHECKING:
    from aether.counsel.ablation.ladder import Ladder


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--budgets", default="0.25,0.5,1", show_default=True, help="Compute of the rungs, as factors of the recipe's 6 N D."
)
@click.option(
    "--sizes", default="0.5,0.75,1,1.5", show_default=True, help="Width and depth, as factors of the recipe's."
)
@click.option(
    "--beyond",
    type=click.FloatRange(min=1, min_open=True),
    default=4.0,
    show_default=True,
    help="The training that is predicted before it is made: this many times the largest budget.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("scaling"),
    show_default=True,
    help="Where the trainings and the fit lie.",
)
@json_option
@explained
def scaling(recipe: Path, budgets: str, sizes: str, beyond: float, out: Path, as_json: bool) -> int:
    """Train sizes of RECIPE at several budgets, fit a scaling law, predict a larger training, and make it.

    RECIPE is a file of steps or a run's folder, as for `aether ablate`. Exit code 5 when the larger training lies outside its interval.
    """
    from aether.counsel.ablation.ladder import climb, factors
    from aether.evidence.files import read_json
    from aether.surfaces.cli.build import progress_of

    asked = factors(budgets, "budgets"), factors(sizes, "sizes")
    with progress_of(as_json) as listener:
        found = climb(recipe, *asked, beyond, out, listener)
    if as_json:
        say_json({"status": "done", "folder": str(out), **read_json(out / "scaling.json")})
    else:
        _print(found, out)
    return 5 if found.held.inside is False else 0


def _print(found: "Ladder", out: Path) -> None:
    from aether.surfaces.cli.scaling import print_fit

    print_fit(found.fitted)
    held = found.held
    if held.measured.loss is None:
        click.echo(f"\nThe larger training broke: {held.measured.broke}")
    else:
        place = "inside" if held.inside else "outside"
        click.echo(
            f"\nThe larger training ({held.measured.variant}) came to {held.measured.loss:.4f} nats per token: {place} its interval."
        )
    click.echo(f"{out / 'scaling.svg'}")
