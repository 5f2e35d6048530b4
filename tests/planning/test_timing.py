"""Step times, batches and ladders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_plans import demo, run_pilots, toy_machine

from aether.planning.batch import batch_sequences, coarse, settle
from aether.planning.facts import PilotResult
from aether.planning.ladder import context_for, decoder, ladder
from aether.planning.timing import LEAST_SPREAD, fit_step_time
from aether.stages.train.estimate import flops_per_step
from aether.stages.train.recipe import TrainRecipe


def _recipe(width: int, layers: int, windows: int, steps: int) -> TrainRecipe:
    shape = decoder(width, layers, 4096, 256)
    return TrainRecipe(model=shape, steps=steps, batch_sequences=windows, precision="float32")


def test_the_pilots_step_times_are_explained(machine, facts):
    pilots = run_pilots(demo(), machine, facts, rate=8e10)
    found = fit_step_time(machine, pilots)
    for pilot in pilots:
        assert found.seconds(pilot.recipe) == pytest.approx(pilot.seconds_per_step, rel=0.1)
    assert found.left_out == ()


def test_pilots_of_one_batch_speak_for_a_larger_one():
    """Measured by a build on two cores of a Zen 3: what tokens cost had been taken for calls of layers, 0.158 s in place of 0.212."""
    zen3 = toy_machine(
        matmul_flops_per_s={"float32": 1.34e11},
        matmul_by_size={"float32": {"128": 8.93e10, "256": 1.25e11, "512": 1.34e11, "1024": 1.21e11}},
        memory_bandwidth_bytes_per_s=3.07e10,
        softmax_values_per_s={"float32": 1.4e9},
        layer_overhead_s=1.049e-4,
    )
    measured = {(64, 4, 72): 0.0818, (64, 4, 280): 0.0732, (128, 2, 140): 0.0991, (128, 3, 280): 0.1442}
    known = {"loss": 5.0, "memory_bytes": 600_000_000}
    pilots = [
        PilotResult(
            name=f"{width}x{layers}-{steps}", recipe=_recipe(width, layers, 4, steps), seconds_per_step=took, **known
        )
        for (width, layers, steps), took in measured.items()
    ]
    main = _recipe(64, 3, 16, 1500)
    found = fit_step_time(zen3, pilots)
    assert found.seconds(main) == pytest.approx(0.2116, rel=0.1)
    assert found.spread(main) < 0.2


def test_a_step_unlike_the_pilots_is_less_sure(machine, facts):
    pilots = run_pilots(demo(), machine, facts)
    found = fit_step_time(machine, pilots)
    near, far = pilots[-1].recipe, _recipe(1024, 24, 64, 100)
    assert found.spread(far) > found.spread(near) >= LEAST_SPREAD


def test_a_disturbed_pilot_is_left_out_by_name_and_widens(machine, facts):
    pilots = run_pilots(demo(), machine, facts)
    slow = pilots[0].model_copy(update={"seconds_per_step": pilots[0].seconds_per_step * 25})
    calm, disturbed = fit_step_time(machine, pilots), fit_step_time(machine, (slow, *pilots[1:]))
    assert disturbed.left_out[0].startswith("pilot-0 (")
    for pilot in pilots:
        assert disturbed.spread(pilot.recipe) > calm.spread(pilot.recipe)
        assert disturbed.seconds(pilot.recipe) == pytest.approx(pilot.seconds_per_step, rel=0.4)


def test_no_rate_is_above_the_peak(machine, facts):
    fast = tuple(p.model_copy(update={"seconds_per_step": 1e-6}) for p in run_pilots(demo(), machine, facts))
    for pilot in fast:
        least_s = flops_per_step(pilot.recipe) / machine.peak_flops_per_s("train")
        assert fit_step_time(machine, fast).seconds(pilot.recipe) >= least_s


@given(st.floats(1, 1e12), st.integers(64, 8192))
def test_batches_are_powers_of_two(tokens, context):
    sequences = batch_sequences(tokens, context)
    assert sequences >= 1 and sequences & (sequences - 1) == 0


@given(st.floats(1.0, 1e9))
def test_coarse_steps_never_exceed_and_lose_little(steps):
    rounded = coarse(steps)
    assert rounded <= max(1.0, steps)
    assert rounded >= 0.9 * steps or steps < 10


def test_a_batch_settles():
    assert settle(lambda n: 2e6, 256) == batch_sequences(2e6, 256)


def test_the_ladder_is_in_order_and_in_bounds():
    shapes = ladder(4096, 256, 1e6, 1e7)
    sizes = [s.parameters() for s in shapes]
    assert sizes == sorted(sizes) and len(sizes) > 10
    assert all(1e6 <= size <= 1e7 for size in sizes)
    assert all(s.heads * s.head_size == s.hidden_size for s in shapes)
    assert len(ladder(4096, 256, 1e3, 1e4)) == 1


def test_context_holds_a_request():
    assert context_for(128, 24) == 256
    assert context_for(300, 100) == 512
    assert context_for(10**6, 1) == 4096
