"""`aether` on a real pseudo-terminal, as a person sees it."""

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
