"""`aether web`."""

import os
from pathlib import Path
from typing import Any

import click

from aether.surfaces.cli.edge import explained


@click.command()
@click.argument("root", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path("."))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port to listen on; 0 picks a free one.")
@click.option("--model", help="For the chat: PROVIDER:NAME, as in `aether chat`.  [default: AETHER_MODEL]")
@click.option("--base-url", help="A server of the OpenAI protocol.")
@click.option("--budget", type=float, metavar="USD", help="What a conversation may spend.")
@explained
def web(root: Path, host: str, port: int, model: str | None, base_url: str | None, budget: float | None) -> int:
    """The workbench in a browser, for the files below ROOT: what-if, ask, chat, plans, runs, results, explain, review, annotation.

    Only who has the printed address, which holds a token, gets in.
    """
    from aether.evidence.extras import need

    need("web")
    from aether.surfaces.web.app import serve

    if host not in ("127.0.0.1", "localhost", "::1"):
        click.echo("warning: this address can be reached from other machines, without encryption", err=True)
    talks = _talks(root, model or os.environ.get("AETHER_MODEL", ""), base_url, budget)
    serve(root, host, port, lambda address: click.echo(f"{address}\nCtrl-C stops", err=False), talks)
    return 0


def _talks(root: Path, model: str, base_url: str | None, budget: float | None) -> Any:
    """The conversations behind the chat page; None without a model."""
    if not model:
        return None
    from aether.evidence.extras import need

    need("agent")
    from aether.counsel.agent.live import Talks
    from aether.counsel.agent.providers import is_local, model_of

    return Talks(root.resolve(), model_of(model, base_url), budget, is_local(model, base_url))
