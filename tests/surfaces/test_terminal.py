"""A person at a terminal: a partial brief is asked about question by question, on a real pseudo-terminal."""

import os

from terminal import in_terminal, read_rest, read_until

HALF = '[model]\nname = "llama-3.1-8b"\ntask = "serve"\n[load]\nrequests_per_s = 1\n'


def test_questions_are_asked_one_by_one_and_the_answers_count(tmp_path):
    (tmp_path / "brief.toml").write_text(HALF)
    with in_terminal("plan", "brief.toml", "--out", tmp_path / "run", cwd=tmp_path) as (process, person):
        first = read_until(person, "answer [")
        assert "Which accelerators are there" in first and "p99 latency" not in first, "one at a time"
        os.write(person, b"H200-SXM-141GB\n")
        assert "What is the target p99 latency" in read_until(person, "answer [")
        os.write(person, b"\n")
        shown = read_rest(person)
        assert process.wait(60) == 0, shown
    assert "H200-SXM-141GB" in shown and "Traceback" not in shown
    assert (tmp_path / "run" / "plan.json").exists()


def test_an_answer_that_cannot_be_is_a_sentence_and_ctrl_c_leaves(tmp_path):
    (tmp_path / "brief.toml").write_text(HALF)
    with in_terminal("plan", "brief.toml", "--out", tmp_path / "run", cwd=tmp_path) as (process, person):
        read_until(person, "answer [")
        os.write(person, b"\x03")
        # A signal between the prompt and the reading of it is only seen at the next key, as anywhere in Python.
        shown = read_rest(person, again=b"\x03")
        assert process.wait(60) == 130 and "Traceback" not in shown, shown
    with in_terminal("plan", "brief.toml", "--out", tmp_path / "run", cwd=tmp_path) as (process, person):
        for answer in (b"an abacus\n", b"\n"):
            read_until(person, "answer [")
            os.write(person, answer)
        shown = read_rest(person)
        assert process.wait(60) == 2 and "hardware.name" in shown and "Traceback" not in shown, shown
    assert not (tmp_path / "run").exists()
