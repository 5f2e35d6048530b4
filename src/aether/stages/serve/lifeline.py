"""A child process that ends when the one that started it does, even by kill -9: it holds the other end of a pipe.

The parent keeps the child's stdin open and never writes to it; the operating system closes it when the parent is gone.
"""

import os
import sys
import threading


def hold() -> None:
    """From now on, leave at once when stdin is closed. Nothing is saved: nobody waits for an orphan's output."""
    threading.Thread(target=_wait, name="lifeline", daemon=True).start()


def _wait() -> None:
    # The file descriptor itself: a reader that holds sys.stdin's lock would stall the interpreter's exit.
    descriptor = sys.stdin.fileno()
    while os.read(descriptor, 4096):
        pass
    os._exit(1)
