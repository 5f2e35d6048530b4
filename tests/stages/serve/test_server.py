"""The real server as a process, over real sockets."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import psutil
import pytest
import torch
from tiny_served_model import CONFIG, write_model
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from aether.spec.errors import EnvironmentFault, InputError
from aether.stages.serve.recipe import EngineRecipe, ServerSettings
from aether.stages.serve.run import running_server
from aether.stages.serve.server import bind, serve_forever

LONG = CONFIG.model_copy(update={"context_tokens": 3000})
PROMPT = "def main(argument):\n    return"
SETTINGS = ServerSettings(
    engine=EngineRecipe(slots=4, max_queue=2, chunk_tokens=32, dtype="float32"),
    port=0, model_name="tiny", max_body_bytes=20_000,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("served") / "model", LONG)


@pytest.fixture(scope="module", params=["packed", "llama.cpp"])
def server(request, folder, tmp_path_factory):
    engine = SETTINGS.engine.model_copy(update={"engine": request.param})
    settings = SETTINGS.model_copy(update={"engine": engine})
    with running_server(folder, settings, tmp_path_factory.mktemp("log") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as found:
        yield found


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url, timeout=30) as found:
        yield found


def number(http, name):
    lines = [line for line in http.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(lines[0].split()[1])


def wait_for(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def expected(folder):
    """What plain transformers makes of the same folder and prompt."""
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    ids = torch.tensor([[0, *tokenizer(PROMPT).input_ids]])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True), ids.shape[1]


GREEDY = {"model": "tiny", "max_tokens": 24, "temperature": 0, "extra_body": {"ignore_eos": True}}


def test_completions_equal_plain_transformers(client, expected):
    answer = client.completions.create(prompt=PROMPT, **GREEDY)
    assert answer.choices[0].text == expected[0] and answer.choices[0].finish_reason == "length"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (expected[1], 24)


def test_many_at_once_get_the_text_that_one_gets(client, expected):
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: client.completions.create(prompt=PROMPT, **GREEDY), range(6)))
    assert {answer.choices[0].text for answer in answers} == {expected[0]}


def test_streamed_completions_say_the_same_with_counts(client, expected):
    events = list(
        client.completions.create(prompt=PROMPT, stream=True, stream_options={"include_usage": True}, **GREEDY)
    )
    assert "".join(c.text for e in events for c in e.choices) == expected[0]
    assert [c.finish_reason for e in events for c in e.choices][-1] == "length"
    assert events[-1].usage.completion_tokens == 24 and not events[-1].choices


def test_counts_can_come_with_every_event(client):
    options = {"include_usage": True, "continuous_usage_stats": True}
    events = list(client.completions.create(prompt=PROMPT, stream=True, stream_options=options, **GREEDY))
    assert [e.usage.completion_tokens for e in events] == [*range(1, 25), 24]


def test_chat_whole_and_streamed(client, expected):
    messages = [{"role": "user", "content": PROMPT}]
    whole = client.chat.completions.create(messages=messages, **GREEDY)
    assert whole.choices[0].message.content == expected[0] and whole.choices[0].message.role == "assistant"
    events = list(client.chat.completions.create(messages=messages, stream=True, **GREEDY))
    assert "".join(c.delta.content or "" for e in events for c in e.choices) == expected[0]
    assert events[0].choices[0].delta.role == "assistant" and events[-1].choices[0].finish_reason == "length"


def test_a_stop_string_and_a_seed(client, expected):
    stop = expected[0][5:8]
    answer = client.completions.create(prompt=PROMPT, stop=stop, **GREEDY)
    assert answer.choices[0].text == expected[0][: expected[0].find(stop)]
    assert answer.choices[0].finish_reason == "stop"
    drawn = [
        client.completions.create(prompt=PROMPT, seed=seed, **GREEDY | {"temperature": 1.0}).choices[0].text
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_models_health_and_metrics(client, http):
    (model,) = client.models.list().data
    assert model.id == "tiny" and model.model_dump()["kind"] == "base"
    assert http.get("/health").json() == {"status": "ok"}
    page = http.get("/metrics").text
    assert 'aether_requests_total{path="/v1/completions",status="200"}' in page and "aether_slots 4" in page
    assert "access-control-allow-origin" not in http.get("/v1/models", headers={"Origin": "http://evil"}).headers


BODY = {"model": "tiny", "prompt": PROMPT, "max_tokens": 2}


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "other"}, 404, "model"),
        ({"nonsense": 1}, 400, "nonsense"),
        ({"echo": True}, 400, "echo"),
        ({"prompt": [1] * 3000}, 400, "prompt"),
        ({"max_tokens": 2999}, 400, "max_tokens"),
        ({"prompt": [10**6]}, 400, "prompt"),
        ({"prompt": "x" * 30_000}, 413, None),
    ],
)
def test_errors_are_openai_envelopes_that_name_the_field(http, change, status, param):
    answer = http.post("/v1/completions", json=BODY | change)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert set(error) == {"message", "type", "param", "code"} and error["message"]


def test_errors_reach_the_openai_client_as_its_own(client):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.completions.create(model="tiny", prompt=[1] * 3000)
    assert refusal.value.code == "context_length_exceeded" and "3000" in str(refusal.value)
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="other", prompt="x")


@pytest.mark.parametrize(
    ("path", "kwargs", "status"),
    [
        ("/v1/completions", {"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ("/v1/completions", {"content": b"[" * 9000, "headers": {"content-type": "application/json"}}, 400),
        ("/v1/completions", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
        ("/v1/completions", {"content": b"\xff\xfe", "headers": {"content-type": "application/json"}}, 400),
        ("/v1/nothing", {"json": {}}, 404),
        ("/v1/models", {"json": {}}, 405),
    ],
)
def test_malformed_requests(http, path, kwargs, status):
    answer = http.post(path, **kwargs)
    assert answer.status_code == status and answer.json()["error"]["message"]


def begin_stream(server, tokens=2900):
    """A raw connection that has begun to be answered."""
    host, port = server.url.removeprefix("http://").split(":")
    body = json.dumps(BODY | {"max_tokens": tokens, "stream": True, "ignore_eos": True}).encode()
    raw = socket.create_connection((host, int(port)), timeout=20)
    raw.sendall(
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        + f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    seen = b""
    while b"data:" not in seen:
        seen += raw.recv(4096)
    return raw


def test_a_client_that_goes_away_frees_its_slot(server, http):
    before = number(http, "aether_cancelled_total")
    connections = [begin_stream(server) for _ in range(4)]
    assert number(http, "aether_requests_running") == 4
    for connection in connections:
        connection.close()
    wait_for(lambda: number(http, "aether_requests_running") == 0, 3)
    assert number(http, "aether_cancelled_total") == before + 4
    assert http.post("/v1/completions", json=BODY).status_code == 200


def test_overload_is_shed_with_429_and_then_it_recovers(server, http):
    connections = [begin_stream(server) for _ in range(4)]
    waiting = [
        threading.Thread(target=lambda: httpx.post(f"{server.url}/v1/completions", json=BODY, timeout=30)) for _ in "ab"
    ]
    for thread in waiting:
        thread.start()
    wait_for(lambda: number(http, "aether_requests_waiting") == 2)
    answers = [http.post("/v1/completions", json=BODY) for _ in range(10)]
    assert {a.status_code for a in answers} == {429}
    assert int(answers[0].headers["retry-after"]) >= 1 and answers[0].json()["error"]["code"] == "queue_full"
    assert http.get("/health").status_code == 200
    for connection in connections:
        connection.close()
    for thread in waiting:
        thread.join(20)
    assert http.post("/v1/completions", json=BODY).status_code == 200
    assert number(http, "aether_requests_running") == 0 == number(http, "aether_requests_waiting")


def test_a_request_that_takes_too_long_is_stopped(folder, tmp_path):
    settings = SETTINGS.model_copy(update={"request_timeout_s": 0.3})
    with running_server(folder, settings, tmp_path / "log") as server:
        long = BODY | {"max_tokens": 2900, "ignore_eos": True}
        answer = httpx.post(f"{server.url}/v1/completions", json=long, timeout=20)
        assert answer.status_code == 504 and answer.json()["error"]["type"] == "timeout_error"
        streamed = httpx.post(f"{server.url}/v1/completions", json=long | {"stream": True}, timeout=20)
        assert '"timeout_error"' in streamed.text and streamed.text.endswith("data: [DONE]\n\n")
        with httpx.Client(base_url=server.url) as http:
            wait_for(lambda: number(http, "aether_requests_running") == 0, 3)


def test_sigterm_finishes_what_is_running_and_exits_with_zero(folder, tmp_path):
    with running_server(folder, SETTINGS, tmp_path / "log") as server:
        raw = begin_stream(server, tokens=400)
        server.process.send_signal(signal.SIGTERM)
        seen = b""
        while piece := raw.recv(65536):
            seen += piece
        raw.close()
        assert b"data: [DONE]" in seen and b'"finish_reason": "length"' in seen
        assert server.process.wait(10) == 0
    assert (tmp_path / "log").read_text() == ""


def test_a_port_in_use_is_a_sentence(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentFault, match=f"port {port} on 127.0.0.1 is in use"):
            bind("127.0.0.1", port)
        command = [sys.executable, "-m", "aether.stages.serve.server", "--model", str(folder), "--port", str(port)]
        found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 2 and "is in use" in json.loads(found.stderr)["error"] and not found.stdout


def test_a_folder_that_is_no_model_is_a_sentence(tmp_path):
    command = [sys.executable, "-m", "aether.stages.serve.server", "--model", str(tmp_path / "none"), "--port", "0"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 2 and "folder that exists" in json.loads(found.stderr)["error"]
    with pytest.raises(InputError, match=r"config\.json"):
        serve_forever(tmp_path, SETTINGS)


def test_a_server_dies_with_the_process_that_started_it(folder, tmp_path):
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from aether.stages.serve.recipe import ServerSettings\nfrom aether.stages.serve.run import running_server\n"
        f"with running_server(Path({str(folder)!r}), ServerSettings(port=0), Path({str(tmp_path / 'log')!r})) as server:\n"
        "    print(server.process.pid, flush=True)\n    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    zombie = psutil.STATUS_ZOMBIE
    wait_for(lambda: pid not in {p.pid for p in psutil.process_iter(["status"]) if p.info["status"] != zombie}, 5)
