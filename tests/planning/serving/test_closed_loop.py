"""The closed loop: requests are conserved, waiting grows with clients, and one client sees the sum of its steps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether.knowledge.library import device
from aether.planning.serving.closed_loop import FRONT_S, ClosedLoop, closed_loop
from aether.planning.serving.pools import Pools, pool_times
from aether.planning.serving.setup import ServingSetup
from aether.planning.serving.step import StepModel
from aether.spec.architecture import Architecture, Attention, FeedForward, LayerGroup

ARCH = Architecture(
    name="dense",
    vocab_size=32_000,
    hidden_size=4096,
    groups=(LayerGroup(count=32, mixer=Attention(heads=32, kv_heads=8, head_size=128), mlp=FeedForward(size=14_336)),),
)
MODEL = StepModel(ServingSetup(architecture=ARCH, device=device("H100-SXM-80GB")))


def test_one_client_sees_its_own_steps():
    seen = closed_loop(MODEL, ClosedLoop(prompt_tokens=1000, output_tokens=101, concurrency=1, rounds=3))
    assert seen.mean_ttft_s == pytest.approx(FRONT_S + MODEL.seconds(1000, 500, 0, 0), rel=1e-6)
    assert seen.mean_token_s == pytest.approx(MODEL.seconds(0, 0, 1, 1051), rel=0.02)
    assert seen.end_s == pytest.approx(3 * (seen.mean_ttft_s + 100 * seen.mean_token_s), rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    clients=st.integers(1, 200),
    prompt=st.integers(1, 5000),
    output=st.integers(1, 300),
    rounds=st.integers(1, 4),
    spread=st.sampled_from([0.0, 0.2]),
)
def test_every_request_is_answered_once(clients, prompt, output, rounds, spread):
    traffic = ClosedLoop(prompt_tokens=prompt, output_tokens=output, concurrency=clients, rounds=rounds, spread=spread)
    seen = closed_loop(MODEL, traffic)
    assert seen.requests == pytest.approx(clients * rounds)
    assert len(seen.ttft_s) == clients * rounds
    if spread == 0:
        assert seen.output_tokens == pytest.approx(clients * rounds * output)
    assert seen.running <= clients + 1e-6
    assert seen.ttft_quantile_s(0.5) <= seen.ttft_quantile_s(0.99)


def test_littles_law():
    traffic = ClosedLoop(prompt_tokens=1000, output_tokens=200, concurrency=8, rounds=10)
    seen = closed_loop(MODEL, traffic)
    each = seen.mean_ttft_s + 199 * seen.mean_token_s
    assert seen.requests / seen.end_s * each == pytest.approx(8, rel=0.03)


def test_waiting_grows_with_clients_and_same_seed_gives_the_same():
    def seen(clients: int, seed: int = 0):
        traffic = ClosedLoop(prompt_tokens=4000, output_tokens=100, concurrency=clients, spread=0.2, seed=seed)
        return closed_loop(MODEL, traffic)

    assert seen(2).mean_ttft_s < seen(32).mean_ttft_s < seen(256).mean_ttft_s
    assert seen(2).mean_token_s < seen(32).mean_token_s
    assert seen(32).ttft_s == seen(32).ttft_s
    assert seen(32).ttft_s != seen(32, seed=1).ttft_s


def test_cached_prefixes_shorten_the_first_token():
    cached = StepModel(MODEL.setup.model_copy(update={"prefix_share": 0.75}))
    traffic = ClosedLoop(prompt_tokens=8000, output_tokens=50, concurrency=1)
    assert closed_loop(cached, traffic).mean_ttft_s < 0.5 * closed_loop(MODEL, traffic).mean_ttft_s


def test_pools_decode_without_prompts_in_the_way():
    traffic = ClosedLoop(prompt_tokens=4000, output_tokens=200, concurrency=32)
    together = closed_loop(MODEL, traffic)
    apart = pool_times(Pools(MODEL, MODEL, prefill_replicas=2, decode_replicas=1), traffic)
    assert apart.token_s < together.mean_token_s
    assert apart.token_s >= MODEL.seconds(0, 0, 1, 4100)
    assert 0 < apart.prefill_busy <= 1 and 0 < apart.decoding <= 32


def test_a_starved_prefill_pool_makes_clients_wait():
    traffic = ClosedLoop(prompt_tokens=8000, output_tokens=50, concurrency=64)
    one = pool_times(Pools(MODEL, MODEL, prefill_replicas=1), traffic)
    eight = pool_times(Pools(MODEL, MODEL, prefill_replicas=8), traffic)
    assert one.prefill_busy > 0.95 and one.ttft_s > 5 * eight.ttft_s
    alone = MODEL.seconds(8000, 4000, 0, 0)
    assert one.ttft_s == pytest.approx(64 * alone, rel=0.15)


def test_more_clients_than_are_simulated_stand_for_each_other():
    traffic = ClosedLoop(prompt_tokens=500, output_tokens=50, concurrency=4000, rounds=5)
    seen = closed_loop(MODEL, traffic)
    assert seen.requests == pytest.approx(20_000)
    assert len(seen.ttft_s) < 4000


def test_clients_do_not_stay_in_step():
    """Small prompts of many clients fit one step: if all answers came at once, each round would wait for all prompts of it."""
    traffic = ClosedLoop(prompt_tokens=500, output_tokens=500, concurrency=16, spread=0.1, rounds=10)
    alone = MODEL.seconds(500, 250, 0, 0)
    assert closed_loop(MODEL, traffic).ttft_quantile_s(0.5) < 4 * alone


def test_gaps_hold_the_prompts_of_others():
    traffic = ClosedLoop(prompt_tokens=8000, output_tokens=100, concurrency=16, spread=0.2)
    separate = StepModel(MODEL.setup.model_copy(update={"engine": "sglang"}))
    for model in (MODEL, separate):
        seen = closed_loop(model, traffic)
        assert seen.gap_quantile_s(0.99) > 3 * seen.gap_quantile_s(0.1)
        assert seen.gap_quantile_s(0.1) <= seen.mean_token_s <= seen.gap_quantile_s(1.0)
        gaps = sum(step.times * step.live for step in seen.steps)
        assert gaps == pytest.approx(seen.output_tokens - seen.requests)


def test_a_prompt_is_read_by_one_attention_group():
    groups = StepModel(MODEL.setup.model_copy(update={"attn_dp": 4}))
    one = ClosedLoop(prompt_tokens=4000, output_tokens=2, concurrency=1, rounds=1)
    assert closed_loop(groups, one).mean_ttft_s == pytest.approx(FRONT_S + groups.seconds(16_000, 2000, 0, 0), rel=1e-6)


def test_an_engine_that_looks_seldom_keeps_new_requests_waiting():
    traffic = ClosedLoop(prompt_tokens=512, output_tokens=200, concurrency=8, spread=0.2)
    setup = MODEL.setup.model_copy(update={"engine": "sglang"})
    seen = {n: closed_loop(StepModel(setup.model_copy(update={"intake_steps": n})), traffic) for n in (1, 30)}
    token_s = seen[1].mean_token_s
    later_s = seen[30].mean_ttft_s - seen[1].mean_ttft_s
    # On average half an interval, less what prompts of others shorten it by; never more than a whole one.
    assert 5 * token_s < later_s < 30 * token_s
    assert seen[30].requests == seen[1].requests == 80


def test_looking_at_each_step_is_the_same_as_not_being_told():
    traffic = ClosedLoop(prompt_tokens=512, output_tokens=20, concurrency=4)
    alone = closed_loop(StepModel(MODEL.setup.model_copy(update={"intake_steps": 1})), traffic)
    assert alone.mean_ttft_s == closed_loop(MODEL, traffic).mean_ttft_s
