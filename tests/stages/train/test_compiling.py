"""Compiled updates: the same numbers to rounding, the same bits after a kill, and a plain run that says so without a compiler."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from parts_toys import random_parts, shape, tokens_of
from tiny_data import write_tiny_data

from aether.hardware.compiler import compiler_fault
from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder
from aether.stages.train.metrics import read_losses

needs_a_compiler = pytest.mark.skipif(compiler_fault() is not None, reason="needs a C++ compiler")
CONFIG = DecoderConfig(
    vocab_size=40, hidden_size=32, layers=2, heads=4, kv_heads=2, head_size=8, mlp_size=48, context_tokens=16
)  # fmt: skip

_CHILD = """
import sys, torch
sys.path[:0] = {path!r}
from pathlib import Path
from tiny_training import context, recipe
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
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:The .grad attribute of a Tensor"
)  # torch's own, tracing
@pytest.mark.parametrize("learnt", [True, False])
def test_compiled_gradients_are_the_plain_ones_to_rounding(learnt):
    torch.set_num_threads(1)
    models = [Decoder(CONFIG) for _ in range(2)]
    if not learnt:
        for model in models:
            model.freeze_block_gains()
    models[1].compile_blocks()
    tokens = torch.randint(40, (3, 17), generator=torch.Generator().manual_seed(0))
    ids = (torch.arange(16) >= 7).long().expand(3, 16)
    losses = [model.loss(tokens[:, :-1], tokens[:, 1:], ids) for model in models]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(losses[1], losses[0])
    for (name, a), b in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        if a.grad is not None:
            torch.testing.assert_close(b.grad, a.grad, rtol=1e-3, atol=1e-6, msg=name)
    # Of each layer 4 matrices and 4 gains; the embedding and the last gain.
    assert sum(p.grad is not None for p in models[1].parameters()) == 2 + 2 * (8 if learnt else 4)


PARTS = {
    "gpt2": {"positions": "learned", "norm": "layer", "qk_norm": "none", "activation": "gelu", "bias": True},
    "windows": {"norm_place": "sandwich", "activation": "geglu", "window": 6, "full_attention_every": 2, "logit_softcap": 20.0},
    "latent": {
        "latent": {"kv_rank": 20, "query_rank": 16, "rope_size": 4, "value_size": 10}, "kv_heads": 4, "qk_norm": "none",
    },
    "sink tokens": {"window": 6, "sink_tokens": 2, "rope_fraction": 0.5},
    "alibi": {"positions": "alibi", "norm": "dyt", "activation": "relu2"},
    "capped scores": {"attention_softcap": 5.0},
    "sink logits": {"sink_logits": True, "window": 6},
    "experts": {"experts": {"count": 4, "active": 2, "balance_loss": 0.05, "z_loss": 0.01}},
    "mamba": {"mixer": "mamba"},
    "mamba2": {"mixer_pattern": ("mamba2", "attention", "mamba2")},
    "retnet": {"mixer": "retnet"},
    "gated delta": {"mixer": "gated_delta"},
}  # fmt: skip


@pytest.mark.slow
@needs_a_compiler
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("name", PARTS)
def test_compiled_parts_give_the_plain_gradients_to_rounding(name):
    torch.set_num_threads(1)
    torch.compiler.reset()
    config = shape(**PARTS[name])
    models = [random_parts(config) for _ in range(2)]
    models[1].compile_blocks()
    # Of recurrent mixers more than one chunk.
    tokens = tokens_of(config, tokens=65 if config.mixers != {"attention"} else 33)
    whole = torch.zeros(2, tokens.shape[1] - 1, dtype=torch.int64)
    for ids in (whole, (torch.arange(whole.shape[1]) >= 9).long().expand_as(whole)):
        losses = [model.loss(tokens[:, :-1], tokens[:, 1:], ids) for model in models]
        for loss, model in zip(losses, models, strict=True):
            model.zero_grad()
            loss.backward()
        torch.testing.assert_close(losses[1], losses[0])
        for (one, a), b in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
            if a.grad is not None:
                least = 1e-5 * max(1.0, a.grad.abs().max().item())
                torch.testing.assert_close(b.grad, a.grad, rtol=1e-3, atol=least, msg=one)


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
