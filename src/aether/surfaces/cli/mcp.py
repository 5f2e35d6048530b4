"""`aether mcp`."""

import os
from pathlib import Path

import click

from aether.surfaces.cli.edge import explained


@click.command()
@click.argument("root", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path("."))
@click.option("--http", "port", type=int, help="Serve over HTTP on this port instead of standard input and output.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on, over HTTP.")
@explained
def mcp(root: Path, port: int | None, host: str) -> int:
    """Serve every tool to an agent over the Model Context Protocol. Nothing outside ROOT is read or written.

    Over HTTP, clients send the token that is printed, or that the environment has in AETHER_MCP_TOKEN.
    """
    from aether.evidence.extras import need

    need("mcp")
    from aether.surfaces.mcp.server import serve_http, serve_stdio

    if port is None:
        serve_stdio(root)
        return 0

    def announce(token: str) -> None:
        click.echo(f"serving http://{host}:{port}/mcp; Authorization: Bearer {token}; Ctrl-C stops", err=True)

    serve_http(root, host, port, announce, os.environ.get("AETHER_MCP_TOKEN", ""))
    return 0
