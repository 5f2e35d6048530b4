"""Every rule against its paper's algorithm in plain float64 numpy, and against other libraries where they are installed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder
from aether.spec.errors import InputError
from aether.stages.train.optimisers.lion import Lion
from aether.stages.train.optimisers.optimisers import Optimisers
from aether.stages.train.optimisers.rule import Rates
from aether.stages.train.optimisers.schedule_free import ScheduleFree
from aether.stages.train.optimisers.soap import Soap
from aether.stages.train.optimisers.torchs import adafactor, adamw
from aether.stages.train.optimisers.weights import Weight
from aether.stages.train.recipe_optimiser import Optimiser, WeightGroup

torch.set_num_threads(1)
CONFIG = DecoderConfig(
    vocab_size=40, hidden_size=32, layers=2, heads=2, kv_heads=1, head_size=16, mlp_size=48, context_tokens=16
)  # fmt: skip
KINDS = ("muon", "adamw", "lion", "adafactor", "soap", "schedule_free")
LR, DECAY, STEPS = 0.02, 0.1, 40
SETTINGS = Optimiser(kind="adamw", beta1=0.9, beta2=0.95, lion_beta2=0.98, soap_every_steps=7)
FACTORS = [min(1.0, (t + 1) / 5) * (1 - t / (2 * STEPS)) for t in range(STEPS)]


def root_mean_square(x):
    return np.sqrt((x**2).mean())


class Plain:
    """A rule for one matrix in numpy; `w` is what it has come to."""

    def __init__(self, w):
        self.w, self.t = w.copy(), 0
        self.m, self.v = np.zeros_like(w), np.zeros_like(w)


class PlainAdamW(Plain):
    def step(self, g, lr):
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.95 * self.v + 0.05 * g**2
        corrected = self.m / (1 - 0.9**self.t) / (np.sqrt(self.v / (1 - 0.95**self.t)) + 1e-8)
        self.w = self.w - lr * (corrected + DECAY * self.w)


class PlainLion(Plain):
    def step(self, g, lr):
        c = 0.9 * self.m + 0.1 * g
        self.w = self.w - lr * (np.sign(c) + DECAY * self.w)
        self.m = 0.98 * self.m + 0.02 * g


class PlainAdafactor(Plain):
    """Algorithms 4 (factored) and 2, with the paper's relative step, decay 1 - t^-0.8 and clipping at 1."""

    def __init__(self, w):
        super().__init__(w)
        self.r, self.c = 0.0, 0.0

    def step(self, g, lr):
        self.t += 1
        beta = 1 - self.t**-0.8
        self.w = self.w * (1 - lr * DECAY)
        size = max(1e-3, root_mean_square(self.w / (1 - lr * DECAY)))
        if g.ndim == 2:
            self.r = beta * self.r + (1 - beta) * (g**2).sum(1, keepdims=True)
            self.c = beta * self.c + (1 - beta) * (g**2).sum(0, keepdims=True)
            u = g / np.sqrt(self.r @ self.c / self.r.sum())
        else:
            self.v = beta * self.v + (1 - beta) * g**2
            u = g / np.sqrt(self.v)
        self.w = self.w - size * min(lr, self.t**-0.5) * u / max(1.0, root_mean_square(u))


class PlainScheduleFree(Plain):
    """Algorithm 1 with x, y and z all kept; the average's weights are the squared largest rates so far."""

    def __init__(self, w):
        super().__init__(w)
        self.x, self.z, self.largest, self.total = w.copy(), w.copy(), 0.0, 0.0

    def step(self, g, lr):
        self.t += 1
        self.v = 0.95 * self.v + 0.05 * g**2
        change = g / (np.sqrt(self.v / (1 - 0.95**self.t)) + 1e-8) + DECAY * self.w
        self.z = self.z - lr * change
        self.largest = max(self.largest, lr)
        self.total += self.largest**2
        share = self.largest**2 / self.total
        self.x = (1 - share) * self.x + share * self.z
        self.w = 0.1 * self.z + 0.9 * self.x


