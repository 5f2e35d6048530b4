"""Capacity with dropping and expert choice against loops over tokens in float64; what routers tell; what is causal."""

import math

import pytest
import torch
from parts_toys import random_parts, shape, tokens_of
from pydantic import ValidationError

from aether.models.cache import KVCache
from aether.models.parts.activations import activate
from aether.models.parts.experts import MixtureOfExperts
from aether.models.parts.routing import CUTOFF_WEIGHT
from aether.spec.errors import InputError

torch.set_num_threads(1)
CHOICE = {"count": 6, "active": 2, "router": "expert_choice", "normalise": False, "scale": 1.5, "shared_size": 16}


def first_layer(experts) -> MixtureOfExperts:
    layer = random_parts(shape(experts=experts)).blocks[0].mlp
    assert isinstance(layer, MixtureOfExperts)
    return layer


def inputs(tokens: int = 23) -> torch.Tensor:
    return torch.randn(1, tokens, 48, generator=torch.Generator().manual_seed(0), requires_grad=True)


def expert(layer: MixtureOfExperts, one: int, token: torch.Tensor) -> torch.Tensor:
    up = layer.expert_gate_up.double().view(layer.mixture.count, -1, 48)[one]
    return layer.expert_down.double().view(layer.mixture.count, 48, -1)[one] @ activate("swiglu", up @ token)


