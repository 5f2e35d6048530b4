"""The probe, run for real but briefly: every number is there, has an interval, and is of the right order."""

import time

import pytest

from aether.hardware.machine import Machine
from aether.hardware.probe import ProbeRecipe, run
from aether.hardware.sampling import Sampled, Timer
from aether.spec.run import StepContext


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    out = tmp_path_factory.mktemp("probe")
    told = []
    recipe = ProbeRecipe.of_this_machine().model_copy(update={"seconds_per_rate": 0.005, "cores": 1})
    evidence = run(recipe, StepContext("probe", out, {}, 0, 1, told.append))
    return Machine.read(out), evidence, told


def test_rates_have_intervals_and_are_of_the_machine(probed):
    found, evidence, told = probed
    assert {"float32", "bfloat16"} <= set(found.matmul_flops_per_s)
    assert all(rate > 1e8 for rate in found.matmul_flops_per_s.values())
    assert found.memory_bandwidth_bytes_per_s > 1e8
    assert 1e-6 < found.launch_overhead_s < 0.5
    assert found.runtime_memory_bytes > 5e7
    assert all(e.interval.low <= e.value <= e.interval.high for e in evidence)
    assert all(e.repeats == "machine" and e.kind == "measured" and e.n >= 5 for e in evidence)
    assert told[-1].done == told[-1].total == 4


def test_the_served_floor_is_above_the_bare_step(probed):
    found, _, _ = probed
    assert found.served_ttft_p50_s > found.launch_overhead_s / 10
    assert found.served_ttft_p99_s >= found.served_ttft_p50_s


def test_the_recipe_names_the_machine():
    assert ProbeRecipe.of_this_machine() == ProbeRecipe.of_this_machine()


def test_sampled_intervals():
    sampled = Sampled.of([float(x) for x in range(101)])
    assert sampled.value == 50.0
    assert sampled.interval.low < 50 < sampled.interval.high
    rate = sampled.scaled(100.0)
    assert rate.value == 2.0
    assert rate.interval.low < 2.0 < rate.interval.high
    tail = Sampled.of_quantile([float(x) for x in range(1000)], 0.99)
    assert tail.value == 990.0
    assert tail.interval.low < 990 < tail.interval.high


def test_the_timer_repeats_at_least_five_times():
    calls = []
    taken = Timer(0.0, lambda: None).samples(lambda: calls.append(time.perf_counter()))
    assert taken.n == 5
    assert len(calls) == 7
