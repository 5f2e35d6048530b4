"""Every call of calls.json through FastMCP's client; one line of JSON. Run with a Python that has `fastmcp`."""

import asyncio
import json
import os
import sys
from importlib import metadata

from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport


async def main(target: list[str], calls: list[dict]) -> None:
    """`target`: an address and a token, or a command."""
    if target[0].startswith("http"):
        transport = StreamableHttpTransport(target[0], headers={"Authorization": f"Bearer {target[1]}"})
    else:
        transport = StdioTransport(target[0], target[1:], env=dict(os.environ))
    async with Client(transport) as client:
        tools = [tool.name for tool in await client.list_tools()]
        found = [(await client.call_tool(c["name"], c["arguments"])).structured_content["status"] for c in calls]
    print(json.dumps({"version": metadata.version("fastmcp"), "tools": tools, "statuses": found}))


asyncio.run(main(sys.argv[2:], json.loads(sys.argv[1])))
