"""A process is lost for good: those that are left go on from the last checkpoint, with the same windows in the same order."""

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from tiny_data import write_tiny_data
from tiny_training import recipe

from aether.evidence.files import write_json
from aether.spec.errors import InputError
from aether.spec.run import StepContext
from aether.stages.train.batches import windows
from aether.stages.train.loop import Loop, new_state
from aether.stages.train.metrics import read_lines
from aether.stages.train.parallel.crew import Job
from aether.stages.train.parallel.loop import FOLDER
from aether.stages.train.parallel.recipe import Parallel, fitted


def test_an_elastic_layout_takes_the_processes_that_are_left():
    four = Parallel(shard=2, replicate=2, elastic=True)
    assert fitted(four, 4, [8], None) == four
    assert fitted(four, 2, [8], None) == Parallel(shard=2, elastic=True)
    assert fitted(four, 1, [8], 2).processes == 1 and fitted(four, 8, [8], None).shard == 8
    assert fitted(four.model_copy(update={"elastic": False}), 2, [8], None).processes == 4
    assert fitted(four, 3, [8], 2) == Parallel(shard=3, elastic=True)
    with pytest.raises(InputError, match="3 processes need a window each"):
        fitted(four, 3, [8, 2], None)
    with pytest.raises(InputError, match="3 processes are left"):
        fitted(Parallel(tensor=2, shard=2, elastic=True), 3, [8], None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def agent(job: Path, port: int, place: int) -> subprocess.Popen:
    """A torchrun with one process of a job of three or four; it stands for a machine, the first one for the host."""
    waits = f"is_host={int(place == 0)},last_call_timeout=3,keep_alive_interval=1,keep_alive_max_attempt=2"
    words = ["--nnodes", "3:4", "--nproc-per-node", "1", "--max-restarts", "3", "--local-addr", "127.0.0.1"]
    words += [
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        f"127.0.0.1:{port}",
        "--rdzv-conf",
        waits,
        "--rdzv-id",
        "job",
    ]
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    command = [sys.executable, "-m", "torch.distributed.run", *words, "-m", "aether.stages.train.parallel", str(job)]
    with log_of(job, place).open("w") as log:
        return subprocess.Popen(command, env=env, stdout=log, stderr=log)


def log_of(job: Path, place: int) -> Path:
    return job.parent / f"{place}.log"


def lose(machine: subprocess.Popen) -> None:
    """SIGKILL for the torchrun and all that it started."""
    if machine.poll() is None:
        root = psutil.Process(machine.pid)
        for process in (*root.children(recursive=True), root):
            with suppress(psutil.Error):
                process.kill()
    machine.wait()


@pytest.mark.slow
def test_one_of_four_machines_that_is_lost_for_good_leaves_the_losses_as_they_are(tmp_path):
    """Batches of four windows, of which three processes read one, one and two."""
    torch.set_num_threads(1)
    inputs, out = {"data": write_tiny_data(tmp_path / "data")}, tmp_path / "out"
    wanted = recipe(steps=200, checkpoint_every_s=0.5)
    context = StepContext("train", tmp_path / "one", inputs, 0, 1, lambda progress: None)
    Loop(wanted, new_state(wanted, 0), windows(wanted, inputs, 0), context).run("one")
    shared = wanted.model_copy(update={"parallel": Parallel(shard=2, replicate=2, elastic=True)})
    job = Job(recipe=shared, step="train", out=out, inputs=inputs, seed=0, threads=1)
    write_json(tmp_path / "job.json", job.model_dump(mode="json"))
    port = free_port()
    machines = [agent(tmp_path / "job.json", port, place) for place in range(4)]
    try:
        deadline = time.monotonic() + 240
        while not list(out.glob(f"{FOLDER}/step-*[0-9]")):
            assert time.monotonic() < deadline and machines[0].poll() is None, "no checkpoint came"
            time.sleep(0.02)
        lose(machines[-1])
        code, said = machines[0].wait(timeout=240), log_of(tmp_path / "job.json", 0).read_text()
        assert code == 0 and "going on from step" in said, said[-3000:]
    finally:
        for one in machines:
            lose(one)
    rows, alone = (
        {row["step"]: row["loss"] for row in read_lines(folder / "metrics.jsonl")} for folder in (out, tmp_path / "one")
    )
    assert list(rows) == list(alone) and len(alone) == 200
    assert list(rows.values()) == pytest.approx(list(alone.values()), abs=1e-3)
