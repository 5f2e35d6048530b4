"""Update times before any pilot: the terms are what the probe's numbers make them."""

import pytest
from toy_plans import demo, toy_facts, toy_machine

from aether.planning.ladder import decoder
from aether.planning.pilots import pilot_steps
from aether.planning.timing import fit_step_time
from aether.planning.unproven import counted_on, work_of
from aether.stages.train.estimate import flops_per_step
from aether.stages.train.recipe import TrainRecipe

SIZES = {"bfloat16": {"128": 1e11, "256": 2e11, "1024": 4e11}, "float32": {"128": 1e11, "1024": 1e11}}


def recipe(width: int = 128, layers: int = 2, windows: int = 32) -> TrainRecipe:
    return TrainRecipe(model=decoder(width, layers, 4096, 256), steps=10, batch_sequences=windows, precision="bfloat16")


def test_each_term_follows_its_own_rate():
    slow = toy_machine(matmul_by_size=SIZES, softmax_values_per_s={"bfloat16": 1e9})
    terms = counted_on(slow).seconds(recipe())
    fast = slow.model_copy(
        update={
            "matmul_by_size": {d: {e: 2 * r for e, r in by.items()} for d, by in SIZES.items()},
            "memory_bandwidth_bytes_per_s": 4 * slow.memory_bandwidth_bytes_per_s,
            "softmax_values_per_s": {"bfloat16": 8e9},
            "layer_overhead_s": slow.layer_overhead_s / 16,
        }
    )
    shares = [after / before for before, after in zip(terms, counted_on(fast).seconds(recipe()), strict=True)]
    assert shares == pytest.approx([1 / 2, 1 / 4, 1 / 8, 1 / 16])
    assert fit_step_time(slow, ()).seconds(recipe()) == pytest.approx(sum(terms))


def test_products_have_the_flops_that_are_counted_elsewhere():
    """But for the scores that a causal mask hides, which products make all the same."""
    one = recipe()
    counted = sum(flops for _, flops in work_of(one).products)
    hidden = 6.0 * one.batch_tokens() * one.model.heads * one.model.head_size * one.model.layers
    assert counted - hidden * (one.model.context_tokens - 1) == pytest.approx(flops_per_step(one), rel=1e-9)


def test_rates_lie_between_the_measured_ones_and_fall_below_them():
    machine = toy_machine(matmul_by_size=SIZES)
    rates = [machine.rate_between("bfloat16", edge) for edge in (64, 128, 181.02, 256, 512, 4096)]
    assert rates == pytest.approx([5e10, 1e11, 1.4142e11, 2e11, 2.8284e11, 4e11], rel=1e-3)
    assert toy_machine().rate_between("bfloat16", 64) == toy_machine().matmul_flops_per_s["bfloat16"]


def test_fast_products_do_not_make_the_rest_fast():
    """Ten times the rate of products, as AMX has, is worth far less than ten in an update."""
    machine = toy_machine(matmul_by_size=SIZES)
    amx = machine.model_copy(
        update={"matmul_by_size": {d: {e: 10 * r for e, r in by.items()} for d, by in SIZES.items()}}
    )
    gained = fit_step_time(machine, ()).seconds(recipe()) / fit_step_time(amx, ()).seconds(recipe())
    assert 1.2 < gained < 4


def test_an_accelerator_by_its_data_sheet_keeps_the_wide_interval():
    assert fit_step_time(toy_machine(accelerator="H100"), ()).spread(recipe()) == pytest.approx(0.693, abs=0.01)
    assert fit_step_time(toy_machine(), ()).spread(recipe()) < 0.693


def test_pilots_take_the_time_that_they_may():
    """By the times that the probe says, they take less than a sixth of the build, and more than a fiftieth."""
    for machine in (toy_machine(), toy_machine(matmul_by_size=SIZES, matmul_flops_per_s={"bfloat16": 4e12})):
        time = fit_step_time(machine, ())
        steps = [TrainRecipe.model_validate(step.config) for step in pilot_steps(demo(), machine, toy_facts())]
        taken = sum(time.seconds(one) * one.steps for one in steps)
        assert 600 / 50 < taken < 600 / 6
