"""Mixture of experts against transformers' Mixtral and Qwen3-MoE, a plain loop over tokens in float64, and the papers' losses."""

import pytest
import torch
from parts_toys import counted_flops_per_token, random_parts, shape, tokens_of
from torch.utils.flop_counter import register_flop_formula
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from aether.models.cache import KVCache
from aether.models.config_parts import Mixture
from aether.models.parts.activations import activate
from aether.models.parts.experts import MixtureOfExperts, Routed, route, router_loss
from aether.spec.errors import InputError

torch.set_num_threads(1)
EVERY = {
    "softmax": {"count": 6, "active": 2},
    "softmax, not normalised": {"count": 6, "active": 2, "normalise": False, "scale": 1.5},
    "sigmoid, shared, bias": {"count": 6, "active": 3, "router": "sigmoid", "shared_size": 24, "bias_rate": 0.01},
    "one of many": {"count": 16, "active": 1},
    "all": {"count": 3, "active": 3},
    "groups": {"count": 8, "active": 3, "router": "sigmoid", "groups": 4, "active_groups": 2, "bias_rate": 0.01},
    "capacity": {"count": 6, "active": 2, "capacity_factor": 1.0},
}


@register_flop_formula(torch.ops.aten._grouped_mm)
def _grouped_flops(a_shape, b_shape, *args, **kwargs) -> int:
    """What the counter does not know of: each row times one matrix."""
    return 2 * a_shape[0] * a_shape[1] * b_shape[-1]


