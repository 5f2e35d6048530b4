"""Step times, batches and ladders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_plans import demo, run_pilots

from aether.planning.batch import batch_sequences, coarse, settle
from aether.planning.ladder import context_for, ladder
from aether.planning.timing import fit_step_time, step_flops


def test_the_pilots_step_times_are_explained(machine, facts):
    pilots = run_pilots(demo(), machine, facts, rate=8e10)
    found = fit_step_time(machine, pilots)
    for pilot in pilots:
        assert found.seconds(pilot.recipe) == pytest.approx(pilot.seconds_per_step, rel=0.02)
    assert step_flops(pilots[0].recipe) > 0
    assert found.left_out == ()


def test_a_disturbed_pilot_is_left_out_by_name_and_widens(machine, facts):
    pilots = run_pilots(demo(), machine, facts)
    slow = pilots[0].model_copy(update={"seconds_per_step": pilots[0].seconds_per_step * 25})
    calm, disturbed = fit_step_time(machine, pilots), fit_step_time(machine, (slow, *pilots[1:]))
    assert disturbed.left_out[0].startswith("pilot-0 (")
    assert disturbed.relative_spread > calm.relative_spread
    for pilot in pilots:
        assert disturbed.seconds(pilot.recipe) == pytest.approx(pilot.seconds_per_step, rel=0.4)


def test_no_rate_is_above_the_peak(machine, facts):
    fast = tuple(p.model_copy(update={"seconds_per_step": 1e-6}) for p in run_pilots(demo(), machine, facts))
    assert fit_step_time(machine, fast).rate_flops_per_s <= machine.peak_flops_per_s("train")


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
