"""`aether votes`."""

from pathlib import Path
from typing import Literal

import click

from aether.surfaces.cli.edge import explained, json_option, say_json


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--rater", default="", help="The column that names who voted: intervals are then over people.")
@click.option(
    "--covariate", "covariates", multiple=True, help="A column of numbers, of the left reply over the right one."
)
@click.option(
    "--ties",
    type=click.Choice(["half", "davidson"]),
    default="half",
    show_default=True,
    help="Half a win each, or a parameter.",
)
@click.option("--side", is_flag=True, help="Estimate what standing on the left is worth.")
@json_option
@explained
def votes(
    file: Path, rater: str, covariates: tuple[str, ...], ties: Literal["half", "davidson"], side: bool, as_json: bool
) -> int:
    """Rank models from pairwise votes: FILE is a .csv (left, right, winner) or pairs that people judged in `aether web`."""
    from aether.counsel.votes import fitted, page_of, read_votes
    from aether.evidence.bradley_terry import ELO

    given = read_votes(file, rater, covariates)
    found = fitted(given.votes, ties, side)
    if as_json:
        spans, ranks = found.intervals(), found.ranks()
        rows = [
            {
                "model": name,
                "points": float(ELO * s),
                "low": span.low,
                "high": span.high,
                "best_rank": best,
                "worst_rank": worst,
            }
            for name, s, span, (best, worst) in zip(found.players, found.strength, spans, ranks, strict=True)
        ]
        effects = {name: {"log_odds": effect, "se": se} for name, (effect, se) in found.effects.items()}
        say_json(
            {"status": "ok", "votes": found.votes, "clusters": found.clusters, "method": found.method, "models": sorted(rows, key=lambda r: -r["points"]),
             "effects": effects, "tie": found.tie, "left_out": list(given.careless), "planned": given.planned}
        )  # fmt: skip
    else:
        from aether.surfaces.cli.pages import print_page

        print_page(page_of(found, given, file))
    return 0
