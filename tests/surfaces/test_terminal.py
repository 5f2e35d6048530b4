"""A person at a terminal: a partial brief is asked about question by question, on a real pseudo-terminal."""

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from contextlib import contextmanager

from interruptible import hears_interrupts

HALF = '[model]\nname = "llama-3.1-8b"\ntask = "serve"\n[load]\nrequests_per_s = 1\n'


@contextmanager
def in_terminal(*words, cwd):
    """`aether WORDS` with a terminal for input and output, and the end of it that a person has."""

    def own():
        """A session whose terminal this is, so that Ctrl-C is a signal."""
        hears_interrupts()
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    person, terminal = pty.openpty()
    words = [sys.executable, "-m", "aether", *map(str, words)]
    process = subprocess.Popen(words, stdin=terminal, stdout=terminal, stderr=terminal, cwd=cwd, preexec_fn=own)
    os.close(terminal)
    try:
        yield process, person
    finally:
        process.kill()
        process.wait()
        os.close(person)


def read_until(person, wanted, seconds=60.0):
    """What the terminal shows until `wanted` has come."""
    seen, deadline = "", time.monotonic() + seconds
    while wanted not in seen:
        assert select.select([person], [], [], max(0.0, deadline - time.monotonic()))[0], f"no {wanted!r} in {seen!r}"
        seen += os.read(person, 4096).decode()
    return seen


def read_rest(person, seconds=60.0, again=b""):
    """What the terminal shows until the program has closed it. `again` is typed once a second until then."""
    seen, deadline = b"", time.monotonic() + seconds
    while True:
        while not select.select([person], [], [], 1.0)[0]:
            assert time.monotonic() < deadline, f"the program goes on after {seen!r}"
            os.write(person, again)
        try:
            piece = os.read(person, 4096)
        except OSError:  # Linux's way to say that the other end is closed
            piece = b""
        if not piece:
            return seen.decode()
        seen += piece


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
