"""The simulator against queueing theory, against itself step by step, and for what must never happen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether.planning.serving.arrivals import Bursty, Clients, Fixed, Geometric, Poisson, Trace, Traffic, Uniform
from aether.planning.serving.simulator import Handoff, Pool, simulate
from aether.planning.serving.simulator_replica import EngineLimits
from aether.spec.errors import InputError

ONE = EngineLimits(max_sequences=1, step_tokens=1_000_000)


def constant(_p, _c, _d, _x):
    return 0.01


def linear(prompt, seen, decoding, positions):
    return 0.004 + 2e-5 * prompt + 1e-9 * prompt * seen + 2e-4 * decoding + 1e-8 * decoding * positions


def traffic(rate=10.0, prompt=200, output=30, requests=400, **more):
    return Traffic(
        arrivals=Poisson(requests_per_s=rate),
        prompt=Uniform(least=1, most=prompt),
        output=Uniform(least=1, most=output),
        requests=requests,
        **more,
    )


def batch_mean_and_error(values):
    batches = np.array([part.mean() for part in np.array_split(values[len(values) // 20 :], 40)])
    return batches.mean(), batches.std(ddof=1) / np.sqrt(len(batches))


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_one_slot_and_one_token_is_an_m_d_1_queue(load):
    arrivals = Traffic(
        arrivals=Poisson(requests_per_s=load * 100), prompt=Fixed(tokens=7), output=Fixed(tokens=1), requests=16_000
    )
    found = simulate(Pool(constant, ONE), arrivals, seed=1)
    mean, error = batch_mean_and_error(found.waited_s)
    assert mean == pytest.approx(load * 0.01 / (2 * (1 - load)), abs=4 * error)
    assert error < 0.15 * mean
    assert found.busy_share == pytest.approx(load, rel=0.03)


@pytest.mark.parametrize("load", [0.4, 0.7])
def test_one_slot_and_geometric_answers_are_an_m_m_1_queue(load):
    # A geometric number of equal steps is the discrete exponential; Pollaczek-Khinchine is exact for it.
    tokens, step_s = 20.0, 0.01
    service_s = tokens * step_s
    arrivals = Traffic(
        arrivals=Poisson(requests_per_s=load / service_s),
        prompt=Fixed(tokens=1),
        output=Geometric(mean=tokens),
        requests=6_000,
    )
    found = simulate(Pool(constant, ONE), arrivals, seed=2)
    mean, error = batch_mean_and_error(found.waited_s)
    second = step_s**2 * (2 * tokens**2 - tokens)
    exact = load / service_s * second / (2 * (1 - load))
    assert mean == pytest.approx(exact, abs=4 * error)
    assert exact == pytest.approx(load * service_s / (1 - load), rel=0.03), "M/M/1 within the discreteness"
    assert error < 0.15 * mean


def test_a_single_request_is_the_sum_of_its_steps():
    trace = Trace(rows=((0.5, 300, 20),))
    found = simulate(Pool(linear, EngineLimits(step_tokens=256, max_sequences=8)), trace)
    chunks = linear(256, 128, 0, 0) + linear(44, 256 + 22, 0, 0)
    decode = [linear(0, 0, 1, 300 + k) for k in range(1, 20)]
    assert found.ttft_s[0] == pytest.approx(chunks)
    assert found.gaps_s[0] == pytest.approx(decode)
    assert found.e2e_s[0] == pytest.approx(chunks + sum(decode))


def test_chunks_bound_the_gap_of_others():
    trace = Trace(rows=((0.0, 10, 200), (0.05, 4000, 2)))
    whole = simulate(Pool(linear, EngineLimits()), trace)
    chunked = simulate(Pool(linear, EngineLimits(chunk_tokens=256)), trace)
    assert whole.gaps_s[0].max() > 0.08 > 0.012 > chunked.gaps_s[0].max()
    assert chunked.ttft_s[1] > whole.ttft_s[1]


def test_cached_prefixes_are_not_computed_again():
    plain = simulate(Pool(linear, ONE), Trace(rows=((0.0, 1000, 5),)))
    known = simulate(Pool(linear, ONE), Trace(rows=((0.0, 1000, 5),), prefix_share=0.75))
    assert known.ttft_s[0] == pytest.approx(linear(250, 875, 0, 0))
    assert known.gaps_s[0] == pytest.approx(plain.gaps_s[0])


limits = st.builds(
    lambda sequences, more, chunk, block, blocks: EngineLimits(
        max_sequences=sequences,
        step_tokens=sequences + more,
        chunk_tokens=chunk,
        block_tokens=block,
        cache_blocks=-(-230 // block) + blocks,
    ),
    st.integers(1, 20),
    st.integers(0, 300),
    st.one_of(st.none(), st.integers(1, 100)),
    st.integers(1, 40),
    st.integers(0, 40),
)


@settings(max_examples=25, deadline=None)
@given(limits, st.floats(1, 300), st.integers(0, 99), st.integers(1, 3), st.floats(0, 0.9))
def test_every_request_gets_each_of_its_tokens_once_in_order(found_limits, rate, seed, replicas, share):
    load = traffic(rate=rate, requests=60, prefix_share=share)
    pool = Pool(linear, found_limits, replicas)
    for deployment in (pool, Handoff(pool, pool, 0.001, 1e-6)):
        found = simulate(deployment, load, seed)
        asked = load.draw(seed)
        assert found.output_tokens.tolist() == [r.output_tokens for r in asked]
        assert all((gaps > 0).all() for gaps in found.gaps_s)
        assert (found.ttft_s > 0).all() and (found.waited_s >= 0).all()
        assert found.arrival_s.tolist() == [r.arrival_s for r in asked]
        assert 0 < found.busy_share <= 1 + 1e-9


@settings(max_examples=12, deadline=None)
@given(st.floats(0.5, 12), st.floats(1.1, 4), st.integers(0, 99))
def test_latency_grows_with_load(rate, factor, seed):
    pool = Pool(linear, EngineLimits(max_sequences=16, step_tokens=512))
    calm, busy = (simulate(pool, traffic(rate=r, requests=300), seed) for r in (rate, rate * factor))
    # Same requests, closer together. Which steps they share changes, so a request may gain a little; the mean must not.
    assert busy.e2e_s.mean() >= 0.98 * calm.e2e_s.mean()
    assert busy.ttft_s.mean() >= 0.95 * calm.ttft_s.mean()


def test_short_cache_preempts_and_still_answers():
    load = traffic(rate=100, requests=200)
    wide, short = (
        simulate(Pool(linear, EngineLimits(max_sequences=64, cache_blocks=blocks)), load) for blocks in (None, 40)
    )
    assert wide.preemptions == 0 < short.preemptions
    assert short.e2e_s.mean() > wide.e2e_s.mean()
    with pytest.raises(InputError, match="needs 15 blocks"):
        simulate(Pool(linear, EngineLimits(cache_blocks=14)), Trace(rows=((0.0, 200, 30),)))


def test_a_closed_loop_keeps_its_clients_and_no_more():
    load = Traffic(
        arrivals=Clients(clients=4, think_s=0.2), prompt=Fixed(tokens=50), output=Fixed(tokens=9), requests=80
    )
    pool = Pool(linear, EngineLimits())
    for deployment in (pool, Handoff(pool, pool, 0.01, 0.0)):
        found = simulate(deployment, load)
        ends = np.array([t[-1] for t in found.tokens_s])
        for at in found.arrival_s:
            assert ((found.arrival_s <= at) & (ends > at)).sum() <= 4
        later = np.sort(found.arrival_s)[4:]
        assert later == pytest.approx(np.sort(ends)[: len(later)] + 0.2)


def test_saturated_clients_get_the_steady_state():
    load = Traffic(arrivals=Clients(clients=8), prompt=Fixed(tokens=1), output=Fixed(tokens=100), requests=400)
    found = simulate(Pool(constant, EngineLimits()), load)
    assert found.output_tokens.sum() / found.end_s == pytest.approx(8 / 0.01, rel=0.01)


def test_least_loaded_beats_round_robin_on_uneven_work():
    load = Traffic(
        arrivals=Bursty(requests_per_s=7, variation=2),
        prompt=Fixed(tokens=50),
        output=Geometric(mean=60),
        requests=2000,
    )
    limits = EngineLimits(max_sequences=2)
    turns, least = (
        simulate(Pool(constant, limits, 4, routing), load).ttft_s.mean() for routing in ("round_robin", "least_loaded")
    )
    assert least < 0.8 * turns


def test_two_replicas_are_no_slower_than_one_and_one_of_many_is_one():
    load = traffic(rate=15)
    one, two = (simulate(Pool(linear, EngineLimits(max_sequences=8), n), load) for n in (1, 2))
    assert two.e2e_s.mean() < one.e2e_s.mean()
    single = Trace(rows=((0.0, 100, 10),))
    assert simulate(Pool(linear, ONE, 5), single).e2e_s == pytest.approx(simulate(Pool(linear, ONE), single).e2e_s)


def test_thousands_of_requests_take_a_moment():
    import time

    load = traffic(rate=12, prompt=600, output=200, requests=3000)
    started = time.process_time()
    found = simulate(Pool(linear, EngineLimits()), load)
    assert found.requests == 3000
    assert time.process_time() - started < 3.0


def test_bad_limits_are_named():
    with pytest.raises(InputError, match="step_tokens = 4"):
        EngineLimits(max_sequences=8, step_tokens=4)
    with pytest.raises(InputError, match="replicas = 0"):
        Pool(linear, ONE, 0)
    with pytest.raises(InputError, match="handoff"):
        Handoff(Pool(linear, ONE), Pool(linear, ONE), -1.0, 0.0)


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("blocks", [None, 30])
def test_coasting_takes_the_same_steps_as_one_by_one(replicas, blocks):
    limits = EngineLimits(max_sequences=8, step_tokens=256, cache_blocks=blocks)
    found = simulate(Pool(linear, limits, replicas), traffic(rate=8.0 * replicas, output=120), seed=5)
    slow = simulate(Pool(linear, limits, replicas), traffic(rate=8.0 * replicas, output=120), seed=5, coasts=False)
    assert found.preemptions == slow.preemptions and bool(found.preemptions) == (blocks is not None)
    assert found.busy_share == slow.busy_share
    for fast_s, slow_s in zip(found.tokens_s, slow.tokens_s, strict=True):
        assert np.array_equal(fast_s, slow_s)