class PlainSoap(Plain):
    """Algorithm 3; the first gradient makes the bases alone."""

    def rotate(self, x):
        return self.ql.T @ x @ self.qr

    def step(self, g, lr):
        if self.t:
            self.m = 0.9 * self.m + 0.1 * g
            self.v = 0.95 * self.v + 0.05 * self.rotate(g) ** 2
            change = self.ql @ (self.rotate(self.m) / (np.sqrt(self.v) + 1e-8)) @ self.qr.T
            corrected = np.sqrt(1 - 0.95**self.t) / (1 - 0.9**self.t)
            self.w = self.w - lr * DECAY * self.w - lr * corrected * change
        left, right = (0, 0) if not self.t else (self.left, self.right)
        self.left, self.right = 0.95 * left + 0.05 * g @ g.T, 0.95 * right + 0.05 * g.T @ g
        if not self.t:
            self.ql, self.qr = (np.linalg.eigh(side)[1][:, ::-1] for side in (self.left, self.right))
        elif self.t % 7 == 0:
            rows = np.argsort(-np.diag(self.ql.T @ self.left @ self.ql))
            columns = np.argsort(-np.diag(self.qr.T @ self.right @ self.qr))
            self.v = self.v[rows][:, columns]
            self.ql = np.linalg.qr(self.left @ self.ql[:, rows])[0]
            self.qr = np.linalg.qr(self.right @ self.qr[:, columns])[0]
        self.t += 1


RULES = {
    "adamw": (lambda weights: adamw(weights, SETTINGS), PlainAdamW),
    "lion": (lambda weights: Lion(weights, SETTINGS), PlainLion),
    "adafactor": (adafactor, PlainAdafactor),
    "schedule_free": (lambda weights: ScheduleFree(weights, SETTINGS), PlainScheduleFree),
    "soap": (lambda weights: Soap(weights, SETTINGS), PlainSoap),
}


def weight(shape, seed=0) -> Weight:
    drawn = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return Weight(nn.Parameter(drawn), [shape[0]], LR, DECAY)


def follow(kind: str, shape: tuple[int, ...], seed: int) -> float:
    """The largest distance from the plain form over all updates, with gradients that pull to a noisy target."""
    make, plain_kind = RULES[kind]
    ours, generator = weight(shape, seed), torch.Generator().manual_seed(seed + 1)
    rule, plain, furthest = make([ours]), plain_kind(ours.parameter.detach().numpy()), 0.0
    for factor in FACTORS:
        ours.parameter.grad = ours.parameter.detach() + torch.randn(shape, dtype=torch.float64, generator=generator)
        grad = ours.parameter.grad.numpy().copy()
        rule.step(Rates(factor, 0.9))
        plain.step(grad, LR * factor)
        furthest = max(furthest, float(np.abs(ours.parameter.detach().numpy() - plain.w).max()))
    if isinstance(rule, ScheduleFree):
        rule.average()
        assert isinstance(plain, PlainScheduleFree)
        np.testing.assert_allclose(ours.parameter.detach().numpy(), plain.x, atol=1e-9)
    return furthest


# torch's AdamW and Adafactor keep their scalars in float32; every other rule is exact to rounding in float64.
@pytest.mark.parametrize("kind", ["adamw", "lion", "adafactor", "schedule_free"])
@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=2).map(tuple), st.integers(0, 1000))
def test_a_rule_is_its_papers_algorithm(kind, shape, seed):
    assert follow(kind, shape, seed) < (1e-5 if kind in ("adamw", "adafactor") else 1e-9)


# An eigenbasis is one of many where more than one eigenvalue is zero: sides that differ by one at most.
@settings(max_examples=15, deadline=None)
@given(st.sampled_from([(2, 2), (5, 5), (4, 5), (6, 5), (1, 2)]), st.integers(0, 1000))
def test_soap_is_its_papers_algorithm(shape, seed):
    assert follow("soap", shape, seed) < 1e-6


