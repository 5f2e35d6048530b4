"""Failures at scale: the closed form against simulation, against what was published, and against its own optimum."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether.planning.reliability import (
    HOUR_S,
    TrainingJob,
    best_interval_s,
    clusters,
    daly_interval_s,
    estimates,
    optimum_interval_s,
    shares,
    simulate_runs,
    straggler_slowdown,
    young_interval_s,
)
from aether.spec.errors import InputError

DAY_S = 24 * HOUR_S


def job(**more):
    given_ = {"devices": 16_384, "work_s": 54 * DAY_S, "checkpoint_s": 20.0, "restart_s": 600.0}
    return TrainingJob(**(given_ | more))


def test_every_row_is_sourced_and_rates_are_the_published_arithmetic():
    rows = clusters()
    assert rows["llama-3-405b"].device_mtbf_s == pytest.approx(16_384 * 54 * DAY_S / 419)
    assert job().mtbf_s / HOUR_S == pytest.approx(3.09, abs=0.01), "an interruption every three hours"
    rsc = job(rate_from="meta-rsc-1")
    assert rsc.mtbf_s / HOUR_S == pytest.approx(1.8, abs=0.05), "as Kokolis et al. project"
    assert rsc.model_copy(update={"devices": 131_072}).mtbf_s / HOUR_S == pytest.approx(0.23, abs=0.01)
    assert all(row.source and row.as_of for row in rows.values())


@pytest.mark.parametrize("devices", [1024, 16_384, 100_000])
@pytest.mark.parametrize("restart_s", [0.0, 600.0])
def test_closed_form_and_simulation_agree(devices, restart_s):
    one = job(devices=devices, restart_s=restart_s, work_s=20 * DAY_S)
    interval_s = best_interval_s(one)
    walls_s = simulate_runs(one, interval_s, runs=120, seed=5)
    rounded_s = math.ceil(one.work_s / interval_s) * interval_s
    predicted_s = rounded_s / shares(one, interval_s).training
    error_s = walls_s.std(ddof=1) / math.sqrt(len(walls_s))
    assert walls_s.mean() == pytest.approx(predicted_s, abs=3.5 * error_s + 1e-3 * predicted_s)


def test_published_goodput_is_within_reach_of_the_model():
    # Restarts of ten minutes as published for other jobs; checkpoints of five seconds, which nobody published.
    quick = job(checkpoint_s=5.0)
    assert shares(quick, best_interval_s(quick)).training > 0.90
    large = job(devices=100_000)
    found = [
        shares(j, best_interval_s(j)).training for j in (large, large.model_copy(update={"rate_from": "meta-rsc-1"}))
    ]
    assert found[0] > found[1], "the older cluster failed more often"
    published = clusters()["ft-hsdp-100k"].effective_share
    assert published is not None and published < found[1] < 1.25 * published, "optimistic by less than a quarter"


@given(st.floats(0.1, 500), st.floats(600, 1e6))
def test_intervals_approach_each_other_where_checkpoints_are_cheap(checkpoint_s, mtbf_s):
    exact = optimum_interval_s(checkpoint_s, mtbf_s)
    assert 0 < exact <= mtbf_s
    if checkpoint_s < mtbf_s / 50:
        assert daly_interval_s(checkpoint_s, mtbf_s) == pytest.approx(exact, rel=2e-3)
        assert young_interval_s(checkpoint_s, mtbf_s) == pytest.approx(exact, rel=0.2)


def test_a_checkpoint_longer_than_two_failures_has_dalys_other_branch():
    assert daly_interval_s(300.0, 100.0) == 100.0


@settings(deadline=None)
@given(st.integers(64, 100_000), st.floats(0.5, 200), st.floats(0, 1800), st.floats(0.3, 3))
def test_the_optimum_is_one_and_shares_add_up(devices, checkpoint_s, restart_s, factor):
    one = job(devices=devices, checkpoint_s=checkpoint_s, restart_s=restart_s)
    best_s = best_interval_s(one)
    best, other = shares(one, best_s), shares(one, best_s * factor)
    assert sum(best.model_dump().values()) == pytest.approx(1.0)
    assert best.training >= other.training - 1e-12
    assert min(best.model_dump().values()) >= 0


@given(st.integers(1, 50_000), st.integers(1, 20))
def test_more_devices_never_help_goodput(devices, factor):
    few, many = job(devices=devices), job(devices=devices * factor)
    assert shares(many, best_interval_s(many)).training <= shares(few, best_interval_s(few)).training + 1e-12


def test_clustered_failures_change_the_spread_not_the_sanity():
    one = job(work_s=5 * DAY_S)
    interval_s = best_interval_s(one)
    even, bursts = (simulate_runs(one, interval_s, 150, 1, shape) for shape in (1.0, 0.6))
    assert (bursts >= one.work_s).all() and (even >= one.work_s).all()
    assert bursts.std() > even.std()
    assert np.array_equal(even, simulate_runs(one, interval_s, 150, 1))


@pytest.mark.parametrize(("workers", "sigma"), [(1, 0.1), (8, 0.05), (1000, 0.1), (4096, 0.02)])
def test_stragglers_are_the_mean_of_the_maximum(workers, sigma):
    generator = np.random.default_rng(workers)
    drawn = np.array([np.exp(sigma * generator.standard_normal(workers)).max() for _ in range(2000)])
    error = drawn.std(ddof=1) / math.sqrt(len(drawn))
    expected = straggler_slowdown(workers, sigma) * math.exp(sigma**2 / 2)
    assert drawn.mean() == pytest.approx(expected, abs=4 * error)


def test_stragglers_at_the_ends():
    assert straggler_slowdown(100_000, 0.0) == pytest.approx(1.0)
    assert straggler_slowdown(1, 0.3) == pytest.approx(1.0, rel=1e-6)
    assert 1.08 < straggler_slowdown(100_000, 0.02) < 1.10


def test_estimates_carry_their_sources_and_intervals():
    found = {e.metric: e for e in estimates(job(devices=100_000, work_s=3 * DAY_S), sigma=0.02, runs=50)}
    goodput, wall = found["goodput"], found["wall_clock"]
    assert goodput.interval is not None and goodput.value is not None
    assert goodput.interval.low <= goodput.value <= goodput.interval.high
    assert wall.interval is not None and wall.value is not None and wall.interval.low < wall.value < wall.interval.high
    assert goodput.binding == "restarts"
    assert any("2407.21783" in term.source for term in goodput.terms)
    own = {e.metric: e for e in estimates(job(device_mtbf_s=1e9, work_s=DAY_S), runs=20)}
    assert own["goodput"].interval is None and own["goodput"].terms[0].kind == "measured"


def test_what_would_never_end_is_refused():
    with pytest.raises(InputError, match="would not end"):
        simulate_runs(job(devices=1_000_000, restart_s=40_000.0), 60.0)
    with pytest.raises(InputError, match="interval_s"):
        shares(job(), 0.0)
    assert shares(job(), 1e9).training == 0.0


@given(st.integers(1, 4096), st.floats(1e4, 1e7), st.floats(0, 600), st.floats(0, 3600))
def test_the_expected_time_lies_in_its_interval_and_the_last_stretch_is_no_longer_than_the_work(
    devices, work_s, checkpoint_s, restart_s
):
    job = TrainingJob(devices=devices, work_s=work_s, checkpoint_s=checkpoint_s, restart_s=restart_s)
    time = next(e for e in estimates(job, runs=20) if e.metric == "wall_clock")
    assert time.value is not None and time.interval is not None
    assert time.interval.low <= time.value <= time.interval.high
    undisturbed = job.model_copy(update={"device_mtbf_s": 1e15})
    interval_s = best_interval_s(job)
    cycles = max(1, math.ceil(work_s / interval_s))
    assert simulate_runs(undisturbed, interval_s, 2) == pytest.approx(work_s + cycles * checkpoint_s)
