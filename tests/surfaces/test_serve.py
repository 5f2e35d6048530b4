"""`aether serve` as a person starts and stops it."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest
from tiny_served_model import CONFIG, write_model

from aether.counsel.agent.conversation import Conversation
from aether.counsel.agent.providers import model_of
from aether.counsel.agent.session import load_session, new_session


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("served") / "tiny")


@contextmanager
def serving(folder, *words):
    command = [sys.executable, "-m", "aether", "serve", str(folder), *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_it_says_where_it_is_and_ctrl_c_ends_it_in_order(folder):
    with serving(folder, "--port", 0) as process:
        line = process.stdout.readline()
        address = re.fullmatch(r"serving tiny at (http://127\.0\.0\.1:\d+/v1) \(packed, \w+\); Ctrl-C stops\n", line)
        assert address, line
        answer = httpx.post(f"{address[1]}/completions", json={"model": "tiny", "prompt": "import", "max_tokens": 3})
        assert answer.status_code == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "", "")


def test_a_port_in_use_is_a_sentence_for_a_person(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken, serving(folder, "--port", taken.getsockname()[1]) as process:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 2 and "is in use" in err and "Traceback" not in err and not out


@pytest.mark.parametrize("context_tokens", [14_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_conversation_with_a_model_of_ones_own(tmp_path, context_tokens):
    """Over HTTP, streamed; the server takes no tools, so the counsel's answer goes along, cut where the context is short;
    noise from random weights is no fact.
    """
    config = CONFIG.model_copy(update={"context_tokens": context_tokens})
    folder = write_model(tmp_path / "talker", config)
    with serving(folder, "--port", 0) as process:
        address = re.search(r"http://\S+/v1", process.stdout.readline())
        assert address
        drafts: list[str] = []
        talk = Conversation(
            model_of("talker", address[0]), tmp_path, new_session(tmp_path), is_free=True,
            on_event=lambda event: drafts.append(event.text) if event.kind == "draft" else None,
        )  # fmt: skip
        turn = asyncio.run(talk.turn("Does llama-3.1-8b fit on one H100?"))
    assert turn.tools == ("ask",) and turn.text and len(drafts) > 10 and talk.ground.facts
    assert load_session(tmp_path).turns[-1]["tokens"][1] > 10, "the server's own count"
