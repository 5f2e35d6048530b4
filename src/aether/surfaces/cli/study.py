"""`aether study`."""

from pathlib import Path

import click

from aether.surfaces.cli.edge import explained, json_option, say_json


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder of the study.")
@click.option("--raters", type=click.IntRange(min=1), required=True, help="How many people judge.")
@click.option(
    "--per-pair", type=click.IntRange(min=1), default=1, show_default=True, help="Different people for each pair."
)
@click.option(
    "--checks",
    type=click.IntRange(min=0),
    default=8,
    show_default=True,
    help="Checks of attention for each person, those of FILE among them.",
)
@click.option(
    "--difference", type=float, help="A share of wins away from one half, as 0.05: how likely is it to be found?"
)
@click.option("--seed", type=int, default=0, show_default=True)
@json_option
@explained
def study(
    file: Path, out: Path, raters: int, per_pair: int, checks: int, difference: float | None, seed: int, as_json: bool
) -> int:
    """Lay out a study of preferences over the pairs of FILE, before anyone votes.

    Who judges which pair is drawn by lot, checks of attention are mixed in, and what the study can show, whom it leaves out and how it
    will be analysed is written down.
    """
    from aether.counsel.study import write_study
    from aether.evidence.pairs import read_pairs
    from aether.evidence.preference_study import design_of

    pairs = read_pairs(file)
    design = design_of(pairs, raters, per_pair, checks)
    page = write_study(pairs, design, out, seed)
    found = None if difference is None else design.power_for(difference)
    if as_json:
        say_json(
            {"status": "done", "folder": str(out), "votes": design.votes, "largest_load": design.largest_load,
             "smallest_detectable": design.smallest_detectable, "careless_pass": design.careless_pass, "power": found}
        )  # fmt: skip
        return 0
    from aether.surfaces.cli.pages import print_page

    print_page(page)
    if difference is not None:
        click.echo(f"A share of wins of {0.5 + difference:g} is told from one half with probability {found:.0%}.")
    click.echo(f"\n{out / 'study.md'}")
    return 0
