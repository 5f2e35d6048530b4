"""`aether mcp`: the toolbox of counsel as a Model Context Protocol server, over standard input or HTTP.

On the protocol's own kit (`mcp` 2.x). Tools have typed input and output; questions and refusals come back as data, so that no
feature of the client beyond calling tools is needed. Holds no logic: each tool is one of `counsel.toolbox`.
"""

import hmac
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

import aether
from aether.counsel.reply import Reply, compact, of_error
from aether.counsel.toolbox import Toolbox
from aether.policy.brief_errors import Problem, of_validation, raise_all
from aether.spec.errors import InputError

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
    server = _Server(
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


class _Server(MCPServer):
    """The kit's server, which says wrong arguments as every other bad input, and each thing once."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """The tool's reply: whole as data, and as text what there is to read."""
        wrong = [Problem(key, arguments[key], mend) for key, mend in await self._unknown(name, arguments)]
        if wrong:
            return _said_wrong(name, wrong)
        try:
            result = await super().call_tool(name, arguments, context)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            return _said_wrong(name, of_validation(error.__cause__, ""))
        if not isinstance(result, CallToolResult) or not result.structured_content:
            return result
        return _told(result.structured_content)

    async def _unknown(self, name: str, arguments: dict[str, Any]) -> list[tuple[str, str]]:
        known = {tool.name: list(tool.input_schema.get("properties", {})) for tool in await self.list_tools()}.get(name)
        mend = f"no such argument; it takes {', '.join(known) if known else 'none'}"
        return [] if known is None else [(key, mend) for key in arguments if key not in known]


def _told(reply: dict[str, Any]) -> CallToolResult:
    said = compact(reply)
    text = TextContent(type="text", text=json.dumps(said, ensure_ascii=False))
    return CallToolResult(content=[text], structured_content=reply | {"text": said["text"]})


def _said_wrong(name: str, problems: list[Problem]) -> CallToolResult:
    try:
        raise_all(name, problems)
    except InputError as error:
        return _told(Reply(**of_error(error)).model_dump(mode="json"))


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
