"""`aether chat` at a terminal, with a server that speaks word by word: the draft, the checked reply in its place, Ctrl-C."""

import json
import os

from openai_endpoint import served
from terminal import in_terminal, read_rest, read_until

from aether.counsel.agent.session import load_session

REPLY = "It scores 86 on MMLU. " + "Ask for a plan. " * 40


def start(url, folder):
    return in_terminal("chat", "--model", "tiny", "--base-url", url, cwd=folder)


def test_a_draft_is_shown_and_then_struck(tmp_path):
    with served("It scores 86 on MMLU. Ask for a plan.", pause_s=0.02) as (url, _), start(url, tmp_path) as (_, person):
        read_until(person, "> ")
        os.write(person, b"How good is it?\n")
        seen = read_until(person, "not checked yet")
        seen += read_until(person, "(unverified)")
        assert "sent back" in seen
        os.write(person, b"\n")
        read_rest(person)
    assert load_session(tmp_path).turns[-1]["unverified"]


def test_ctrl_c_keeps_what_was_said(tmp_path):
    with served(REPLY, pause_s=0.05) as (url, _), start(url, tmp_path) as (_, person):
        read_until(person, "> ")
        os.write(person, b"How good is it?\n")
        read_until(person, "MMLU")
        os.write(person, b"\x03")
        seen = read_until(person, "what was said is kept")
        assert "(unverified)" in seen or read_until(person, "(unverified)")
        os.write(person, b"\n")
        read_rest(person)
    turn = load_session(tmp_path).turns[-1]
    assert turn["stopped"] and "It scores 86 on MMLU" in json.dumps(turn["messages"])


def test_a_server_that_is_gone_ends_no_conversation(tmp_path):
    with start("http://127.0.0.1:9/v1", tmp_path) as (_, person):
        read_until(person, "> ")
        os.write(person, b"How good is it?\n")
        assert "does a server listen there?" in read_until(person, "\r\n> ")
        os.write(person, b"\n")
        read_rest(person)


def test_words_that_change_nothing_get_no_second_page(tmp_path):
    with in_terminal("chat", cwd=tmp_path) as (_, person):
        read_until(person, "> ")
        os.write(person, b"estimate memory of llama-3.1-8b on one H100\n")
        read_until(person, "\r\n> ")
        os.write(person, b"thanks\n")
        seen = read_until(person, "\r\n> ")
        assert "the answer above stands" in seen and len(seen) < 600
        os.write(person, b"\n")
        read_rest(person)
