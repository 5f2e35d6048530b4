"""Calls of the MCP server by the protocol's own client, in memory."""

import anyio
from mcp import Client

from aether.surfaces.mcp.server import make_server


def call(root, name, **arguments):
    """The result of one tool over the folder `root`."""

    async def once():
        async with Client(make_server(root)) as client:
            return await client.call_tool(name, arguments)

    return anyio.run(once)


def data_of(result):
    """The typed reply."""
    assert not result.is_error, result.content
    return result.structured_content
