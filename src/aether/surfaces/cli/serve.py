"""`aether serve`."""

from pathlib import Path
from typing import Any

import click

from aether.surfaces.cli.edge import explained


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, help="Port to listen on; 0 picks a free one.")
@click.option(
    "--guard",
    type=click.Path(path_type=Path),
    help="A TOML file of GuardSettings: who may ask, what is let in and out. A run released behind a guard has it on by itself.",
)
@explained
def serve(model: Path, host: str, port: int, guard: Path | None) -> int:
    """Serve MODEL (a run's folder, a Hugging Face folder or a .gguf file) over the OpenAI protocol, until Ctrl-C."""
    from aether.counsel.browse import model_folder, server_settings
    from aether.evidence.extras import need

    folder = model_folder(model)
    need("serve")
    from aether.stages.serve.guard.settings import read_guard
    from aether.stages.serve.server import serve_forever

    settings = server_settings(model, host, port, None if guard is None else read_guard(guard))
    serve_forever(folder, settings, _announce)
    return 0


def _announce(served: dict[str, Any]) -> None:
    guarded = ", behind its guard" if served["guarded"] else ""
    told = f"{served['engine']}, {served['dtype']}{guarded}"
    click.echo(f"serving {served['model']} at {served['url']}/v1 ({told}); Ctrl-C stops")
