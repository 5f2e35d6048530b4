"""`aether setup`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aether.surfaces.cli.edge import explained, json_option, say_json

if TYPE_CHECKING:
    from aether.counsel.clients import Scope


@click.command()
@click.argument("client")
@click.option("--scope", type=click.Choice(["project", "user"]), default="project", show_default=True, help="For whom.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@json_option
@explained
def setup(client: str, scope: "Scope", dry_run: bool, as_json: bool) -> int:
    """Add Aether's tools and skills to CLIENT: claude-code, codex, cursor, gemini, vscode, or all.

    In the current folder, or with --scope user in the home folder. Works without a network.
    """
    from aether.counsel.clients import CLIENTS, add_to

    base = Path.home() if scope == "user" else Path.cwd()
    names = [n for n, known in CLIENTS.items() if scope in known.settings] if client == "all" else [client]
    changes = [change for name in names for change in add_to(name, scope, base, dry_run=dry_run)]
    if as_json:
        say_json({"status": "planned" if dry_run else "done", "changes": [c.model_dump() for c in changes]})
        return 0
    for change in changes:
        click.echo(f"{change.action:>9}  {change.path}")
    if dry_run:
        click.echo("nothing was written")
    return 0
