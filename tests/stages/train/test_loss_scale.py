"""float16 with a loss scale: the scale moves as torch's own, training learns, and pure float16 stays refused."""

import math

import pytest
import torch
from tiny_training import cut_short, lines, recipe, same_weights, train

from aether.spec.errors import InputError
from aether.stages.train.loss_scale import LossScaler, half_fault
from aether.stages.train.recipe_watch import LossScale

torch.set_num_threads(1)
NATIVE = half_fault("cpu") is None
needs_half = pytest.mark.skipif(not NATIVE, reason="this processor has no float16 products")


def test_the_scale_moves_as_torchs(tmp_path):
    weight = torch.nn.Parameter(torch.zeros(3))
    optimiser = torch.optim.SGD([weight], lr=0.1)
    theirs = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3)
    ours = LossScaler(LossScale(initial=64.0, growth_steps=3))
    bad = {2, 3, 9}
    for step in range(16):
        value = math.inf if step in bad else 1.0
        optimiser.zero_grad()
        theirs.scale((weight * value).sum()).backward()
        theirs.unscale_(optimiser)
        assert weight.grad is not None
        norm = weight.grad.norm().item()
        before = weight.detach().clone()
        theirs.step(optimiser)
        theirs.update()
        assert ours.overflows(norm) == (step in bad) == torch.equal(weight, before)
        assert ours.scale == theirs.get_scale()
    assert ours.overflowed == 3


def test_below_a_scale_of_one_it_is_not_the_scales_doing():
    scaler = LossScaler(LossScale(initial=2.0))
    assert scaler.overflows(math.nan) and scaler.scale == 1.0
    assert not scaler.overflows(math.nan) and scaler.overflowed == 1


def test_pure_half_precision_is_refused_and_so_is_a_scale_without_it():
    with pytest.raises(InputError, match=r"precision = .float16.: .* set loss_scale"):
        recipe(precision="float16")
    with pytest.raises(InputError, match=r"loss_scale = 65536.*only float16"):
        recipe(loss_scale=LossScale())
    with pytest.raises(InputError, match="plain blocks"):
        recipe(precision="float16", loss_scale=LossScale(), compile="blocks")
    with pytest.raises(InputError, match="one process"):
        recipe(precision="float16", loss_scale=LossScale(), parallel={"shard": 2})


def half(**changes):
    return recipe(precision="float16", loss_scale=LossScale(initial=2.0**30, growth_steps=10), **changes)


@needs_half
def test_it_learns_from_too_high_a_scale_and_spikes_are_not_called(tmp_path):
    state = train(tmp_path, half(steps=120, batch_sequences=8))
    rows = lines(tmp_path)
    assert rows[0]["judgement"] == "overflow" and rows[0]["loss_scale"] == 2.0**29
    assert state.scaler is not None and state.scaler.overflowed == rows[-1]["overflows"] > 3
    assert rows[-1]["loss"] < 1 and state.guard.skipped_steps == 0
    assert not (tmp_path / "blamed.jsonl").exists()
    wide = train(tmp_path / "wide", recipe(steps=120, batch_sequences=8))
    assert all(p.dtype == torch.float32 for p in state.model.parameters())
    assert lines(tmp_path / "wide")[-1]["loss"] < 1 and wide.scaler is None


@needs_half
def test_a_run_cut_amid_its_overflows_is_gone_on_with_exactly(tmp_path):
    wanted = half(steps=40)
    whole = train(tmp_path / "whole", wanted)
    cut_short(tmp_path / "cut", wanted, 5)
    again = train(tmp_path / "cut", wanted)
    assert again.scaler is not None and whole.scaler is not None
    assert same_weights(again, whole) and again.scaler.state() == whole.scaler.state()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_trains_in_half_precision(tmp_path):
    assert half_fault("cuda") is None
    train(tmp_path, half(steps=120, batch_sequences=8, device="cuda"))
    assert lines(tmp_path)[-1]["loss"] < 1
