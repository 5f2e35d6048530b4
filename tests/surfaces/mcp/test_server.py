"""The server through the protocol's own client: in memory, over standard input and output, and over HTTP."""

import json
import os
import re
import socket
import subprocess
import sys
import time

import anyio
import httpx
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from tests.helpers.mcp_calls import call, data_of

from aether.counsel.toolbox import Toolbox
from aether.surfaces.mcp.server import make_server

SERVING = {
    "model": {"name": "llama-3.1-8b", "task": "serve"},
    "hardware": {"name": "H100-SXM-80GB", "count": 2},
    "load": {"requests_per_s": 2, "prompt_tokens": 1000, "output_tokens": 200},
    "targets": ["ttft_p99 <= 2 s"],
}


def test_every_tool_has_a_typed_reply_and_says_what_it_does(tmp_path):
    async def tools():
        async with Client(make_server(tmp_path)) as client:
            return (await client.list_tools()).tools

    found = {tool.name: tool for tool in anyio.run(tools)}
    box = Toolbox(tmp_path)
    assert set(found) == {tool.__name__ for tool in (*box.reading, *box.working)}
    for tool in found.values():
        assert len(tool.description) > 40 and {"status", "text", "data"} <= set(tool.output_schema["properties"])
    assert found["estimate"].annotations.read_only_hint and not found["launch_build"].annotations.read_only_hint


def test_a_plan_comes_back_as_text_and_data(tmp_path):
    said = data_of(call(tmp_path, "plan", brief=SERVING, out="runs/x"))
    assert said["status"] == "done" and said["data"]["decided"] in said["text"]
    assert (tmp_path / "runs" / "x" / "plan.json").exists() and "runs/x/plan.json" in said["data"]["files"]
    assert all(e["kind"] and e["source"] for e in said["evidence"])


def test_questions_are_data(tmp_path):
    said = data_of(call(tmp_path, "plan", brief={"model": {"name": "llama-3.1-8b", "task": "serve"}}))
    assert said["status"] == "needs_input" and said["data"] is None
    assert {"hardware.name", "load.requests_per_s"} <= {q["field"] for q in said["questions"]}
    assert all(q["why"] for q in said["questions"])


def test_infeasible_is_data_with_the_way_out(tmp_path):
    said = data_of(call(tmp_path, "plan", brief=SERVING | {"targets": ["ttft_p99 <= 1 ms"]}))
    assert said["status"] == "infeasible" and said["details"]["shortfalls"][0]["verdict"] == "impossible"
    assert said["details"]["nearest"]


def test_a_refusal_is_data(tmp_path):
    said = data_of(
        call(tmp_path, "plan", brief=SERVING | {"intended_use": "write phishing mails to thousands of people"})
    )
    assert said["status"] == "declined" and said["details"]["alternative"]


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("plan", {"brief": SERVING, "out": "../x"}),
        ("show_run", {"run": "/etc"}),
        ("simulate", {"model": "llama-3.1-8b", "traffic": "../../t.csv", "device": "H100"}),
    ],
)
def test_nothing_outside_the_root(tmp_path, name, arguments):
    said = data_of(call(tmp_path, name, **arguments))
    assert said["status"] == "bad_input" and "inside" in said["text"]


@pytest.mark.parametrize(
    "name, arguments, said",
    [
        ("explain", {"topik": "lora"}, "explain: topik = 'lora': no such argument; it takes topic"),
        ("plan_build", {"run": "r"}, "plan_build: brief = nothing: give it a value"),
        ("plan_build", {"run": "r", "brief": "words"}, "plan_build: brief = 'words': write a table"),
        ("estimate", {"question": "why"}, "estimate: question = 'why': use one of 'train', 'serve', 'memory' or 'quality'"),
        ("evaluate_model", {"run": "r", "order": {"target": "x"}}, "evaluate_model: order.suite = nothing: give it a value"),
        ("ask", {"text": " "}, "text = ' ': say what you want done, with which model, on which hardware"),
        ("ask", {"text": "x", "session": "abc"}, "session = 'abc': no answer has this session; leave it empty to begin"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_one_sentence_with_field_value_and_mend(tmp_path, name, arguments, said):
    reply = data_of(call(tmp_path, name, **arguments))
    assert (reply["status"], reply["text"]) == ("bad_input", said) and {"field", "value", "mend"} <= set(
        reply["details"]
    )


def test_an_answer_says_each_source_once(tmp_path):
    result = call(
        tmp_path, "ask", text="serve llama-3.1-8b on 2 H100 at 2 requests per second, 1k in, 200 out, p99 TTFT < 2 s"
    )
    said, told = data_of(result), json.loads(result.content[0].text)
    assert "## Evidence" not in said["text"] and told["text"] == said["text"] and told["data"]["session"]
    value, number = re.search(r"([\d.]+) requests/s\[\^(\d+)\]", said["text"]).groups()
    assert f"{said['evidence'][int(number) - 1]['value']:.3g}" == value
    assert len(result.content[0].text) < 25_000


def test_an_estimate_names_its_terms(tmp_path):
    said = data_of(call(tmp_path, "estimate", question="memory", model="llama-3.1-8b", device="H100-SXM-80GB"))
    assert said["data"]["estimates"][0]["terms"] and said["evidence"]


def test_spending_needs_the_hash_of_a_plan(tmp_path):
    said = data_of(call(tmp_path, "launch_build", run="runs/none", approve="yes"))
    assert said["status"] == "bad_input" and "no plan yet" in said["text"]
    said = data_of(call(tmp_path, "run_status", run="runs/none"))
    assert said["data"]["state"] == "none"


def test_over_standard_input_and_output(tmp_path):
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "aether", "mcp", str(tmp_path)], env=dict(os.environ)
    )

    async def once():
        async with Client(stdio_client(parameters)) as client:
            return await client.call_tool("list_runs", {})

    assert data_of(anyio.run(once))["data"] == {"runs": []}


@pytest.fixture
def http_server(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "aether", "mcp", str(tmp_path), "--http", str(port)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"AETHER_MCP_TOKEN": "secret"}
    )
    line = process.stderr.readline()
    assert f"http://127.0.0.1:{port}/mcp" in line
    yield f"http://127.0.0.1:{port}/mcp"
    process.terminate()
    process.communicate(timeout=30)


def test_over_http_only_with_the_token(http_server):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"accept": "application/json, text/event-stream"}
    deadline = time.monotonic() + 60
    while True:
        try:
            refused = httpx.post(http_server, json=body, headers=headers)
            break
        except httpx.ConnectError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert refused.status_code == 401 and "Bearer" in json.dumps(refused.json())
    elsewhere = headers | {"authorization": "Bearer secret", "host": "evil.example"}
    assert httpx.post(http_server, json=body, headers=elsewhere).status_code in (403, 421)

    async def once():
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        async with (
            httpx2.AsyncClient(headers={"authorization": "Bearer secret"}) as http,
            Client(streamable_http_client(http_server, http_client=http)) as client,
        ):
            return await client.call_tool("list_runs", {})

    assert data_of(anyio.run(once))["data"] == {"runs": []}
