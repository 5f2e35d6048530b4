"""`aether web`."""

from pathlib import Path

import click

from aether.surfaces.cli.edge import explained


@click.command()
@click.argument("root", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path("."))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port to listen on; 0 picks a free one.")
@explained
def web(root: Path, host: str, port: int) -> int:
    """The workbench in a browser, for the files below ROOT: what-if, ask, plans, runs, explain, review, annotation.

    Only who has the printed address, which holds a token, gets in.
    """
    from aether.evidence.extras import need

    need("web")
    from aether.surfaces.web.app import serve

    if host not in ("127.0.0.1", "localhost", "::1"):
        click.echo("warning: this address can be reached from other machines, without encryption", err=True)
    serve(root, host, port, lambda address: click.echo(f"{address}\nCtrl-C stops", err=False))
    return 0
