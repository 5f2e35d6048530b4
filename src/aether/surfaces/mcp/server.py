"""`aether mcp`: the toolbox of counsel as a Model Context Protocol server, over standard input or HTTP.

On the protocol's own kit (`mcp` 2.x). Tools have typed input and output; questions and refusals come back as data, so that no
feature of the client beyond calling tools is needed. Holds no logic: each tool is one of `counsel.toolbox`.
"""

import hmac
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp_types import ToolAnnotations
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

import aether
from aether.counsel.toolbox import Toolbox

INSTRUCTIONS = """\
Aether is a senior AI model engineer as software. Its tools decide numbers; say only numbers that a tool gave, with their interval \
and kind. When a reply has status needs_input, put its questions to the person, or call again with the defaults that the person \
accepts. Infeasible means that no option meets the brief: say so, and offer the nearest feasible briefs. Work that spends goes \
plan_build, then run_status for the cost and the hash, then a person's approval, then launch_build with that hash; measuring a model goes \
evaluate_model, red_team or judge_pairs for the hash, then the approval, then the same call with it, then show_results."""
WRITING = ("plan", "lay_out_study")
"""Tools that spend nothing and write files where they are told to."""
ASKING = ("evaluate_model", "red_team", "judge_pairs")
"""Tools that ask a model, which may stand anywhere."""


def make_server(root: Path) -> MCPServer:
    """The server over one folder."""
    server = MCPServer(
        "aether", title="Aether", version=aether.__version__, instructions=INSTRUCTIONS, log_level="WARNING"
    )
    toolbox = Toolbox(root)
    for tool in toolbox.reading:
        _add(server, tool, ToolAnnotations(read_only_hint=tool.__name__ not in WRITING, open_world_hint=False))
    for tool in toolbox.working:
        cancels = tool.__name__ == "cancel_run"
        asks = tool.__name__ in ASKING
        _add(server, tool, ToolAnnotations(read_only_hint=False, destructive_hint=cancels, open_world_hint=asks))
    return server


def _add(server: MCPServer, tool: Callable[..., Any], hints: ToolAnnotations) -> None:
    server.add_tool(tool, description=" ".join((tool.__doc__ or "").split()), annotations=hints)


class Guarded:
    """An application that answers only who has the token (`Authorization: Bearer TOKEN`)."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 401."""
        if scope["type"] == "http":
            given = Request(scope).headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
                refusal = JSONResponse({"error": "send the header Authorization: Bearer TOKEN"}, 401)
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)


def http_app(root: Path, host: str, token: str) -> ASGIApp:
    """The server as an application at /mcp, for requests that carry the token."""
    return Guarded(make_server(root).streamable_http_app(host=host), token)


def serve_stdio(root: Path) -> None:
    """Serve one client over standard input and output, until it closes them."""
    make_server(root).run("stdio")


def serve_http(root: Path, host: str, port: int, announce: Callable[[str], None], token: str = "") -> None:
    """Serve over HTTP until Ctrl-C. A token is made for this start unless one is given; `announce` gets it once."""
    import uvicorn

    token = token or secrets.token_urlsafe(24)
    announce(token)
    uvicorn.run(http_app(root, host, token), host=host, port=port, log_level="warning")
