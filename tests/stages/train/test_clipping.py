"""Each kind of clipping against its formula, and in a run that is cut."""

import math
import statistics

import pytest
import torch
from tiny_training import cut_short, lines, recipe, same_weights, train
from torch import nn

from aether.spec.errors import InputError
from aether.stages.train.clipping import ZCLIP_WARM_UP, Clipper, by_layer
from aether.stages.train.recipe_watch import Clipping

torch.set_num_threads(1)
SHAPES = {"embedding": (7, 4), "blocks.0.qkv": (6, 4), "blocks.0.attention_gain": (4,), "blocks.1.qkv": (6, 4)}


def named(scale: float = 3.0) -> list[tuple[str, nn.Parameter]]:
    torch.manual_seed(0)
    found = [(name, nn.Parameter(torch.randn(shape))) for name, shape in SHAPES.items()]
    for _, parameter in found:
        parameter.grad = scale * torch.randn(parameter.shape)
    return found


def norm(tensors) -> float:
    return math.sqrt(sum(float(t.double().square().sum()) for t in tensors))


def clipped(kind: str, parameters, **settings) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Gradients before and after."""
    before = [p.grad.clone() for _, p in parameters]
    Clipper(Clipping.model_validate({"kind": kind} | settings), 1.0).clip(parameters, norm(before))
    return before, [p.grad for _, p in parameters]


def test_the_global_norm():
    before, after = clipped("norm", named())
    for b, a in zip(before, after, strict=True):
        torch.testing.assert_close(a, b / norm(before))
    small, same = clipped("norm", named(0.001))
    assert all(torch.equal(a, b) for a, b in zip(small, same, strict=True))


def test_each_layer_apart():
    parameters = named()
    before, after = clipped("group", parameters)
    assert list(by_layer(parameters)) == ["embedding", "blocks.0", "blocks.1"]
    for first, last in ((0, 1), (1, 3), (3, 4)):
        for b, a in zip(before[first:last], after[first:last], strict=True):
            torch.testing.assert_close(a, b / norm(before[first:last]), rtol=1e-5, atol=1e-6)


def test_every_entry():
    before, after = clipped("value", named(), value=0.5)
    for b, a in zip(before, after, strict=True):
        assert torch.equal(a, b.clamp(-0.5, 0.5))


def test_agc_bounds_each_row_by_its_weights_and_leaves_the_table():
    parameters = named()
    with torch.no_grad():
        parameters[1][1][2] = 0.0
    before, after = clipped("agc", parameters, ratio=0.1)
    assert torch.equal(after[0], before[0])
    for (_, parameter), b, a in zip(parameters[1:], before[1:], after[1:], strict=True):
        rows = [(parameter, b, a)] if parameter.ndim == 1 else list(zip(parameter, b, a, strict=True))
        for weights, was, now in rows:
            most = 0.1 * max(norm([weights.detach()]), 1e-3)
            expected = was * most / norm([was]) if norm([was]) > most else was
            torch.testing.assert_close(now, expected, rtol=1e-5, atol=1e-8)
    tiny, same = clipped("agc", named(1e-4))
    assert all(torch.equal(a, b) for a, b in zip(tiny, same, strict=True))


def test_zclip_follows_its_equations_and_goes_on_from_its_state():
    norms = [1.0 + 0.1 * math.sin(7 * i) for i in range(ZCLIP_WARM_UP)]
    spiky = [1.05, 4.0, 1.0, 1.4, 0.9]
    clipper = Clipper(Clipping(kind="zclip"), 100.0)
    for value in norms:
        assert applied(clipper, value) == pytest.approx(value, rel=1e-5)
    mean, variance = statistics.fmean(norms), statistics.pvariance(norms)
    for value in spiky:
        z = (value - mean) / (math.sqrt(variance) + 1e-6)
        bound = mean + 2.5 * math.sqrt(variance) / (z / 2.5) if z > 2.5 else value
        assert applied(clipper, value) == pytest.approx(bound, rel=1e-4)
        mean = 0.97 * mean + 0.03 * bound
        variance = 0.97 * variance + 0.03 * (bound - mean) ** 2
        other = Clipper(Clipping(kind="zclip"), 100.0)
        other.load(clipper.state())
        clipper = other
    assert clipper.state()["mean"] == pytest.approx(mean)


def applied(clipper: Clipper, value: float) -> float:
    """The norm that is left of a gradient of norm `value`."""
    parameter = nn.Parameter(torch.zeros(4))
    parameter.grad = torch.full((4,), value / 2)
    clipper.clip([("w", parameter)], value)
    return norm([parameter.grad])


def test_off_changes_nothing():
    before, after = clipped("off", named())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("kind", ["group", "value", "agc", "zclip", "off"])
def test_every_kind_learns(tmp_path, kind):
    train(tmp_path, recipe(steps=60, batch_sequences=8, clipping={"kind": kind}))
    assert lines(tmp_path)[-1]["loss"] < 2.5


def test_a_run_with_a_history_of_norms_is_gone_on_with_exactly(tmp_path):
    wanted = recipe(steps=40, clipping=Clipping(kind="zclip"))
    whole = train(tmp_path / "whole", wanted)
    cut_short(tmp_path / "cut", wanted, 33)
    again = train(tmp_path / "cut", wanted)
    assert same_weights(again, whole) and again.clipper.state() == whole.clipper.state()


def test_the_default_is_in_no_fingerprint_and_other_kinds_are():
    assert not {"clipping", "loss_scale", "z_loss"} & set(recipe().model_dump())
    assert recipe(clipping=Clipping(kind="agc")).model_dump()["clipping"]["kind"] == "agc"


def test_layers_apart_need_one_process():
    with pytest.raises(InputError, match=r"clipping.kind = .agc.: one process can"):
        recipe(clipping=Clipping(kind="agc"), parallel={"shard": 2})
