"""Every optimiser in the training loop: it learns, resumes bit for bit, and an update that is not believed changes nothing."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_data import VOCABULARY, write_tiny_data

from aether.models.config import DecoderConfig
from aether.spec.run import StepContext
from aether.stages.train.fakes import CountingTokens, PoisonedTokens
from aether.stages.train.loop import Batches, Loop, new_state, rate_factor
from aether.stages.train.metrics import read_losses
from aether.stages.train.recipe import Spikes, TrainRecipe
from aether.stages.train.run import run

torch.set_num_threads(1)
CONFIG = DecoderConfig(
    vocab_size=VOCABULARY, hidden_size=32, layers=2, heads=2, kv_heads=1, head_size=16, mlp_size=64, context_tokens=16
)  # fmt: skip
RATES = {"adamw": 0.02, "lion": 0.003, "adafactor": 0.1, "soap": 0.02, "schedule_free": 0.02}
STREAM: Batches = CountingTokens(VOCABULARY, 16)


def recipe(kind: str, **changes) -> TrainRecipe:
    optimiser = {"kind": kind, "lr": RATES[kind], "weight_decay": 0.01, "soap_every_steps": 4}
    given = {"model": CONFIG, "steps": 30, "batch_sequences": 4, "precision": "float32", "optimiser": optimiser}
    return TrainRecipe.model_validate(given | changes)


def loop(out: Path, wanted: TrainRecipe, data: Batches = STREAM) -> Loop:
    return Loop(wanted, new_state(wanted, 0), data, StepContext("train", out, {}, 0, 1, lambda progress: None))


def train(out: Path, wanted: TrainRecipe, data: Batches = STREAM):
    made = loop(out, wanted, data)
    made.run("test")
    return made.state


class _Cut(Exception):
    pass


class Dying:
    """The stream, up to a sample."""

    def __init__(self, last: int) -> None:
        self.last = last

    def batch(self, first, count):
        if first >= self.last:
            raise _Cut
        return STREAM.batch(first, count)


@pytest.mark.parametrize("kind", RATES)
def test_it_learns_what_can_be_learnt(tmp_path, kind):
    train(tmp_path, recipe(kind, steps=70, batch_sequences=8))
    losses = list(read_losses(tmp_path / "metrics.jsonl").values())
    assert losses[0] > 4 and losses[-1] < 1
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert max(row["lr"] for row in rows) == RATES[kind]


@pytest.mark.parametrize("kind", RATES)
def test_a_run_cut_anywhere_equals_one_that_was_not(tmp_path, kind):
    wanted = recipe(kind, steps=20, spikes=Spikes(snapshot_every_steps=7))
    whole = train(tmp_path / "whole", wanted)
    with pytest.raises(_Cut):
        train(tmp_path / "cut", wanted.model_copy(update={"checkpoint_every_s": 1e-9}), Dying(13 * 4))
    again = train(tmp_path / "cut", wanted)
    for a, b in zip(again.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", ["muon", *RATES])
def test_a_skipped_update_touches_nothing(tmp_path, kind):
    wanted = recipe("adamw", steps=60).model_dump(mode="json")
    if kind != "adamw":
        wanted["optimiser"] = {} if kind == "muon" else {"kind": kind, "lr": RATES[kind]}
    wanted = TrainRecipe.model_validate(wanted)
    made = loop(tmp_path, wanted, PoisonedTokens(STREAM, VOCABULARY, range(40 * 4, 41 * 4)))
    for _ in range(40):
        made.update()
    before = {name: tensor.clone() for name, tensor in made.state.tensors().items()}
    # A gradient that is no number stands for the spike: every optimiser has learnt another amount by now.
    made.state.model.embedding.register_hook(lambda grad: grad * float("nan"))
    assert made.update().judgement == "skip"
    for name, tensor in made.state.tensors().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("kind", ["soap", "schedule_free"])
def test_a_rewind_brings_back_the_whole_state(tmp_path, kind):
    made = loop(tmp_path, recipe(kind))
    for _ in range(9):
        made.update()
    made.state.take_snapshot()
    before = {name: tensor.clone() for name, tensor in made.state.tensors().items()}
    for _ in range(5):
        made.update()
    made.state.rewind()
    assert made.state.step == 9
    for name, tensor in made.state.tensors().items():
        assert torch.equal(tensor, before[name]), name


def test_schedule_free_warms_up_and_never_decays():
    wanted = recipe("schedule_free", steps=20, schedule={"warmup_fraction": 0.2})
    assert [rate_factor(wanted, step) for step in range(20)] == [0.25, 0.5, 0.75, *[1.0] * 17]


def test_the_average_is_what_is_scored_and_exported(tmp_path):
    data = write_tiny_data(tmp_path / "data")
    wanted = recipe("schedule_free", steps=20, validation_bytes=500)
    context = StepContext("train", tmp_path / "out", {"data": data}, 0, 1, lambda progress: None)
    evidence = {e.metric: e for e in run(wanted, context)}
    state = load_file(sorted((tmp_path / "out" / "checkpoint").glob("step-*"))[-1] / "tensors.safetensors")
    exported = load_file(tmp_path / "out" / "model" / "model.safetensors")
    name = next(n for n in exported if n.endswith("embed_tokens.weight"))
    y, places = state["model.embedding"], [n for n in state if n.startswith("optimiser.schedule_free.z.")]
    z = next(state[n] for n in sorted(places) if state[n].shape == y.shape)
    average = (y - (1 - 0.9) * z) / 0.9
    assert not torch.allclose(y, average, atol=1e-4)
    torch.testing.assert_close(exported[name].float(), average, rtol=0, atol=1e-6)
    assert evidence["loss"].value is not None
