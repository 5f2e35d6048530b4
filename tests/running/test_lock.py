import multiprocessing
import os
import signal

import pytest

from aether.running.lock import exclusive
from aether.spec.errors import RunBusy


def _hold(path, ready):
    with exclusive(path / ".lock", path):
        ready.set()
        signal.pause()


def test_the_second_is_refused_and_a_killed_holder_leaves_nothing(tmp_path):
    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    holder = fork.Process(target=_hold, args=(tmp_path, ready))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(RunBusy, match=str(holder.pid)), exclusive(tmp_path / ".lock", tmp_path):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(30)
    with exclusive(tmp_path / ".lock", tmp_path):
        pass
