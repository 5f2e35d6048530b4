"""Compiled updates: the same bits after a kill, and a plain run that says so without a compiler."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_data import write_tiny_data

from aether.hardware.compiler import compiler_fault
from aether.stages.train.metrics import read_losses

needs_a_compiler = pytest.mark.skipif(compiler_fault() is not None, reason="needs a C++ compiler")
_CHILD = """
import sys, torch
sys.path[:0] = {path!r}
from pathlib import Path
from test_loop import context, recipe
from aether.stages.train.run import run
wanted = recipe(steps=int(sys.argv[3]), checkpoint_every_s=0.05, precision="bfloat16", compile="blocks")
run(wanted, context(Path(sys.argv[1]), Path(sys.argv[2])))
"""


def command(out: Path, data: Path, steps: int = 400) -> list[str]:
    here = Path(__file__).parent
    code = _CHILD.format(path=[str(here), str(here.parents[1] / "helpers")])
    return [sys.executable, "-c", code, str(out), str(data), str(steps)]


def compile_summary(out: Path) -> dict:
    return json.loads((out / "train.json").read_text())["compile"]


def test_without_a_compiler_the_run_is_plain_and_its_record_says_why(tmp_path):
    data = write_tiny_data(tmp_path / "data")
    nowhere = str(tmp_path / "no-compiler")
    subprocess.run(command(tmp_path / "run", data, 20), check=True, env=os.environ | {"CXX": nowhere})
    found = compile_summary(tmp_path / "run")
    assert (found["asked"], found["used"], found["seconds"]) == ("blocks", "off", 0)
    assert found["fault"] == f"there is no C++ compiler ({nowhere})"
    assert len(read_losses(tmp_path / "run" / "metrics.jsonl")) == 20


def test_a_compiler_that_fails_is_not_believed(tmp_path):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'fatal error: omp.h is missing' >&2\nexit 1\n")
    broken.chmod(0o755)
    code = "from aether.hardware.compiler import compiler_fault; print(compiler_fault())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"CXX": str(broken)}, capture_output=True, text=True, check=True
    )
    assert "cannot build a Python extension with OpenMP (fatal error: omp.h is missing)" in done.stdout


@pytest.mark.slow
@needs_a_compiler
def test_a_killed_compiled_run_gives_the_same_bytes(tmp_path):
    data = write_tiny_data(tmp_path / "data")
    subprocess.run(command(tmp_path / "whole", data), check=True)
    killed = tmp_path / "killed"
    child = subprocess.Popen(command(killed, data))
    while child.poll() is None and not list((killed / "checkpoint").glob("step-*[0-9]")):
        time.sleep(0.01)
    assert child.poll() is None, "the run ended before it could be killed"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    kernels = set((killed / "checkpoint" / "compiled").rglob("*.so"))
    assert kernels
    subprocess.run(command(killed, data), check=True)
    assert set((killed / "checkpoint" / "compiled").rglob("*.so")) == kernels
    assert compile_summary(killed)["used"] == compile_summary(tmp_path / "whole")["used"] == "blocks"
    weights = [(out / "model" / "model.safetensors").read_bytes() for out in (killed, tmp_path / "whole")]
    assert weights[0] == weights[1]
    assert read_losses(killed / "metrics.jsonl") == read_losses(tmp_path / "whole" / "metrics.jsonl")
