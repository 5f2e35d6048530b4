"""A reply while it is written: drafts, what is sent back, what stays after an interruption, models that take no tools, providers."""

import asyncio
import json
import time

import pytest
from openai_endpoint import served

from aether.counsel.agent import pace
from aether.counsel.agent.conversation import Conversation
from aether.counsel.agent.model import ScriptedModel
from aether.counsel.agent.providers import is_local, model_of
from aether.counsel.agent.session import load_session, new_session
from aether.spec.errors import EnvironmentFault, InputError

FALSE = "It scores 86 on MMLU. Ask for a plan."


def drafts(events):
    return "".join(event.text for event in events if event.kind == "draft")


def test_a_draft_is_heard_before_the_check_and_the_verdict_after(tmp_path):
    events = []
    model = ScriptedModel(FALSE, FALSE, FALSE)
    talk = Conversation(model, tmp_path, new_session(tmp_path), on_event=events.append)
    turn = asyncio.run(talk.turn("How good is it?"))
    kinds = [event.kind for event in events]
    assert kinds.count("sent_back") == 2 and drafts(events) == FALSE * 3
    assert kinds.count("draft") > 20, "word by word"
    assert turn.text == "~~It scores 86 on MMLU.~~ *(unverified)* Ask for a plan."


def stopped_after(talk, words, text):
    """The turn, cancelled once so many pieces of a draft have come."""

    async def run():
        heard, enough = [], asyncio.Event()

        def hear(event):
            heard.append(event)
            if sum(e.kind == "draft" for e in heard) >= words:
                enough.set()

        talk.on_event = hear
        task = asyncio.create_task(talk.turn(text))
        await enough.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return drafts(heard)

    return asyncio.run(run())


def test_an_interruption_keeps_what_was_said_checked_and_goes_on(tmp_path):
    model = ScriptedModel("It scores 86 on MMLU. " + "And so on. " * 200, "Fine.", pause_s=0.002)
    talk = Conversation(model, tmp_path, new_session(tmp_path), is_free=True)
    heard = stopped_after(talk, 12, "How good is it?")
    assert heard.startswith("It scores 86 on MMLU.") and talk.last.stopped
    assert talk.last.text.startswith("~~It scores 86 on MMLU.~~ *(unverified)*")
    again = Conversation(ScriptedModel("Fine."), tmp_path, load_session(tmp_path), is_free=True)
    assert [t["stopped"] for t in again.session.turns] == [True] and "It scores 86" in json.dumps(again.history)
    assert asyncio.run(again.turn("Go on.")).text == "Fine." and len(again.history) == 4


def test_an_endpoint_is_interrupted_too(tmp_path):
    with served("word " * 400, pause_s=0.005) as (url, _):
        talk = Conversation(model_of("tiny", url), tmp_path, new_session(tmp_path), is_free=True)
        stopped_after(talk, 5, "How good is it?")
    assert talk.last.text.startswith("word word")


def test_a_server_without_tools_gets_the_answer_of_the_counsel_instead(tmp_path):
    with served("The counsel has answered.", takes_tools=False) as (url, requests):
        talk = Conversation(model_of("tiny", url), tmp_path, new_session(tmp_path), is_free=True)
        turn = asyncio.run(talk.turn("Does llama-3.1-8b fit on one H100?"))
        assert turn.text == "The counsel has answered." and turn.tools == ("ask",)
        asyncio.run(talk.turn("And llama-3.1-70b?"))
    assert len(requests) == 4, "once with tools, one question for the pace, then never again"
    assert "the answer of the tool ask" in json.dumps(requests[2]["messages"]) and "tools" not in requests[2]
    assert talk.ground.facts


def test_nothing_that_a_model_says_reaches_the_terminal_as_a_command(tmp_path):
    events = []
    model = ScriptedModel("Hello \x1b]0;owned\x07\x1b[2J \u202eworld.")
    talk = Conversation(model, tmp_path, new_session(tmp_path), on_event=events.append)
    said = asyncio.run(talk.turn("Hi")).text + drafts(events)
    assert "Hello" in said and not set(said) & {"\x1b", "\x07", "\u202e"}


@pytest.mark.parametrize(
    ("name", "address", "model"),
    [
        ("vllm:qwen3-8b", "http://127.0.0.1:8000/v1/", "qwen3-8b"),
        ("llama.cpp:tiny", "http://127.0.0.1:8080/v1/", "tiny"),
        ("ollama:qwen3:8b", "http://127.0.0.1:11434/v1/", "qwen3:8b"),
        ("sglang:org/name", "http://127.0.0.1:30000/v1/", "org/name"),
        ("aether:demo", "http://127.0.0.1:8000/v1/", "demo"),
    ],
)
def test_servers_of_ones_own_by_their_usual_port(name, address, model, monkeypatch):
    monkeypatch.delenv("OLLAMA_BASE_URL", raising=False)
    made = model_of(name)
    assert str(made.base_url) == address and made.model_name == model and is_local(name, None)


def test_ollama_elsewhere(monkeypatch):
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://gpu-box:11434/v1")
    assert str(model_of("ollama:qwen3").base_url) == "http://gpu-box:11434/v1/"


@pytest.mark.parametrize(("provider", "variable"), [("anthropic", "ANTHROPIC_API_KEY"), ("openai", "OPENAI_API_KEY")])
def test_a_provider_with_its_key_is_a_client_and_without_one_a_sentence(provider, variable, monkeypatch):
    monkeypatch.setenv(variable, "sk-none")
    assert model_of(f"{provider}:some-name").model_name == "some-name" and not is_local(f"{provider}:x", None)
    monkeypatch.delenv(variable)
    with pytest.raises(EnvironmentFault, match=f"set {variable} in the environment"):
        model_of(f"{provider}:some-name")


def test_a_package_that_is_missing_and_a_provider_that_is_unknown(monkeypatch):
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    with pytest.raises(EnvironmentFault, match=r"--model groq:x.*(pip install|GROQ_API_KEY)"):
        model_of("groq:x")
    with pytest.raises(InputError, match=r"anthropic, openai.*vllm.*--base-url"):
        model_of("skynet:x")


def test_a_slow_server_is_told_what_it_reads_in_time(tmp_path):
    """It reads 2,000 characters a second and takes no tools: after one short question it hears few words, and writes few."""

    def slowly(body):
        time.sleep(sum(len(m["content"]) for m in body["messages"]) / 2000)
        return "Tensor parallelism of 2 fits."

    with served(slowly, takes_tools=False) as (url, requests):
        talk = Conversation(model_of("tiny", url), tmp_path, new_session(tmp_path), is_free=True, read_s=0.5)
        turn = asyncio.run(talk.turn("Does llama-3.1-8b fit on one H100?"))
        asyncio.run(talk.turn("And on two?"))
    told = [sum(len(m["content"]) for m in body["messages"]) for body in requests]
    assert turn.tools == ("ask",) and turn.text and talk.ground.facts
    assert [bool(body.get("tools")) for body in requests] == [True, False, False, False]
    assert max(told[2:]) < 2000 < told[0] and requests[2]["max_completion_tokens"] <= pace.MOST_TOKENS


def test_the_pace_of_a_server():
    assert pace.pace_of(400, 10.0, 10, 2.0) == pace.Pace(600, 100)
    assert pace.pace_of(400, 1e4, 1, 100.0) == pace.Pace(pace.LEAST, pace.LEAST_TOKENS)
    assert pace.pace_of(400, 0.001, 0, 0.0).tokens == pace.MOST_TOKENS
