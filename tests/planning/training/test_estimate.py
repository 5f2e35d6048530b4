import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_setups import gpt, llama_8b, moe, setup

from aether.knowledge.library import device
from aether.models.accounting import training_flops_per_token
from aether.planning.training.calibration import WIDER_BY_DOUBLING, calibration, error_classes, relative_width
from aether.planning.training.estimate import (
    estimate_training,
    judge_memory,
    judge_step_time,
    least_step_s,
    step_parts,
)
from aether.planning.training.operators import layer_work
from aether.planning.training.setup import FineTuning, Layout, Software
from aether.planning.training.step import coefficient_terms, graphs, step_terms
from aether.planning.training.work import WORK_FIELDS, trainable_parameters, training_work
from aether.spec.errors import InputError

H100 = device("H100-SXM-80GB")
SHARDED = Layout(dp=8, zero_stage=3)


def run_on_h100(**changes):
    given = {"device": "H100-SXM-80GB", "devices": 8, "seq_tokens": 4096, "global_batch": 64, "layout": SHARDED}
    return setup(llama_8b(), **{**given, **changes})


def test_products_and_attention_count_the_flops_of_the_accounting():
    arch = llama_8b()
    run = setup(arch, seq_tokens=4096)
    group = arch.groups[0]
    work = layer_work(run, group)
    layers = sum(p.flops for p in work.products) + work.attention_flops
    head = 2 * 4096 * arch.vocab_size * arch.hidden_size
    assert 3 * (32 * layers + head) == pytest.approx(4096 * training_flops_per_token(arch, 4096), rel=1e-9)


@pytest.mark.parametrize(("pp", "stages"), [(4, 1), (8, 1), (8, 2), (8, 4)])
def test_the_bubble_of_1f1b_is_p_minus_1_over_m_and_of_the_interleaved_one_over_v(pp, stages):
    layout = Layout(pp=pp, virtual_stages=stages)
    run = setup(llama_8b(), devices=pp, layout=layout, global_batch=64)
    work = training_work(run, device("A100-SXM-80GB"), "none")
    assert work.bubble / work.micro_batches == pytest.approx((pp - 1) / (64 * stages))


def test_an_estimate_adds_up_and_names_what_binds():
    run = run_on_h100()
    found = estimate_training(run, tokens=1e12, price_usd_per_hour=2.5)
    assert found.step_time.value == pytest.approx(sum(term.value for term in found.step_time.terms))
    assert found.step_time.binding == "matrix products"
    rate = run.tokens_per_step / found.step_time.value / 8
    assert found.tokens_per_s_per_device.value == pytest.approx(rate)
    hours = found.of_run("gpu_hours").value
    assert hours == pytest.approx(1e12 / rate / 3600)
    assert found.of_run("money").value == pytest.approx(2.5 * hours)
    assert found.of_run("energy").value < hours * 3600 * 700
    for estimate in (found.step_time, found.mfu, found.memory, *found.run):
        assert estimate.interval is not None
        assert estimate.interval.level == 0.8
        assert estimate.interval.low < estimate.value < estimate.interval.high


@pytest.mark.parametrize("kind", ["lora", "qlora"])
def test_mfu_of_adapters_counts_no_gradients_of_frozen_weights(kind):
    """Rank 16 on four products of each of 32 layers, q with k and v and gate with up as one: 35,651,584 values."""
    run = run_on_h100(fine_tuning=FineTuning(kind=kind, rank=16, frozen_bits=4.127 if kind == "qlora" else 16.0))
    found = estimate_training(run)
    arch = llama_8b()
    frozen = training_flops_per_token(arch, 4096, 35_651_584)
    assert trainable_parameters(run) == 35_651_584
    rate = found.tokens_per_s_per_device.value
    assert found.mfu.value == pytest.approx(rate * frozen / H100.flops_per_s["bfloat16"])
    assert frozen < 0.72 * training_flops_per_token(arch, 4096)
    assert least_step_s(run, H100) < sum(step_parts(run, H100).values())


def test_what_is_not_known_stays_unknown():
    found = estimate_training(run_on_h100(), tokens=1e9)
    assert found.of_run("money").value is None
    assert "price" in found.of_run("money").protocol
    with pytest.raises(InputError, match="price_usd_per_hour"):
        estimate_training(run_on_h100(), tokens=1e9, price_usd_per_hour=-1)


def test_impossible_and_out_of_reach_are_two_verdicts():
    run = run_on_h100()
    expected, bound = sum(step_parts(run).values()), least_step_s(run)
    assert judge_step_time(run, 0.99 * bound).verdict == "impossible"
    assert (
        judge_step_time(run, (bound + expected * math.exp(-calibration().halfwidth(run, H100, 90))) / 2).verdict
        == "out_of_reach"
    )
    assert judge_step_time(run, expected).verdict == "reachable"
    with pytest.raises(InputError, match="target_s"):
        judge_step_time(run, 0)


def test_states_that_exceed_memory_are_impossible_and_the_arithmetic_is_shown():
    found = judge_memory(setup(llama_8b()))
    assert found.verdict == "impossible"
    assert "weights, gradients and optimiser states take" in found.arithmetic
    assert judge_memory(run_on_h100()).verdict == "reachable"


