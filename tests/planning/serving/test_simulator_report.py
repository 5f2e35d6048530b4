"""Summaries, intervals, goodput, sizing and cost of simulated runs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.planning.serving.arrivals import Clients, Fixed, Geometric, Poisson, Trace, Traffic
from aether.planning.serving.simulator import Pool, simulate
from aether.planning.serving.simulator_replica import EngineLimits
from aether.planning.serving.simulator_report import (
    Limits,
    Quantiles,
    batch_means,
    forecast,
    replicas_needed,
    summarise,
    usd_per_million_tokens,
)
from aether.spec.errors import InputError


def linear(prompt, _seen, decoding, _positions):
    return 0.004 + 2e-5 * prompt + 2e-4 * decoding


POOL = Pool(linear, EngineLimits(max_sequences=32))


def load(rate=10.0, requests=600):
    return Traffic(
        arrivals=Poisson(requests_per_s=rate), prompt=Geometric(mean=100), output=Geometric(mean=30), requests=requests
    )


@pytest.mark.parametrize("rate", [4.0, 25.0])
def test_littles_law_and_conservation(rate):
    found = summarise(simulate(POOL, load(rate, 4000)), warm_up=0.1)
    assert found.requests == 3600
    assert found.requests_per_s == pytest.approx(rate, rel=0.06)
    # L = lambda W over a window that is long against a request.
    assert found.in_system == pytest.approx(found.requests_per_s * found.e2e_s.mean, rel=0.03)
    assert found.output_tokens_per_s == pytest.approx(30 * rate, rel=0.08)
    assert found.prompt_tokens_per_s == pytest.approx(100 * rate, rel=0.08)
    assert found.waiting <= found.in_system


def test_a_good_request_meets_every_limit():
    outcome = simulate(POOL, load(25))
    free = summarise(outcome)
    assert free.good_share == 1.0 and free.goodput_per_s == free.requests_per_s
    half = summarise(outcome, Limits(ttft_s=free.ttft_s.p50))
    assert half.good_share == pytest.approx(0.5, abs=0.01)
    both = summarise(outcome, Limits(ttft_s=free.ttft_s.p50, e2e_s=free.e2e_s.p50))
    assert both.good_share < half.good_share
    assert both.goodput_per_s == pytest.approx(both.good_share * both.requests_per_s)
    assert free.token_s is not None
    assert summarise(outcome, Limits(token_s=free.token_s.p95)).good_share == pytest.approx(0.95, abs=0.02)


def test_one_token_answers_have_no_gaps():
    found = summarise(simulate(POOL, Trace(rows=((0.0, 5, 1), (1.0, 5, 1)))), Limits(token_s=1e-9), warm_up=0)
    assert found.gap_s is None and found.token_s is None and found.good_share == 1.0


def test_batch_means_cover_the_truth():
    hits = 0
    for seed in range(200):
        interval = batch_means(np.random.default_rng(seed).exponential(1.0, 2000), 0.5)
        assert interval is not None
        hits += interval.low <= np.log(2) <= interval.high
    assert 178 <= hits <= 200
    assert batch_means(np.arange(19.0), 0.5) is None


def test_a_forecast_has_an_interval_over_seeds():
    found = {e.metric: e for e in forecast(POOL, load(), Limits(ttft_s=1.0), seeds=range(4))}
    assert {"ttft_p99", "itl_p50", "e2e_p95", "throughput", "goodput", "waiting"} <= set(found)
    for estimate in found.values():
        assert estimate.value is not None and estimate.interval is not None
        assert estimate.interval.low <= estimate.value <= estimate.interval.high
    assert found["ttft_p50"].value < found["ttft_p99"].value
    alone = forecast(POOL, load(), seeds=(0,))
    assert all(e.interval is None for e in alone)


def test_the_least_number_of_replicas_that_is_enough():
    limits = Limits(ttft_s=0.1, share=0.95)
    found = replicas_needed(POOL, load(400, 1500), limits, seeds=(0,))
    shares = dict(found.tried)
    assert found.replicas is not None and found.replicas > 1
    assert shares[found.replicas] >= 0.95 > shares[found.replicas - 1]
    assert str(found.replicas) in found.because


def test_what_no_number_of_replicas_can_do_is_said():
    found = replicas_needed(POOL, load(5, 100), Limits(ttft_s=1e-4), most=4, seeds=(0,))
    assert found.replicas is None and "faster step" in found.because


def test_cost_is_the_price_over_the_throughput_or_nothing():
    steady = Traffic(arrivals=Clients(clients=16), prompt=Fixed(tokens=1), output=Fixed(tokens=50), requests=640)
    found = summarise(simulate(POOL, steady))
    assert usd_per_million_tokens(found, POOL, 8, None) is None
    cost = usd_per_million_tokens(found, POOL, 8, 2.0)
    assert cost == pytest.approx(16.0 / 3600 / found.output_tokens_per_s * 1e6)
    with pytest.raises(InputError, match="usd_per_device_hour"):
        usd_per_million_tokens(found, POOL, 8, -1.0)


def test_a_warm_up_is_a_share():
    with pytest.raises(InputError, match="warm_up"):
        summarise(simulate(POOL, load(5, 10)), warm_up=1.0)


@given(st.lists(st.tuples(st.floats(0.001, 10), st.integers(0, 5)), min_size=1, max_size=40))
def test_quantiles_of_counted_values_are_those_of_all_of_them(pairs):
    values, many = np.array([value for value, _ in pairs]), np.array([count for _, count in pairs])
    whole, counted = Quantiles.of(np.repeat(values, many)), Quantiles.counted(values, many)
    assert (whole is None) == (counted is None)
    if whole and counted:
        assert (counted.p50, counted.p95, counted.p99) == (whole.p50, whole.p95, whole.p99)
        assert counted.mean == pytest.approx(whole.mean)
