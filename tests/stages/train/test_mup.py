"""The coordinate check of muP (arXiv 2203.03466, appendix D.1): what a few updates change in each layer, over widths."""

import functools
import math

import pytest
import torch
from torch import Tensor

from aether.models.config import DecoderConfig
from aether.models.parts.experts import MixtureOfExperts
from aether.stages.train.fakes import CountingTokens
from aether.stages.train.loop import new_model
from aether.stages.train.optimisers.optimisers import Optimisers
from aether.stages.train.optimisers.rule import Rates
from aether.stages.train.recipe import TrainRecipe

torch.set_num_threads(1)
WIDTHS, VOCABULARY, UPDATES = (32, 128), 64, 5
RATES = {"adamw": 0.002, "lion": 0.001, "adafactor": 0.03, "soap": 0.002, "schedule_free": 0.002}
BY_MUON = {"muon_lr": 0.01, "embedding_lr": 0.002, "gain_lr": 0.01}
FLAT, GROWING = 0.33, 0.6
"""Exponents of the width; 1 is what theory has for entries that all move at one rate and one way."""


def recipe(kind: str, width: int, carried: bool, **more) -> TrainRecipe:
    model = DecoderConfig(
        vocab_size=VOCABULARY, hidden_size=width, layers=2, heads=width // 16, kv_heads=width // 16, head_size=16,
        mlp_size=2 * width, context_tokens=16, **more,
    )  # fmt: skip
    optimiser = {"kind": kind} | (BY_MUON if kind == "muon" else {"lr": RATES[kind]})
    optimiser |= {"base_width": WIDTHS[0]} if carried else {}
    return TrainRecipe.model_validate({"model": model, "steps": 1, "precision": "float32", "optimiser": optimiser})


def updated(wanted: TrainRecipe):
    """(the model before, after `UPDATES` updates at the full rate)."""
    before, model = new_model(wanted, seed=0), new_model(wanted, seed=0)
    optimisers, data = Optimisers(model, wanted.optimiser), CountingTokens(VOCABULARY, 16)
    for step in range(UPDATES):
        tokens = torch.from_numpy(data.batch(8 * step, 8)[0])
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
        optimisers.step(Rates(1.0, 0.9))
        model.zero_grad()
    return before, model


@torch.no_grad()
def seen(model) -> dict[str, Tensor]:
    """The stream after each block, and the logits."""
    found: dict[str, Tensor] = {}
    for place, block in enumerate(model.blocks):
        block.register_forward_hook(lambda _, __, out, name=f"block {place}": found.__setitem__(name, out))
    return found | {"logits": model(torch.from_numpy(CountingTokens(VOCABULARY, 16).batch(0, 8)[0][:, :-1]))} | found


def root_mean_square(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


@functools.cache
def exponents(kind: str, carried: bool) -> dict[str, float]:
    """Of the width, with which the mean change of a coordinate grows."""
    changes = []
    for width in WIDTHS:
        before, after = (seen(model) for model in updated(recipe(kind, width, carried)))
        changes.append({name: root_mean_square(after[name] - before[name]) for name in before})
    return {n: math.log(changes[1][n] / changes[0][n]) / math.log(WIDTHS[1] / WIDTHS[0]) for n in changes[0]}


@pytest.mark.parametrize("kind", ["muon", *RATES])
def test_carried_rates_move_every_layer_alike_at_every_width(kind):
    found = exponents(kind, True)
    assert set(found) == {"block 0", "block 1", "logits"}
    assert max(map(abs, found.values())) < FLAT, found


@pytest.mark.parametrize("kind", ["muon", *RATES])
def test_without_base_width_a_wider_model_moves_more(kind):
    found, flat = exponents(kind, False), exponents(kind, True)
    assert found["logits"] > GROWING
    # Muon's updates have one size at every width already; Adafactor's of what starts at zero have its floor of 0.001 first.
    more = {"muon": 0.0, "adafactor": 0.25}.get(kind, 0.65)
    assert [found[n] - flat[n] for n in ("block 0", "block 1")] == pytest.approx([more] * 2, abs=0.1)


def test_muons_update_of_a_router_moves_its_logits_alike():
    """A router's rows do not grow with the width, so that an orthogonal update alone would move its logits by sqrt(width)."""

    def change(width: int, carried: bool) -> float:
        wanted = recipe("muon", width, carried, experts={"count": 4, "active": 2})
        routers = [[m.router for m in model.modules() if isinstance(m, MixtureOfExperts)] for model in updated(wanted)]
        moved = [(after - before).detach() for before, after in zip(*routers, strict=True)]
        return max(float(torch.linalg.matrix_norm(one, 2)) * math.sqrt(width) for one in moved)

    shares = [change(WIDTHS[1], carried) / change(WIDTHS[0], carried) for carried in (True, False)]
    assert shares[0] == pytest.approx(1, rel=0.25) and shares[1] == pytest.approx(2, rel=0.25)
