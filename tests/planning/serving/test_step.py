"""The step model against hand arithmetic, its own table, and what physics demands."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether.knowledge.library import device, devices
from aether.planning.serving.efficiency import GENERATIONS, NEAREST, UNMEASURED, Roofline, coefficients, generation
from aether.planning.serving.operators import ExpertPart, operators
from aether.planning.serving.rooflines import (
    Rates,
    activated_experts,
    peak_flops_per_s,
    product_s,
    reduce_s,
    smooth_max,
)
from aether.planning.serving.setup import MULTIPLIED_IN, STORED_BYTES, Precision, ServingSetup
from aether.planning.serving.step import StepModel, step_time
from aether.spec.architecture import Architecture, Attention, Experts, FeedForward, LatentAttention, LayerGroup
from aether.spec.errors import InputError

DENSE = Architecture(
    name="dense",
    vocab_size=32_000,
    hidden_size=4096,
    groups=(LayerGroup(count=32, mixer=Attention(heads=32, kv_heads=8, head_size=128), mlp=FeedForward(size=14_336)),),
)
SPARSE = Architecture(
    name="sparse",
    vocab_size=32_000,
    hidden_size=4096,
    groups=(
        LayerGroup(
            count=32,
            mixer=LatentAttention(heads=32, query_rank=1536, kv_rank=512, rope_size=64, nope_size=128, value_size=128),
            mlp=Experts(count=64, active=4, size=2048, shared_size=2048),
        ),
    ),
)


def setup(arch: Architecture = DENSE, **changes) -> ServingSetup:
    return ServingSetup(**{"architecture": arch, "device": device("H100-SXM-80GB"), **changes})


def test_weights_of_one_device_are_the_matrices_of_the_model():
    found = operators(setup())
    per_layer = 4096 * (4096 + 2 * 1024) + 4096 * 4096 + 3 * 4096 * 14_336
    assert sum(m.outputs * m.inputs * m.count for m in found.matrices) == 32 * per_layer
    assert found.head.weight_bytes == 32_000 * 4096 * 2


def test_ranks_share_the_weights_and_copy_key_value_heads():
    whole, split = operators(setup()), operators(setup(tp=16))
    by_name = {m.name: m for m in split.matrices}
    assert by_name["qkv"].outputs == 32 / 16 * 128 + 2 * 128
    assert by_name["up"].outputs * 16 == {m.name: m for m in whole.matrices}["up"].outputs
    assert split.reductions == 64


def test_latent_cache_is_copied_to_each_rank():
    one, eight = operators(setup(SPARSE)).mixing[0], operators(setup(SPARSE, tp=8)).mixing[0]
    assert one.cache_bytes_per_token == eight.cache_bytes_per_token == (512 + 64) * 2
    assert eight.flops_decode == one.flops_decode / 8


def test_experts_are_split_over_ranks():
    part = operators(setup(SPARSE, tp=8, ep=4)).experts[0]
    assert (part.local, part.inner) == (16, 1024)
    assert part.local * part.expert_bytes * 8 == 64 * 3 * 4096 * 2048 * 2


def test_activated_experts_are_balls_in_bins():
    part = ExpertPart(1, 8, 2, 8, 1, 1, 3, "bf16")
    rng = np.random.default_rng(0)
    drawn = [len({int(e) for _ in range(5) for e in rng.choice(8, 2, replace=False)}) for _ in range(4000)]
    assert activated_experts(part, 5, 1.0) == pytest.approx(np.mean(drawn), rel=0.01)
    assert activated_experts(part, 1, 1.0) == pytest.approx(2)


def test_product_is_the_roofline_at_both_ends():
    fit = Roofline(
        operator="matrix", generation="hopper", format="bf16", compute=0.5, memory=0.8, order=8.0, launch_s=0
    )
    rates = Rates(1e15, 3e12)
    small = product_s(1, 8192, 8192, 2.0, rates, fit)
    assert small == pytest.approx((8192 * 8192 * 2 + 2 * 2 * 8192) / (3e12 * 0.8), rel=1e-3)
    large = product_s(16_384, 8192, 8192, 2.0, rates, fit)
    assert large == pytest.approx(2 * 16_384 * 8192 * 8192 / 0.5e15, rel=1e-3)


@given(a=st.floats(1e-9, 1e3), b=st.floats(1e-9, 1e3), order=st.floats(0.7, 8))
def test_smooth_max_lies_between_the_greater_and_their_power_sum(a, b, order):
    value = smooth_max(a, b, order)
    assert max(a, b) * (1 - 1e-9) <= value <= max(a, b) * 2 ** (1 / order) * (1 + 1e-9)


def test_all_reduce_pays_latency_then_bytes():
    fit = coefficients().link("hopper")
    latency = fit.latency_s + 7 * fit.latency_rank_s
    assert reduce_s(1.0, 8, 450e9, fit) == pytest.approx(latency, rel=0.02)
    assert reduce_s(1e9, 8, 450e9, fit) > 2 * 7 / 8 * 1e9 / (450e9 * fit.share)


@settings(max_examples=40, deadline=None)
@given(
    prompt=st.integers(0, 8192),
    live=st.integers(0, 512),
    context=st.integers(1, 32_768),
    layout=st.sampled_from([(1, 1), (2, 1), (8, 1), (1, 8), (2, 4)]),
)
def test_parts_add_up_and_nothing_is_free(prompt, live, context, layout):
    tp, dp = layout
    model = StepModel(setup(SPARSE, tp=tp, attn_dp=dp, ep=tp * dp))
    found = model.time(prompt, prompt / 2, live, context)
    assert all(value >= 0 for value in found.parts().values())
    assert found.total_s == pytest.approx(model.seconds(prompt, prompt / 2, live, context))
    assert found.binding in found.parts()
    more = model.time(prompt + 512, prompt / 2 + 256, live + 8, context + 64)
    assert more.total_s >= found.total_s * 0.999


def test_a_step_is_never_under_its_bandwidth_bound():
    case = setup(precision=Precision(weights="bf16"))
    weights = sum(m.weight_bytes for m in operators(case).matrices)
    assert step_time(case, 0, 0, 1, 128).total_s > weights / 3.35e12


def test_more_ranks_pay_communication_and_save_weights():
    one, four = step_time(setup(), 0, 0, 16, 1024), step_time(setup(tp=4), 0, 0, 16, 1024)
    assert one.communication_s == 0 < four.communication_s
    assert four.matrices_s < one.matrices_s / 2
    assert four.total_s < one.total_s


def test_fused_step_costs_less_than_its_halves():
    case = setup()
    both = step_time(case, 2048, 1024, 64, 1024).total_s
    assert both < step_time(case, 2048, 1024, 0, 0).total_s + step_time(case, 0, 0, 64, 1024).total_s


def test_eager_layers_cost_more():
    assert step_time(setup(compiled=False), 0, 0, 1, 64).total_s > step_time(setup(), 0, 0, 1, 64).total_s


def test_four_bit_weights_are_streamed_faster_than_sixteen():
    bits = {
        f: step_time(setup(precision=Precision(weights=f)), 0, 0, 1, 64).matrices_s for f in ("bf16", "fp8", "int4")
    }
    assert bits["int4"] < bits["bf16"] and bits["fp8"] < bits["bf16"]


def test_every_device_and_format_has_a_step_time():
    for name in devices():
        for stored in STORED_BYTES:
            case = setup(device=device(name), precision=Precision(weights=stored))
            assert 0 < step_time(case, 512, 256, 4, 512).total_s < 1e4


def test_rates_fall_back_to_sixteen_bits():
    a100 = device("A100-SXM-80GB")
    assert peak_flops_per_s(a100, "fp8") == peak_flops_per_s(a100, "bf16")
    b200 = device("B200")
    assert peak_flops_per_s(b200, "mxfp4") == b200.flops_per_s["float8"]
    assert set(MULTIPLIED_IN) == set(STORED_BYTES)


def test_generations_are_known_by_name():
    assert generation(device("GB200")) == "blackwell"
    assert generation(device("RTX-4090")) == "ada"
    assert generation(device("MI300X")) == UNMEASURED
    assert {which for which, _ in GENERATIONS} | {UNMEASURED} == set(NEAREST)


def test_bad_layouts_say_what_to_mend():
    with pytest.raises(InputError, match="divide"):
        setup(SPARSE, tp=4, ep=3)
    with pytest.raises(InputError, match="layers"):
        setup(pp=64)


def test_pipeline_ranks_work_on_micro_batches():
    one, two = step_time(setup(), 0, 0, 64, 1024), step_time(setup(pp=2), 0, 0, 128, 1024)
    assert math.isclose(one.cache_s, two.cache_s)
