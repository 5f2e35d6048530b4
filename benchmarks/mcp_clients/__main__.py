"""Asks the MCP server as clients of other makers do, and holds every status against what it should be.

    python -m venv CLIENTS && CLIENTS/bin/pip install fastmcp "pydantic-ai-slim[mcp]"
    npm install --prefix NODE @modelcontextprotocol/sdk @modelcontextprotocol/inspector
    python -m benchmarks.mcp_clients --python CLIENTS/bin/python --node NODE

FastMCP, pydantic-ai and the TypeScript SDK make every call of `calls.json`; the Inspector's command line makes those whose arguments are
plain words, over standard input and output alone: its release 0.15 sends no header. The others also over HTTP with the token. A wrong token must
be refused.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import records

HERE = Path(__file__).parent
CALLS: list[dict[str, Any]] = json.loads((HERE / "calls.json").read_text(encoding="utf-8"))
TOKEN = "a-token-for-this-run"


@contextmanager
def server(root: str) -> Iterator[str]:
    """The server over HTTP, on a free port: its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "aether", "mcp", root, "--http", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"AETHER_MCP_TOKEN": TOKEN})
    try:
        assert process.stderr is not None and "/mcp" in process.stderr.readline()
        address = f"http://127.0.0.1:{port}/mcp"
        _wait(address)
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=30)


def status_of(address: str, token: str) -> int:
    """The HTTP status of a list of tools asked for with this token."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
    headers = {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "authorization": f"Bearer {token}",
    }
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=30) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def _wait(address: str) -> None:
    for _ in range(200):
        try:
            status_of(address, TOKEN)
            return
        except urllib.error.URLError:
            time.sleep(0.1)
    raise SystemExit(f"{address} did not answer in 20 s")


def ran(command: list[str]) -> dict[str, Any]:
    """The last line of a client's output, as JSON."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"version": "", "tools": [], "statuses": [], "error": done.stderr.strip()[-600:]}
    return json.loads(lines[-1])


def inspected(node: Path, target: list[str]) -> dict[str, Any]:
    """The Inspector's command line: one process for each call, arguments as words."""
    package = json.loads(
        (node / "node_modules/@modelcontextprotocol/inspector/package.json").read_text(encoding="utf-8")
    )
    command = [str(node / "node_modules/.bin/mcp-inspector"), "--cli", *target]

    def asked(*words: str) -> dict[str, Any]:
        done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=300, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr.strip()[-600:]}

    tools = asked("--method", "tools/list")
    found: list[str | None] = []
    for call in CALLS:
        if not all(isinstance(value, str) for value in call["arguments"].values()):
            found.append(None)
            continue
        words = [word for key, value in call["arguments"].items() for word in ("--tool-arg", f"{key}={value}")]
        found.append(
            asked("--method", "tools/call", "--tool-name", call["name"], *words)
            .get("structuredContent", {})
            .get("status")
        )
    return {"version": package["version"], "tools": [t["name"] for t in tools.get("tools", [])], "statuses": found} | (
        {"error": tools["error"]} if "error" in tools else {}
    )


def judged(told: dict[str, Any]) -> dict[str, Any]:
    """What a client got, with how many of its calls came out as they should."""
    asked = [(call, status) for call, status in zip(CALLS, told["statuses"], strict=False) if status is not None]
    right = sum(call["status"] == status for call, status in asked)
    wrong = [f"{call['name']}: {status}, not {call['status']}" for call, status in asked if call["status"] != status]
    return {
        "version": told["version"],
        "tools": len(told["tools"]),
        "calls": len(asked),
        "right": right,
        "wrong": wrong,
        "error": told.get("error", ""),
    }


def main() -> int:
    """Ask with every client both ways and write the record."""
    parser = argparse.ArgumentParser(description="The MCP server, asked by clients of other makers.")
    parser.add_argument("--python", type=Path, required=True, help="a Python with fastmcp and pydantic-ai-slim[mcp]")
    parser.add_argument("--node", type=Path, required=True, help="a folder with node_modules")
    given = parser.parse_args()
    text, node = json.dumps(CALLS), given.node.absolute()
    record: dict[str, Any] = {"clients": {}}
    with tempfile.TemporaryDirectory() as root, server(root) as address:
        record["wrong_token_status"] = status_of(address, "wrong")
        for way, target in (("stdio", [sys.executable, "-m", "aether", "mcp", root]), ("http", [address, TOKEN])):
            told = {
                "FastMCP": ran([str(given.python), str(HERE / "fastmcp_client.py"), text, *target]),
                "pydantic-ai": ran([str(given.python), str(HERE / "pydantic_ai_client.py"), text, *target]),
                "TypeScript SDK": ran(["node", str(HERE / "sdk_client.mjs"), str(node), text, *target]),
            }
            if way == "stdio":
                told["Inspector, command line"] = inspected(node, target)
            for name, one in told.items():
                record["clients"].setdefault(name, {})[way] = judged(one)
    record["circumstances"] = records.circumstances(
        "benchmarks.mcp_clients", "mcp", words=["--python", "PYTHON", "--node", "DIR"]
    )
    text = markdown(record)
    records.write("mcp_clients", record, text)
    print(text)
    return (
        0
        if all(w["calls"] and w["right"] == w["calls"] for ways in record["clients"].values() for w in ways.values())
        else 1
    )


def markdown(record: dict[str, Any]) -> str:
    """The record as a table."""
    here = record["circumstances"]
    lines = [
        f"`{here['command']}`, {here['date']}, mcp {here['packages']['mcp']}",
        "",
        "| client | version | way | tools listed | calls as they should be |",
        "|---|---|---|--:|--:|",
    ]
    for name, ways in record["clients"].items():
        lines += [
            f"| {name} | {one['version']} | {way} | {one['tools']} | {one['right']} of {one['calls']} |"
            for way, one in ways.items()
        ]
    lines += ["", f"A wrong token: HTTP {record['wrong_token_status']}.", ""]
    lines += [
        f"- {name}, {way}: {wrong}"
        for name, ways in record["clients"].items()
        for way, one in ways.items()
        for wrong in (*one["wrong"], *filter(None, [one["error"]]))
    ]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
