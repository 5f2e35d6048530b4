"""The arithmetic of costs: against counts made another way, and against a run."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_data import VOCABULARY
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from aether.models.config import DecoderConfig
from aether.models.config_parts import Mixture
from aether.models.decoder import Decoder
from aether.stages.train import estimate
from aether.stages.train.loop import new_state
from aether.stages.train.optimisers.muon import orthogonalise, polynomials
from aether.stages.train.optimisers.rule import Rates
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.recipe_optimiser import Optimiser

torch.set_num_threads(1)
CONFIG = DecoderConfig(
    vocab_size=VOCABULARY, hidden_size=32, layers=2, heads=2, kv_heads=1, head_size=16, mlp_size=64, context_tokens=16
)  # fmt: skip
RECIPE = TrainRecipe(model=CONFIG, steps=10, batch_sequences=4, precision="float32")


def test_flops_equal_those_that_torch_counts():
    """torch's counter knows no causality, so the attention of the whole square is counted on both sides."""
    model = Decoder(CONFIG)
    tokens = torch.zeros(2, 16, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model.loss(tokens, tokens).backward()
    assert counter.get_total_flops() == 3 * CONFIG.flops_per_token(16) * 32


def test_the_optimisers_flops_equal_those_that_torch_counts():
    total = 0
    for shape, count in (((32, 32), 2), ((16, 32), 2), ((64, 32), 2), ((32, 64), 1)):
        with FlopCounterMode(display=False) as counter:
            orthogonalise(torch.randn(count * 2, *shape), polynomials("polar-express", 5), torch.bfloat16)
        total += counter.get_total_flops()
    assert estimate.optimiser_flops_per_step(RECIPE) == total


def most_allocated(run: Callable[[], object]) -> int:
    """Bytes that torch's allocator gave out at a time, as its profiler tells."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    assert seen.profiler is not None and seen.profiler.kineto_results is not None
    changes: list[Any] = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    return max(itertools.accumulate(change.nbytes() for change in sorted(changes, key=lambda e: e.start_ns())))


@pytest.mark.parametrize("kind", ["muon", "adamw", "lion", "adafactor", "soap", "schedule_free"])
@pytest.mark.parametrize("experts", [None, Mixture(count=8, active=2)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_an_optimiser_makes_and_drops_is_what_torch_allocates(kind, experts, precision):
    model = CONFIG.model_copy(update={"vocab_size": 512, "hidden_size": 64, "experts": experts})
    wanted = TrainRecipe(model=model, steps=10, batch_sequences=4, precision=precision, optimiser=Optimiser(kind=kind))
    state, most = new_state(wanted, 0), 0
    for _ in range(2):  # SOAP's first update only makes its bases
        for parameter in state.model.parameters():
            parameter.grad = torch.full_like(parameter, 1e-3) if parameter.requires_grad else None
        most = most_allocated(lambda: state.optimisers.step(Rates(1.0, 0.9)))
    # Adafactor keeps what it made for one weight until the next one's is there. Where the processor multiplies bfloat16 by itself,
    # oneDNN has copies of its own in Muon's products: 9 % here, none elsewhere.
    more = {"adafactor": 1.6, "muon": 1.15 if precision == "bfloat16" else 1.03}.get(kind, 1.03)
    said = estimate.optimiser_work_bytes(wanted)
    assert said <= most + 100 <= max(more * said, 1000)
    parts = estimate.memory_bytes(wanted)
    assert parts["update"] == max(0, said - parts["activations"] - parts["logits"])


def test_time_and_totals():
    assert RECIPE.tokens() == 10 * 4 * 16
    assert estimate.flops(RECIPE) == estimate.flops_per_token(RECIPE) * 640
    assert estimate.seconds(RECIPE, 1e9) == pytest.approx(estimate.flops(RECIPE) / 1e9)


@pytest.mark.parametrize("kind", ["muon", "adamw", "lion", "adafactor", "soap", "schedule_free"])
def test_memory_parts_of_the_state_are_what_the_state_holds(kind):
    wanted = RECIPE.model_copy(
        update={"optimiser": Optimiser.model_validate({"kind": kind, "learn_block_gains": True})}
    )
    state, parts = new_state(wanted, 0), estimate.memory_bytes(wanted)
    held = sum(t.numel() * 4 for t in state.optimisers.tensors().values())
    assert parts["weights"] == 4 * CONFIG.parameters()
    # Adafactor has one set of columns for what is fused, and the gains' moments besides.
    assert parts["optimiser"] == pytest.approx(held, rel=0.25 if kind == "adafactor" else 0.02)
    assert all(value >= 0 for value in parts.values())


def test_soaps_flops_equal_those_that_torch_counts():
    soap = RECIPE.model_copy(update={"optimiser": Optimiser(kind="soap", soap_every_steps=1)})
    optimisers = new_state(soap, 0).optimisers
    for weight in optimisers.weights:
        weight.parameter.grad = torch.ones_like(weight.parameter)
    optimisers.step(Rates(1.0, 0.9))
    with FlopCounterMode(display=False) as counter:
        optimisers.step(Rates(1.0, 0.9))
    assert counter.get_total_flops() == estimate.optimiser_flops_per_step(soap)


def test_recipe_and_estimate_load_no_torch():
    code = "import sys, aether.stages.train.recipe, aether.stages.train.estimate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_compiling_costs_seconds_and_memory_before_it_saves_any():
    compiled = RECIPE.model_copy(update={"compile": "blocks"})
    plain_s = estimate.flops(RECIPE) / 1e9
    assert estimate.seconds(compiled, 1e9) == estimate.COMPILE_S + plain_s * estimate.COMPILED_STEP_SHARE
    more = set(estimate.memory_bytes(compiled)) - set(estimate.memory_bytes(RECIPE))
    assert more == {"compiler"} and estimate.memory_bytes(compiled)["compiler"] > 0
