"""`aether diagnose`."""

from pathlib import Path

import click

from aether.surfaces.cli.edge import explained, json_option, say_json


@click.command()
@click.argument("log", type=click.Path(path_type=Path))
@json_option
@explained
def diagnose(log: Path, as_json: bool) -> int:
    """What goes wrong in a training: LOG is a trainer's log, or a run's folder.

    Spikes, NaN, divergence, stalls, slow input, overfitting, a bad learning rate, and more: the lines that show it, what may be
    behind it, and the next experiment.
    """
    from aether.counsel.diagnosis.diagnose import diagnose as examine

    page = examine(log)
    if as_json:
        say_json({"status": "ok", "page": page.model_dump(mode="json")})
        return 0
    from aether.surfaces.cli.pages import print_page

    print_page(page)
    return 0