def test_soap_stacks_are_each_matrix_alone():
    generator = torch.Generator().manual_seed(0)
    together = Weight(nn.Parameter(torch.randn(14, 6, generator=generator)), [6, 4, 4], LR, DECAY)
    apart = [
        Weight(nn.Parameter(p.detach().clone()), [p.shape[0]], LR, DECAY) for p in together.parameter.split([6, 4, 4])
    ]
    rules = [Soap([together], SETTINGS), Soap(apart, SETTINGS)]
    for _ in range(20):
        together.parameter.grad = torch.randn(14, 6, generator=generator)
        for one, grad in zip(apart, together.parameter.grad.split([6, 4, 4]), strict=True):
            one.parameter.grad = grad.clone()
        for rule in rules:
            rule.step(Rates(1.0, 0.9))
    torch.testing.assert_close(together.parameter, torch.cat([w.parameter for w in apart]), atol=1e-4, rtol=1e-3)


def other_library(name: str, parameter: nn.Parameter) -> torch.optim.Optimizer:
    if name == "schedule_free":
        library = pytest.importorskip("schedulefree", reason="group `references` is not installed")
        made = library.AdamWScheduleFree([parameter], lr=LR, betas=(0.9, 0.95), weight_decay=DECAY)
        made.train()
        return made
    library = pytest.importorskip("pytorch_optimizer", reason="group `references` is not installed")
    if name == "lion":
        return library.Lion([parameter], lr=LR, betas=(0.9, 0.98), weight_decay=DECAY, weight_decouple=True)
    return library.SOAP([parameter], lr=LR, betas=(0.9, 0.95), weight_decay=0.0, precondition_frequency=7)


@pytest.mark.parametrize("kind", ["lion", "soap", "schedule_free"])
@pytest.mark.parametrize("shape", [(12, 12), (5, 20), (20, 5)])
def test_a_rule_is_another_librarys(kind, shape):
    ours = weight(shape)
    ours = Weight(ours.parameter, ours.rows, LR, 0.0 if kind == "soap" else DECAY)
    theirs = nn.Parameter(ours.parameter.detach().clone())
    rule, library = RULES[kind][0]([ours]), other_library(kind, theirs)
    generator = torch.Generator().manual_seed(1)
    for factor in FACTORS:
        ours.parameter.grad = ours.parameter.detach() + torch.randn(shape, dtype=torch.float64, generator=generator)
        theirs.grad = ours.parameter.grad.clone()
        library.param_groups[0]["lr"] = LR * factor
        rule.step(Rates(factor, 0.9))
        library.step()
    # The other SOAP takes its QR decompositions in float32.
    torch.testing.assert_close(ours.parameter, theirs, rtol=0, atol=1e-4 if kind == "soap" else 1e-9)


def model_and_optimisers(kind: str, **changes: object) -> tuple[Decoder, Optimisers]:
    model = Decoder(CONFIG)
    return model, Optimisers(model, Optimiser.model_validate({"kind": kind} | changes))


def update(model: Decoder, optimisers: Optimisers, step: int) -> None:
    tokens = (torch.arange(17) * (step + 1) % 40)[None]
    model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
    optimisers.step(Rates(min(1.0, (step + 1) / 3), 0.9))
    model.zero_grad()


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_is_whole_from_the_beginning_and_moves_bit_for_bit(kind):
    (model, optimisers), (other, others) = (model_and_optimisers(kind, soap_every_steps=3) for _ in range(2))
    shapes = {name: tensor.shape for name, tensor in optimisers.tensors().items()}
    for step in range(7):
        update(model, optimisers, step)
    state = optimisers.tensors()
    assert {name: tensor.shape for name, tensor in state.items()} == shapes
    assert all(bool(tensor.isfinite().all()) for tensor in state.values())
    assert any(bool(tensor.any()) for tensor in state.values())
    other.load_state_dict(model.state_dict())
    others.load({name: tensor.clone() for name, tensor in state.items()})
    for step in range(7, 14):
        update(model, optimisers, step)
        update(other, others, step)
    for rules in (optimisers, others):
        rules.finish()
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    for name, tensor in optimisers.tensors().items():
        assert torch.equal(tensor, others.tensors()[name])


