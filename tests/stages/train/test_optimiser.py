"""Muon against torch.optim.Muon, the whole optimiser against torch's on one model, schedules by their values."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder
from aether.spec.errors import InputError
from aether.stages.train.optimisers.muon import Muon, orthogonalise, polynomials
from aether.stages.train.optimisers.optimisers import Optimisers
from aether.stages.train.optimisers.portions import WORK_VALUES, portion
from aether.stages.train.optimisers.rule import Rates
from aether.stages.train.optimisers.weights import Weight
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.recipe_optimiser import Optimiser, Schedule
from aether.stages.train.schedule import learning_rate_factor, muon_momentum

torch.set_num_threads(1)
CONFIG = DecoderConfig(
    vocab_size=40, hidden_size=32, layers=2, heads=2, kv_heads=1, head_size=16, mlp_size=48, context_tokens=16
)  # fmt: skip


def test_stacked_muon_equals_torchs():
    shapes = [(24, 16), (16, 24), (24, 16), (16, 16), (24, 16)]
    generator = torch.Generator().manual_seed(0)
    ours = [nn.Parameter(torch.randn(s, generator=generator)) for s in shapes]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    settings = Optimiser(newton_schulz="quintic")
    muon = Muon([Weight(p, [p.shape[0]], 0.03, 0.1) for p in ours], settings, torch.bfloat16)
    reference = torch.optim.Muon(theirs, lr=0.03, weight_decay=0.1, momentum=0.9, adjust_lr_fn="original")
    for _ in range(4):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        muon.step(Rates(1.0, 0.9))
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        # Both round to bfloat16 within the iteration, batched products in another order: 1% of an update.
        torch.testing.assert_close(a, b, rtol=0, atol=4 * 0.03 * 0.01)


def test_a_stack_of_several_portions_is_moved_as_each_of_its_matrices_alone():
    shape, generator = (8, WORK_VALUES // 20), torch.Generator().manual_seed(0)
    assert portion(shape) == 2
    firsts = [torch.randn(shape, generator=generator) for _ in range(5)]
    grads = [torch.randn(shape, generator=generator) for _ in range(5)]

    def moved(places: list[int]) -> list[torch.Tensor]:
        parameters = [nn.Parameter(firsts[place].clone()) for place in places]
        for place, parameter in zip(places, parameters, strict=True):
            parameter.grad = grads[place].clone()
        Muon([Weight(p, [8], 0.03, 0.1) for p in parameters], Optimiser(), torch.float32).step(Rates(1.0, 0.9))
        return [parameter.detach() for parameter in parameters]

    for place, together in enumerate(moved([0, 1, 2, 3, 4])):
        assert not torch.equal(together, firsts[place])
        torch.testing.assert_close(together, moved([place])[0])


@pytest.mark.parametrize("shape", [(3, 20, 50), (3, 50, 20), (1, 32, 32)])
def test_polar_express_gives_nearly_orthogonal_matrices(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    ours = orthogonalise(matrices, polynomials("polar-express", 7), torch.bfloat16).float()
    values = torch.linalg.svdvals(ours)
    assert values.min() > 0.85 and values.max() < 1.15
    exact = torch.linalg.svd(matrices, full_matrices=False)
    near = torch.nn.functional.cosine_similarity(
        ours.flatten(),
        (exact.U @ exact.Vh).flatten(),
        dim=0,
    )
    assert near > 0.99


def test_every_parameter_has_one_rule_and_gains_do_not_decay():
    model = Decoder(CONFIG)
    optimisers = Optimisers(model, Optimiser(embedding_weight_decay=0.5, muon_weight_decay=0.5, embedding_lr=0.1))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimisers.step(Rates(1.0, 0.95))
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            assert torch.equal(parameter, before[name]), name
        else:
            rate = 0.1 if name == "embedding" else Optimiser().muon_lr
            torch.testing.assert_close(parameter.detach(), before[name] * (1 - rate * 0.5))


@pytest.mark.parametrize("blocks, learnt", [(False, 1), (True, 9)])
def test_only_the_gains_asked_for_are_learnt(blocks, learnt):
    model = Decoder(CONFIG)
    Optimisers(model, Optimiser(learn_block_gains=blocks))
    model.loss(torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long)).backward()
    assert sum(p.grad is not None for p in model.parameters() if p.ndim == 1) == learnt
    assert all(p.grad is not None for p in model.parameters() if p.ndim == 2)


def test_fused_matrices_are_orthogonalised_apart():
    generator = torch.Generator().manual_seed(0)
    fused = nn.Parameter(torch.randn(40, 16, generator=generator))
    parts = [nn.Parameter(p.detach().clone()) for p in fused.split([16, 16, 8])]
    fused.grad = torch.randn(fused.shape, generator=generator)
    for part, grad in zip(parts, fused.grad.split([16, 16, 8]), strict=True):
        part.grad = grad.clone()
    Muon([Weight(fused, [16, 16, 8], 0.01, 0.0)], Optimiser(), torch.bfloat16).step(Rates(1.0, 0.9))
    Muon([Weight(part, [part.shape[0]], 0.01, 0.0) for part in parts], Optimiser(), torch.bfloat16).step(
        Rates(1.0, 0.9)
    )
    torch.testing.assert_close(fused, torch.cat([part.detach() for part in parts]))


def test_the_state_moves_to_another_optimiser():
    models = [Decoder(CONFIG) for _ in range(2)]
    both = [Optimisers(model, Optimiser()) for model in models]
    tokens = torch.arange(17)[None]

    def update(index: int) -> None:
        models[index].loss(tokens[:, :-1], tokens[:, 1:]).backward()
        both[index].step(Rates(0.5, 0.9))
        models[index].zero_grad()

    for _ in range(3):
        update(0)
    models[1].load_state_dict(models[0].state_dict())
    both[1].load({name: tensor.clone() for name, tensor in both[0].tensors().items()})
    for index in (0, 1):
        update(index)
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_wsd_by_its_values():
    schedule = Schedule(kind="wsd", warmup_fraction=0.1, decay_fraction=0.4)
    values = [learning_rate_factor(schedule, step, 20) for step in range(20)]
    assert values[:3] == [0.5, 1.0, 1.0] and values[12] == 1.0
    assert values[13:] == pytest.approx([7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])


def test_linear_falls_from_the_warmup_on():
    schedule = Schedule(kind="linear", warmup_fraction=0.2, final_fraction=0.1)
    values = [learning_rate_factor(schedule, step, 10) for step in range(10)]
    assert values[:3] == [0.5, 1.0, 1.0]
    assert values[-1] == pytest.approx(0.1 + 0.9 / 8)


@pytest.mark.parametrize("kind", ["linear", "cosine", "inverse_sqrt"])
@pytest.mark.parametrize("steps, warmup", [(40, 8), (100, 2), (30, 1)])
def test_after_the_warmup_a_schedule_is_transformers(kind, steps, warmup):
    module = pytest.importorskip("transformers.optimization")
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    made = {
        "linear": lambda: module.get_linear_schedule_with_warmup(optimiser, warmup, steps),
        "cosine": lambda: module.get_cosine_schedule_with_warmup(optimiser, warmup, steps),
        "inverse_sqrt": lambda: module.get_inverse_sqrt_schedule(optimiser, warmup, timescale=max(1, warmup)),
    }[kind]()
    (theirs,) = made.lr_lambdas
    schedule = Schedule(kind=kind, warmup_fraction=warmup / steps)
    for step in range(max(1, warmup), steps):
        assert learning_rate_factor(schedule, step, steps) == pytest.approx(theirs(step), abs=1e-12)
    assert [learning_rate_factor(schedule, s, steps) for s in range(warmup)] == [
        (s + 1) / warmup for s in range(warmup)
    ]


def test_a_cosine_by_its_formula_and_torchs():
    schedule = Schedule(kind="cosine", warmup_fraction=0.0, final_fraction=0.1)
    values = [learning_rate_factor(schedule, step, 50) for step in range(50)]
    assert values == pytest.approx([0.1 + 0.45 * (1 + math.cos(math.pi * step / 50)) for step in range(50)])
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 50, eta_min=0.1)
    for value in values:
        assert value == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        theirs.step()


def test_an_inverse_square_root_halves_where_the_steps_are_four_times_as_many():
    schedule = Schedule(kind="inverse_sqrt", warmup_fraction=0.1)
    assert [learning_rate_factor(schedule, step, 100) for step in (9, 10, 40, 90)] == pytest.approx(
        [1, 1, 1 / 2, 1 / 3]
    )
    with pytest.raises(InputError, match="final_fraction"):
        Schedule(kind="inverse_sqrt", final_fraction=0.1)


@given(
    st.integers(1, 400),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.floats(0, 1),
    st.sampled_from(["wsd", "linear", "cosine"]),
)
def test_a_rate_is_never_above_its_peak_nor_zero(steps, warmup, decay, final, kind):
    schedule = Schedule(kind=kind, warmup_fraction=warmup, decay_fraction=decay, final_fraction=final)
    values = [learning_rate_factor(schedule, step, steps) for step in range(steps)]
    assert all(0 < v <= 1 + 1e-12 and math.isfinite(v) for v in values)
    falls = [b < a for a, b in itertools.pairwise(values)]
    assert not any(later < earlier for earlier, later in itertools.pairwise(falls)) or final == 1


def test_momentum_rises_and_stays():
    settings = Optimiser(muon_momentum_start=0.8, muon_momentum=0.9, muon_momentum_warmup_fraction=0.5)
    values = [muon_momentum(settings, step, 10) for step in range(10)]
    assert values[0] == 0.8 and values[1] == pytest.approx(0.82) and values[5:] == [0.9] * 5


@pytest.mark.parametrize(
    "change, field",
    [
        ({"precision": "float16"}, "precision"),
        ({"batch_sequences": 6, "micro_batch_sequences": 4}, "micro_batch_sequences"),
        ({"ramp": [{"steps_fraction": 0.2, "sequences": 17}]}, "ramp.sequences"),
        ({"ramp": [{"steps_fraction": 0.7, "sequences": 2}] * 2}, "ramp"),
        ({"ramp": [{"steps_fraction": 0.7, "sequences": 3}], "micro_batch_sequences": 2}, "micro_batch_sequences"),
        ({"schedule": {"warmup_fraction": 0.5, "decay_fraction": 0.9}}, "decay_fraction"),
        ({"optimiser": {"kind": "schedule_free"}, "keep_optimiser": True}, r"optimiser\.kind"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_by_name(change, field):
    with pytest.raises(InputError, match=field):
        TrainRecipe.model_validate({"model": CONFIG, "steps": 3} | change)


@given(st.integers(1, 60), st.lists(st.tuples(st.floats(0.01, 0.4), st.integers(1, 8)), max_size=3))
def test_a_ramps_tokens_are_the_sum_of_its_updates(steps, ramp):
    stages = [{"steps_fraction": share, "sequences": sequences} for share, sequences in ramp if share <= 0.33]
    wanted = TrainRecipe.model_validate({"model": CONFIG, "steps": steps, "batch_sequences": 8, "ramp": stages})
    sizes = [wanted.sequences_at(step) for step in range(steps)]
    for step in range(steps + 1):
        assert wanted.tokens_until(step) == 16 * sum(sizes[:step])
    assert wanted.tokens() == 16 * sum(sizes)
    assert stages or set(sizes) == {8}