def held_together(layer: MixtureOfExperts, x: torch.Tensor, ours: torch.Tensor, rows: list[torch.Tensor]) -> None:
    expected = torch.stack(rows)[None]
    torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-5)
    probe = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    weights = [x, layer.router, layer.expert_gate_up, layer.expert_down]
    got = torch.autograd.grad((ours * probe).sum(), weights, retain_graph=True)
    for one, two in zip(got, torch.autograd.grad((expected * probe).sum(), weights, retain_graph=True), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factor", [0.25, 1.0, 1.25, 9.0])
@pytest.mark.parametrize("active", [1, 2])
def test_a_capacity_drops_the_tokens_that_come_last(factor, active):
    layer, x, routed = first_layer({"count": 6, "active": active, "capacity_factor": factor}), inputs(), []
    ours = layer(x, routed, learning=True)
    most, taken, dropped, rows = max(1, math.ceil(factor * 23 * active / 6)), [0] * 6, 0, []
    for token in x[0].double():
        scores = (layer.router.double() @ token).softmax(0)
        chosen = scores.topk(active).indices.tolist()
        total, row = sum(scores[one] for one in chosen), 0 * token
        for one in chosen:
            if taken[one] == most:
                dropped += 1
                continue
            taken[one] += 1
            row = row + scores[one] / total * expert(layer, one, token)
        rows.append(row)
    held_together(layer, x, ours, rows)
    assert int(routed[0].dropped) == dropped and (dropped == 0) == (factor == 9.0)
    dropless = first_layer({"count": 6, "active": active})
    torch.testing.assert_close(layer(x, []), dropless(x, []), rtol=0, atol=0)


def test_experts_choose_their_best_tokens_in_training_and_by_a_cutoff_elsewhere():
    layer, x, routed = first_layer(CHOICE), inputs(), []
    ours = layer(x, routed, learning=True)
    tokens = x[0].double()
    scores = (tokens @ layer.router.double().T).softmax(-1)
    most = math.ceil(23 * 2 / 6)
    best = [set(sorted(range(23), key=lambda t: -scores[t, one].item())[:most]) for one in range(6)]
    assert layer.shared is not None

    def by(taken) -> list[torch.Tensor]:
        rows = []
        for place, token in enumerate(tokens):
            shared = layer.shared.down.double() @ activate("swiglu", layer.shared.gate_up.double() @ token)
            chosen = (one for one in range(6) if place in taken[one])
            rows.append(shared + sum(1.5 * scores[place, one] * expert(layer, one, token) for one in chosen))
        return rows

    held_together(layer, x, ours, by(best))
    assert routed[0].counts_E.tolist() == [most] * 6
    lowest = torch.tensor([min(scores[t, one].item() for t in best[one]) for one in range(6)])
    layer.count(routed[0])
    before = layer.router_cutoff.clone()
    layer.settle(applied=True)
    torch.testing.assert_close(layer.router_cutoff, before + (1 - CUTOFF_WEIGHT) * (lowest - before))
    cut = layer.router_cutoff
    reached = [{t for t in range(23) if scores[t, one] >= cut[one]} for one in range(6)]
    held_together(layer, x, layer(x, []), by(reached))


def test_choosing_looks_ahead_in_training_and_nowhere_else():
    config = shape(experts=CHOICE)
    model = random_parts(config)
    with torch.no_grad():
        for block in model.blocks:
            block.mlp.router_cutoff.fill_(0.2)
    tokens = tokens_of(config, batch=1, tokens=20)
    other = tokens.clone()
    other[:, 15:] = (other[:, 15:] + 7) % config.vocab_size
    torch.testing.assert_close(model(tokens)[:, :15], model(other)[:, :15], rtol=5e-5, atol=5e-5)
    hidden = [model._routed(one, model.embedding, None, learning=True)[0][:, :15] for one in (tokens, other)]
    assert float((hidden[0] - hidden[1]).detach().abs().max()) > 0.01
    whole, cache = model(tokens), KVCache.allocate(config, slots=1)
    torch.testing.assert_close(model.extend(tokens[:, :19], cache), whole[:, 18], rtol=5e-5, atol=5e-5)
    torch.testing.assert_close(model.extend(tokens[:, 19:], cache), whole[:, 19], rtol=5e-5, atol=5e-5)


@pytest.mark.parametrize("experts", [CHOICE, {"count": 6, "active": 2, "capacity_factor": 1.0}])
def test_it_counts_its_parameters(experts):
    config = shape(experts=experts)
    assert sum(p.numel() for p in random_parts(config).parameters()) == config.parameters()


def test_what_routers_tell_is_what_they_did():
    config = shape(experts={"count": 6, "active": 2, "capacity_factor": 0.5})
    model = random_parts(config)
    tokens = tokens_of(config)
    for _ in range(2):
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
    routed = model._routed(tokens[:, :-1], model.embedding, None, learning=True)[1]
    told = model.settle(applied=True)
    loads = [one.counts_E.double() / one.counts_E.sum() for one in routed]
    entropy = sum(-sum(p * math.log(p) for p in load.tolist() if p) for load in loads) / 3 / math.log(6)
    assert told["load_entropy"] == pytest.approx(entropy, abs=1e-5)
    assert told["load_max_over_mean"] == pytest.approx(max(float(load.max()) for load in loads) * 6, abs=1e-3)
    wanted, dropped = 3 * 2 * 39 * 2, sum(int(one.dropped) for one in routed)
    assert told["dropped_share"] == pytest.approx(dropped / wanted, abs=1e-5) and dropped > 0
    rows = [row.double() for one in routed for row in one.logits_NE]
    of_scores = sum(-(row.softmax(0) * row.log_softmax(0)).sum().item() for row in rows) / len(rows) / math.log(6)
    assert told["router_entropy"] == pytest.approx(of_scores, abs=1e-5)
    squares = sum(row.logsumexp(0).item() ** 2 for row in rows) / len(rows)
    assert told["router_z"] == pytest.approx(squares, rel=1e-4)
    assert model.settle(applied=True) == {}
    with torch.no_grad():
        model.loss(tokens[:, :-1], tokens[:, 1:])
    assert model.settle(applied=True) == {}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"normalise": True}, r"experts\.normalise"),
        ({"capacity_factor": 1.0}, r"experts\.capacity_factor"),
        ({"balance_loss": 0.1}, r"experts\.balance_loss"),
        ({"groups": 2, "active_groups": 1}, r"experts\.groups"),
        ({"router": "softmax", "groups": 4}, r"experts\.groups"),
        ({"router": "softmax", "groups": 3, "active_groups": 4}, r"experts\.active_groups"),
        ({"router": "sigmoid", "groups": 3, "active": 3}, r"experts\.active_groups"),
        ({"router": "softmax", "capacity_factor": 0}, "capacity_factor"),
    ],
)
def test_choices_that_exclude_each_other_are_refused_by_name(change, field):
    with pytest.raises((InputError, ValidationError), match=field):
        shape(experts=CHOICE | change)