def test_a_cut_rate_still_counts_in_the_average():
    ours = weight((3, 4))
    rule = RULES["schedule_free"][0]([ours])
    for factor in (0.5, 1.0, 0.25, 0.25):
        ours.parameter.grad = torch.ones_like(ours.parameter)
        rule.step(Rates(factor, 0.9))
    assert rule.tensors()["counts"].tolist() == [4, 1.0, 0.25 + 1 + 1 + 1]


def rates_of(settings: Optimiser) -> dict[str, tuple[float, float]]:
    model = Decoder(CONFIG)
    found = {id(w.parameter): (w.lr, w.weight_decay) for w in Optimisers(model, settings).weights}
    return {name: found[id(p)] for name, p in model.named_parameters() if id(p) in found}


def test_groups_give_rates_and_decays_by_kind_and_by_name():
    groups = (
        WeightGroup(kind="matrices", pattern="blocks.0.*", lr=0.001),
        WeightGroup(kind="gains", weight_decay=0.2),
        WeightGroup(pattern="*.down", lr=0.5, weight_decay=0.0),
    )
    found = rates_of(Optimiser(kind="adamw", lr=0.1, weight_decay=0.3, groups=groups))
    assert found["embedding"] == found["blocks.1.qkv"] == (0.1, 0.3)
    assert found["blocks.0.qkv"] == found["blocks.0.down"] == (0.001, 0.3)
    assert found["blocks.1.down"] == (0.5, 0.0) and found["final_gain"] == (0.1, 0.2)
    by_muon = rates_of(Optimiser(groups=(WeightGroup(pattern="*.out", lr=0.7),)))
    assert by_muon["blocks.0.out"] == (0.7, 0.0) and by_muon["blocks.0.qkv"] == (0.01, 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_of_zero_for_a_group_keeps_its_weights(kind):
    model, optimisers = model_and_optimisers(kind, groups=(WeightGroup(pattern="*.qkv", lr=0.0),))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for step in range(3):
        update(model, optimisers, step)
    moved = {name for name, p in model.named_parameters() if p.requires_grad and not torch.equal(p, before[name])}
    assert moved == {name for name, p in model.named_parameters() if p.requires_grad and not name.endswith("qkv")}


@pytest.mark.parametrize(
    "groups, field",
    [
        ([{"pattern": "*.norm", "lr": 0.1}], r"groups\[0\] .*norm.*no learnt weight"),
        ([{"kind": "routers", "lr": 0.1}], r"groups\[0\]"),
        ([{"kind": "matrices", "lr": 0.1}, {"pattern": "*.qkv", "lr": 0.2}], r"groups\[1\].*before the groups"),
    ],
)
def test_a_group_that_matches_nothing_is_an_error(groups, field):
    with pytest.raises(InputError, match=field):
        rates_of(Optimiser.model_validate({"groups": groups}))


@pytest.mark.parametrize(
    "change, field",
    [
        ({"lr": 0.1}, "optimiser.lr"),
        ({"weight_decay": 0.1}, "optimiser.weight_decay"),
        ({"kind": "schedule_free", "beta1": 0.0}, "beta1"),
        ({"groups": [{"lr": 0.1}]}, "set kind or pattern"),
        ({"groups": [{"kind": "gains"}]}, "set lr or weight_decay"),
    ],
)
def test_choices_that_would_do_nothing_are_refused(change, field):
    with pytest.raises(InputError, match=field):
        Optimiser.model_validate(change)


def test_a_recipe_without_the_new_choices_is_dumped_as_before():
    dumped = Optimiser().model_dump(mode="json")
    assert not {"kind", "lr", "weight_decay", "groups", "base_width"} & set(dumped)
    assert Optimiser.model_validate(Optimiser(kind="lion", lr=0.1).model_dump(mode="json")).kind == "lion"
