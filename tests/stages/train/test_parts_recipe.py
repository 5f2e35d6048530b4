"""Training decoders from exchanged parts: they learn, resume bit for bit, and what cannot be done with them is refused by name."""

import json
from pathlib import Path

import pytest
import torch
from parts_toys import random_parts, shape
from pydantic import ValidationError
from tiny_data import VOCABULARY

from aether.models.accounting_activations import activation_bytes
from aether.models.quantized import Scheme, write_quantized
from aether.models.weights import save_pretrained
from aether.spec.errors import InputError
from aether.spec.run import StepContext
from aether.stages.train import estimate
from aether.stages.train.fakes import CountingTokens
from aether.stages.train.loop import Loop, new_state
from aether.stages.train.metrics import read_losses
from aether.stages.train.recipe import TrainRecipe

torch.set_num_threads(1)
SMALL = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "layers": 2, "heads": 2, "kv_heads": 1, "head_size": 16, "mlp_size": 64,
    "context_tokens": 16,
}  # fmt: skip
KINDS = {
    "gpt2": {"positions": "learned", "norm": "layer", "qk_norm": "none", "activation": "gelu", "bias": True},
    "alibi, dyt, squared relu": {"positions": "alibi", "norm": "dyt", "activation": "relu2"},
    "gemma": {
        "norm_place": "sandwich", "activation": "geglu", "window": 8, "full_attention_every": 2, "attention_softcap": 20.0,
        "logit_softcap": 20.0,
    },
    "olmo2": {"norm_place": "post", "qk_norm": "full"},
    "experts": {"experts": {"count": 4, "active": 2, "balance_loss": 0.01, "z_loss": 0.001, "bias_rate": 0.001, "shared_size": 16}},
    "latent": {
        "latent": {"kv_rank": 24, "query_rank": 24, "rope_size": 8, "value_size": 16}, "kv_heads": 2, "qk_norm": "none",
        "experts": {"count": 4, "active": 1, "router": "sigmoid", "bias_rate": 0.001, "groups": 2, "active_groups": 1},
    },
    "expert choice": {"experts": {"count": 4, "active": 2, "router": "expert_choice", "normalise": False}},
    "capacity": {"experts": {"count": 4, "active": 1, "capacity_factor": 1.0, "balance_loss": 0.01}},
    "sinks": {"sink_logits": True, "window": 8, "rope_fraction": 0.5},
    "mamba2": {"mixer": "mamba2", "recurrence": {"state_size": 16}},
    "retnet": {"mixer": "retnet"},
    "gated_delta": {"mixer": "gated_delta", "mlp_size": 0},
    "rwkv7": {"mixer": "rwkv7", "activation": "relu2"},
    "rwkv6": {"mixer": "rwkv6"},
    "mamba": {"mixer": "mamba", "mlp_size": 0},
    "hybrid": {"mixer_pattern": ("mamba2", "attention"), "recurrence": {"state_size": 16}},
}  # fmt: skip


def recipe(parts: dict, **changes) -> TrainRecipe:
    initial = {"zero_out": "norm_place" not in parts}
    given = {"model": SMALL | parts, "steps": 60, "batch_sequences": 8, "precision": "float32", "initial": initial}
    return TrainRecipe(**(given | changes))


def train(out: Path, wanted: TrainRecipe):
    state = new_state(wanted, seed=0)
    context = StepContext("train", out, {}, 0, 1, lambda progress: None)
    Loop(wanted, state, CountingTokens(VOCABULARY, 16), context).run("test")
    return state


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_what_can_be_learnt(tmp_path, kind):
    state = train(tmp_path, recipe(KINDS[kind]))
    losses = list(read_losses(tmp_path / "metrics.jsonl").values())
    assert losses[0] > 4 and losses[-1] < 1
    assert all(bool(p.isfinite().all()) for p in state.model.parameters())