@pytest.mark.parametrize("activation", ["swiglu", "relu2"])
@pytest.mark.parametrize("name", EVERY)
def test_a_layer_and_its_gradients_are_those_of_a_loop_over_tokens(name, activation):
    config = shape(experts=EVERY[name], activation=activation)
    layer = random_parts(config).blocks[0].mlp
    assert isinstance(layer, MixtureOfExperts) and config.experts is not None
    mixture = config.experts
    x = torch.randn(2, 9, 48, generator=torch.Generator().manual_seed(0), requires_grad=True)
    ours = layer(x, [])
    matrix = layer.expert_gate_up if config.gated else layer.expert_up
    rows = []
    for token in x.flatten(0, 1).double():
        scores = layer.router.double() @ token
        scores = scores.softmax(0) if mixture.router == "softmax" else scores.sigmoid()
        wanted = scores if layer.router_bias is None else scores + layer.router_bias
        if mixture.groups > 1:
            size = mixture.count // mixture.groups
            best = [sum(sorted(wanted[g * size : (g + 1) * size].tolist())[-2:]) for g in range(mixture.groups)]
            kept = sorted(range(mixture.groups), key=lambda group: -best[group])[: mixture.active_groups]
            inside = torch.tensor([expert // size in kept for expert in range(mixture.count)])
            wanted = wanted.masked_fill(~inside, float("-inf"))
        chosen = sorted(range(mixture.count), key=lambda expert: -wanted[expert].item())[: mixture.active]
        total = sum(scores[expert] for expert in chosen) if mixture.normalise else 1.0
        row = torch.zeros(48, dtype=torch.float64)
        if layer.shared is not None:
            first = layer.shared.gate_up if config.gated else layer.shared.up
            row = row + layer.shared.down.double() @ activate(activation, first.double() @ token)
        for expert in chosen:
            up = matrix.double().view(mixture.count, -1, 48)[expert]
            down = layer.expert_down.double().view(mixture.count, 48, -1)[expert]
            row = row + mixture.scale * scores[expert] / total * (down @ activate(activation, up @ token))
        rows.append(row)
    expected = torch.stack(rows).view(2, 9, 48)
    torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-5)
    probe = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    inputs = [x, layer.router, matrix, layer.expert_down]
    got = torch.autograd.grad((ours * probe).sum(), inputs, retain_graph=True)
    wanted_grads = torch.autograd.grad((expected * probe).sum(), inputs)
    for one, two in zip(got, wanted_grads, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.double()(x.double(), []).float(), expected.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_every_mixture_counts_itself_and_agrees_with_its_cache(name):
    config = shape(experts=EVERY[name])
    model = random_parts(config)
    assert sum(p.numel() for p in model.parameters()) == config.parameters()
    assert counted_flops_per_token(model, 16) == config.flops_per_token(16)
    matrices = sum(p.numel() for n, p in model.named_parameters() if p.ndim > 1 and n != "embedding")
    assert matrices == config.matrix_parameters()
    tokens = tokens_of(config, batch=1, tokens=20)
    whole, cache = model(tokens), KVCache.allocate(config, slots=1)
    torch.testing.assert_close(model.extend(tokens[:, :19], cache), whole[:, 18], rtol=5e-5, atol=5e-5)
    torch.testing.assert_close(model.extend(tokens[:, 19:], cache), whole[:, 19], rtol=5e-5, atol=5e-5)


def test_the_losses_are_those_of_the_papers():
    mixture = Mixture(count=5, active=2, balance_loss=0.5)
    logits = torch.randn(3, 40, 5, generator=torch.Generator().manual_seed(0))
    routed = []
    for one in logits:
        scores, chosen, _ = route(one, None, mixture)
        routed.append(Routed(one, scores, torch.bincount(chosen.flatten(), minlength=5), torch.zeros(())))
    expected = load_balancing_loss_func(tuple(logits), 5, 2)
    torch.testing.assert_close(router_loss(routed, mixture), 0.5 * expected)
    z_loss = router_loss(routed, Mixture(count=5, active=2, z_loss=0.1))
    torch.testing.assert_close(z_loss, 0.1 * logits.exp().sum(-1).log().square().mean())


def test_the_routers_losses_give_gradients_and_leave_the_value_alone():
    plain, held = (
        random_parts(shape(experts={"count": 6, "active": 2, **more}))
        for more in ({}, {"balance_loss": 5.0, "z_loss": 0.1})
    )
    tokens = tokens_of(plain.config)
    losses = [model.loss(tokens[:, :-1], tokens[:, 1:]) for model in (plain, held)]
    torch.testing.assert_close(losses[0], losses[1])
    for loss in losses:
        loss.backward()
    one, two = (model.blocks[0].mlp.router.grad for model in (plain, held))
    assert not torch.allclose(one, two)


def test_the_bias_moves_towards_equal_loads_and_chooses_without_weighing():
    config = shape(experts={"count": 4, "active": 1, "bias_rate": 0.02})
    model = random_parts(config)
    layer = model.blocks[0].mlp
    with torch.no_grad():
        layer.router_bias.zero_()
    tokens = tokens_of(config, batch=8)
    spread = []
    for _ in range(60):
        model.loss(tokens[:, :-1], tokens[:, 1:])
        spread.append(float(layer.tally.wanted_E.std()))
        model.settle(applied=True)
        assert int(layer.tally.wanted_E.sum()) == 0
    assert spread[-1] < 0.5 * spread[0]
    before = layer.router_bias.clone()
    model.loss(tokens[:, :-1], tokens[:, 1:])
    model.settle(applied=False)
    assert torch.equal(before, layer.router_bias) and not layer.router_bias.requires_grad
    _, chosen, weights = route(
        torch.zeros(1, 4), torch.tensor([0.0, 0.0, 9.0, 0.0]), Mixture(count=4, active=2, normalise=False)
    )
    assert 2 in chosen and weights.tolist() == [[0.25, 0.25]]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"experts": {"count": 2, "active": 3}}, r"experts\.active"),
        ({"experts": {"count": 4, "active": 2, "bias_rate": 0.1}, "bias": True}, "bias"),
        ({"experts": {"count": 4, "active": 2}, "mlp_size": 84}, "mlp_size"),
    ],
)
def test_what_experts_have_not_is_refused_by_name(change, field):
    with pytest.raises(InputError, match=field):
        shape(**change)