def test_intervals_widen_away_from_what_was_measured():
    fitted = calibration()
    known = run_on_h100(software=Software(framework="megatron"))
    strange = known.model_copy(update={"architecture": gpt(24, 2048, 16)})
    assert fitted.familiarity(known, H100) == "known"
    assert fitted.familiarity(strange, H100) == "new model"
    assert fitted.familiarity(strange, device("MI300X")) == "new both"
    for kind in ("dense", "moe"):
        ordered = [fitted.halfwidths[f"{kind}|{name}"] for name in ("known", "new model", "new both")]
        assert ordered == sorted(ordered)
        assert fitted.halfwidths[f"{kind}|new source"] >= fitted.halfwidths[f"{kind}|new both"]
    assert fitted.halfwidth(known, H100) > fitted.halfwidth(known, H100, source=fitted.sources[0])
    for key in [key for key in fitted.halfwidths if not key.endswith("|90")]:
        assert fitted.halfwidths[f"{key}|90"] >= fitted.halfwidths[key]


@pytest.mark.parametrize(
    ("device_name", "precision", "released", "rule"),
    [
        ("H100-SXM-80GB", "fp8", "2026-06", "none"),
        ("GB300", "mxfp8", "2025-03", "none"),
        ("GB300", "mxfp8", "2026-04", "layers"),
        ("GB300", "bf16", "2026-06", "layers"),
        ("GB300", "mxfp8", "2026-06", "step"),
        ("B200", "mxfp8", "2026-06", "none"),
    ],
)
def test_graphs_take_launches_away_where_megatron_uses_them(device_name, precision, released, rule):
    software = Software(framework="megatron", released=released)
    found = setup(moe(), device=device_name, precision=precision, software=software)
    assert graphs(found, device(device_name)) == rule
    assert graphs(found.model_copy(update={"software": Software(framework="fsdp")}), device(device_name)) == "none"


def test_what_an_interval_stands_on_is_said():
    strange = run_on_h100().model_copy(update={"device": "MI300X"})
    assert estimate_training(strange).step_time.formula.endswith("is: new hardware")


@settings(deadline=None, max_examples=40)
@given(rounds=st.integers(1, 32), more=st.integers(2, 4), seq=st.sampled_from([1024, 4096, 8192]))
def test_more_work_takes_longer_and_never_less_than_the_hard_bound(rounds, more, seq):
    run = run_on_h100(global_batch=8 * rounds, seq_tokens=seq)
    larger = run_on_h100(global_batch=8 * rounds * more, seq_tokens=seq)
    longer = run_on_h100(global_batch=8 * rounds, seq_tokens=2 * seq)
    base = sum(step_parts(run).values())
    assert sum(step_parts(larger).values()) > base
    assert sum(step_parts(longer).values()) > base
    assert base > least_step_s(run)


@settings(deadline=None, max_examples=30)
@given(
    faster=st.floats(1.01, 4.0),
    field=st.sampled_from(["memory_bandwidth_bytes_per_s", "inter_node_bytes_per_s", "flops"]),
)
def test_faster_hardware_is_never_slower(faster, field):
    run = setup(moe(), devices=32, layout=Layout(dp=32, ep=16, zero_stage=1), global_batch=128)
    rates = {key: rate * faster for key, rate in H100.flops_per_s.items()}
    changes = {"flops_per_s": rates} if field == "flops" else {field: getattr(H100, field) * faster}
    assert sum(step_parts(run, H100.model_copy(update=changes)).values()) < sum(step_parts(run, H100).values())


@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_recomputation_costs_time_and_saves_memory(recompute):
    none, again = (run_on_h100(recompute=name, micro_batch=1) for name in ("none", recompute))
    assert sum(step_parts(again).values()) > sum(step_parts(none).values())
    assert estimate_training(again).ledger.activations_bytes < estimate_training(none).ledger.activations_bytes


def test_intervals_widen_with_devices_and_for_fine_tuning():
    """What is synchronous waits for the slowest of more; packed examples and adapters' small products are not modelled."""
    fitted, few = calibration(), run_on_h100()
    many = few.model_copy(update={"devices": 2048})
    tuned = [few.model_copy(update={"fine_tuning": FineTuning(kind=kind)}) for kind in ("full", "lora")]
    widths = [fitted.halfwidth(one, H100, source=fitted.sources[0]) for one in (few, many, *tuned)]
    assert widths[1] / widths[0] == pytest.approx((1 + 5 * WIDER_BY_DOUBLING) / relative_width(few))
    assert widths[2] == widths[3] > widths[0]
    assert error_classes(few) == ("dense",)
    assert error_classes(tuned[0]) == ("dense", "fine-tuning")


def test_dispatch_beside_computing_is_hidden_up_to_the_computing():
    """Stated overlap takes the exchange of experts away as far as a micro-batch's computing covers it."""
    by = dict.fromkeys(coefficient_terms(run_on_h100(), H100), 1.0)
    work = dict.fromkeys(WORK_FIELDS, 0.0) | {"linear_s": 1.0, "micro_batches": 1.0}

    def exchange_s(spent_s: float, overlapped: float) -> float:
        return step_terms(work | {"ep_cross_s": spent_s, "overlapped": overlapped}, by)["expert parallelism"]

    assert exchange_s(0.5, 0.0) == pytest.approx(0.5, rel=0.01)
    assert exchange_s(0.5, 1.0) < 0.01
    assert exchange_s(1.5, 1.0) == pytest.approx(0.5, rel=0.05)
