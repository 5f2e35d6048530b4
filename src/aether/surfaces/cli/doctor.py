"""`aether doctor`."""

from pathlib import Path

import click

from aether.surfaces.cli.edge import explained, json_option, say_json


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Where runs go.")
@json_option
@explained
def doctor(out: Path, as_json: bool) -> int:
    """Say what works here, what is missing, and what mends it. Exit code 2 when something is broken or missing."""
    from dataclasses import asdict

    from aether.counsel.doctor import examine

    found = examine(out)
    bad = [finding for finding in found if finding.health in ("missing", "broken")]
    if as_json:
        say_json({"status": "broken" if bad else "ok", "findings": [asdict(finding) for finding in found]})
        return 2 if bad else 0
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "what", "found", box=None, pad_edge=False)
    marks = {
        "ok": "[green]ok[/]",
        "warning": "[yellow]warning[/]",
        "missing": "[red]missing[/]",
        "broken": "[red]broken[/]",
    }
    for finding in found:
        table.add_row(marks[finding.health], escape(finding.name), escape(finding.detail))
    Console().print(table)
    mends: dict[str, list[str]] = {}
    for finding in found:
        if finding.mend:
            mends.setdefault(finding.mend, []).append(finding.name)
    for mend, names in mends.items():  # unwrapped, so that it can be copied
        click.echo(f"\n{', '.join(names)}:\n  {mend}")
    return 2 if bad else 0