@pytest.mark.parametrize(
    "kind", ["gpt2", "experts", "expert choice", "latent", "mamba2", "retnet", "gated_delta", "rwkv7", "rwkv6", "mamba"]
)
def test_a_run_goes_on_from_its_checkpoint_bit_for_bit(tmp_path, kind):
    wanted = recipe(KINDS[kind], steps=12)
    whole = train(tmp_path / "whole", wanted)
    half = new_state(wanted, seed=0)
    context = StepContext("train", tmp_path / "half", {}, 0, 1, lambda progress: None)
    loop = Loop(wanted, half, CountingTokens(VOCABULARY, 16), context)
    for _ in range(5):
        loop.update()
    again = new_state(wanted, seed=0)
    again.from_checkpoint(*half.as_checkpoint())
    loop = Loop(wanted, again, CountingTokens(VOCABULARY, 16), context)
    for _ in range(7):
        loop.update()
    for one, two in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_metrics_tell_what_routers_did_where_there_are_any(tmp_path):
    train(tmp_path / "experts", recipe(KINDS["capacity"], steps=4))
    rows = [json.loads(line) for line in (tmp_path / "experts" / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    for row in rows:
        told = row["router"]
        assert 0 < told["load_entropy"] <= 1 <= told["load_max_over_mean"] <= 4
        assert 0 < told["dropped_share"] < 1 and 0 < told["router_entropy"] <= 1 and told["router_z"] > 0
    train(tmp_path / "dense", recipe(KINDS["olmo2"], steps=2))
    assert "router" not in (tmp_path / "dense" / "metrics.jsonl").read_text()


def test_flops_of_training_count_windows_and_the_optimiser_its_matrices():
    near, far = (recipe({"window": window}) for window in (4, 16))
    assert estimate.flops_per_token(far) == estimate.flops_per_token(recipe({}))
    saved = 3 * 4 * 2 * 2 * 16 * ((16 + 1) / 2 - 4 * (16 - 1.5) / 16)
    assert estimate.flops_per_token(far) - estimate.flops_per_token(near) == pytest.approx(saved)
    plain, ungated = (estimate.optimiser_flops_per_step(recipe(parts)) for parts in ({}, {"activation": "relu2"}))
    assert plain - ungated == 2 * 5 * (4 * 32**2 * 64 + 2 * 32**3)
    bare = recipe({"mixer": "mamba2", "mlp_size": 0, "recurrence": {"state_size": 16}})
    shapes = [(32, 64)] * 3 + [(16, 32)] * 2 + [(4, 32)]
    expected = sum(4 * small**2 * large + 2 * small**3 for small, large in shapes)
    assert estimate.optimiser_flops_per_step(bare) == 2 * 5 * expected


def test_the_fingerprint_of_a_recipe_that_exchanges_nothing_names_no_part():
    assert set(recipe({}).model_dump(mode="json")["model"]) == {*SMALL, "rope_theta", "norm_eps"}
    assert recipe({"positions": "none"}).model_dump(mode="json")["model"]["positions"] == "none"


@pytest.mark.parametrize(
    ("parts", "changes", "field"),
    [
        ({"mixer": "rwkv6"}, {"compile": "blocks"}, r"compile = .blocks.: rwkv6 takes chunks of a length"),
        ({"mixer_pattern": ["attention", "rwkv6"]}, {"compile": "blocks"}, r"compile = .blocks.: rwkv6 takes chunks"),
        (
            {"memory": {"segment_tokens": 4}, "qk_norm": "none"},
            {"compile": "blocks"},
            r"compile = .blocks.: the number of seg",
        ),
        ({"norm_place": "post"}, {"initial": {"zero_out": True}}, r"initial\.zero_out"),
        ({"norm_place": "middle"}, {}, "norm_place"),
        ({"positions": "rotary"}, {}, "positions"),
    ],
)
def test_what_training_cannot_do_is_refused_by_name(parts, changes, field):
    with pytest.raises((InputError, ValidationError), match=field):
        recipe(parts, **changes)


@pytest.mark.parametrize("kind", [{"window": 6}, {"mixer": "mamba2"}, {"experts": {"count": 4, "active": 2}}])
def test_memory_is_predicted_of_every_part(kind):
    wanted = recipe(kind)
    parts = estimate.memory_bytes(wanted)
    state = new_state(wanted, 0)
    assert parts["weights"] == sum(4 * p.numel() for p in state.model.parameters())
    assert parts["activations"] == activation_bytes(
        wanted.model, wanted.batch_sequences * wanted.model.context_tokens, 4
    )


def test_quantised_folders_are_refused_by_name(tmp_path):
    config = shape(window=6)
    save_pretrained(random_parts(config), tmp_path / "model")
    with pytest.raises(InputError, match=r"model\.window = 6: weight-only quantisation"):
        write_quantized(tmp_path / "model", tmp_path / "packed", Scheme(8))
