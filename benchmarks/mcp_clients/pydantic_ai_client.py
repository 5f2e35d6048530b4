"""Every call of calls.json through pydantic-ai's MCP toolset; one line of JSON. Run with a Python that has `pydantic-ai-slim[mcp]`."""

import asyncio
import json
import os
import sys
from importlib import metadata

from fastmcp.client.transports import StdioTransport
from pydantic_ai.mcp import MCPToolset


async def main(target: list[str], calls: list[dict]) -> None:
    """`target`: an address and a token, or a command."""
    if target[0].startswith("http"):
        toolset = MCPToolset(target[0], headers={"Authorization": f"Bearer {target[1]}"})
    else:
        toolset = MCPToolset(StdioTransport(target[0], target[1:], env=dict(os.environ)), init_timeout=60)
    async with toolset:
        tools = [tool.name for tool in await toolset.list_tools()]
        found = []
        for call in calls:
            told = await toolset.direct_call_tool(call["name"], call["arguments"])
            found.append(told["status"] if isinstance(told, dict) else json.loads(str(told))["status"])
    print(json.dumps({"version": metadata.version("pydantic-ai-slim"), "tools": tools, "statuses": found}))


asyncio.run(main(sys.argv[2:], json.loads(sys.argv[1])))
