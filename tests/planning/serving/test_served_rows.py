"""Rows of published serving measurements: every row that says enough is predicted, every other one has a named reason."""

import math

import pytest
from benchmarks.planner_accuracy import inference, training
from benchmarks.planner_accuracy.scripts import launch
from benchmarks.planner_accuracy.served import engine_of, hardware_of, layout_of, precision_of
from hypothesis import given, settings
from hypothesis import strategies as st

from aether.planning.serving.answers import distance
from aether.planning.serving.efficiency import coefficients

SERVED = {
    "id": "a",
    "metric": "tpot_ms",
    "value": 20.0,
    "unit": "ms",
    "model": {"name": "meta-llama/Llama-3.1-8B-Instruct", "layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8},
    "hardware": "h100_sxm",
    "framework": "vllm",
    "framework_version": "0.15.1",
    "precision": "fp8",
    "tp": 1,
    "isl": 1024,
    "osl": 1024,
    "concurrency": 16,
}
APART = {
    **SERVED,
    "serving_mode": "disagg",
    "disagg": {"prefill_tp_size": 1, "decode_tp_size": 1, "prefill_num_workers": 1, "decode_num_workers": 2},
}
SINGLE = {
    "metric": "decode_tokens_per_sec_per_user",
    "value": 100.0,
    "unit": "tok/s",
    "model": {"name": "Llama-2-7B"},
    "hardware": "RTX 4090",
    "framework": "ExLlamaV2",
    "precision": "EXL2 4.0bpw",
    "batch_size": 1,
}
STRANGE = st.one_of(
    st.none(),
    st.integers(-3, 9000),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(
        ["", "64", "many", "fp8", "nvfp4", "mxfp4", "awq", "MI300X", "TPU v5e", "Rubin", "mlc", "vllm 9.9"]
    ),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["name", "layers", "hidden", "experts"]), st.integers(0, 9000), max_size=3),
)
FIELDS = [
    "metric",
    "unit",
    "model",
    "hardware",
    "framework",
    "framework_version",
    "precision",
    "tp",
    "pp",
    "attn_dp",
    "moe_tp",
    "moe_ep",
    "isl",
    "osl",
    "concurrency",
    "batch_size",
    "batch_size_per_rank",
    "serving_mode",
    "disagg",
    "gpus",
    "num_requests",
    "max_num_batched_tokens",
    "gpu_mem_util",
    "arrival",
]


@settings(max_examples=150, deadline=None)
@given(
    base=st.sampled_from([SERVED, APART, SINGLE]),
    changes=st.dictionaries(st.sampled_from(FIELDS), STRANGE, max_size=4),
    gone=st.sets(st.sampled_from(FIELDS), max_size=2),
)
def test_any_row_has_a_prediction_or_a_reason(base, changes, gone):
    row = {k: v for k, v in {**base, **changes}.items() if k not in gone}
    found = inference.predict(row)
    if found is None:
        assert inference.why_not(row)
    else:
        assert inference.why_not(row) is None
        assert 0 < found.low < found.value < found.high < math.inf


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hardware": "abacus"}, "hardware"),
        ({"model": {"name": "nobody's"}}, "model"),
        ({"metric": "joules"}, "metric"),
        ({"concurrency": None}, "load"),
        ({"workload": "chat"}, "workload"),
    ],
)
def test_the_reason_names_what_is_missing(changes, reason):
    assert reason in (inference.why_not({**SERVED, **changes}) or "")


@pytest.mark.parametrize("hardware", ["AMD MI300X", "TPU v5e", "V100-SXM2-32GB"])
def test_a_device_that_was_never_measured_has_a_wider_interval(hardware):
    known, other = inference.predict(SERVED), inference.predict({**SERVED, "hardware": hardware})
    assert known is not None and other is not None
    assert other.high / other.low > known.high / known.low


def test_a_tail_lies_above_the_median_and_a_gap_above_the_mean():
    row = {**SERVED, "concurrency": 64, "isl": 4096, "osl": 256}

    def value(metric):
        found = inference.predict({**row, "metric": metric})
        assert found is not None
        return found.value

    assert value("ttft_ms_p99") > value("ttft_ms_median")
    assert value("tpot_ms_p99") > value("tpot_ms_median")
    assert value("itl_ms_p99") > 1.5 * value("itl_ms_median")


def test_formats_engines_and_halves_by_their_names():
    assert precision_of(SINGLE).weights == "int4"
    assert precision_of({**SINGLE, "precision": "EXL2 2.5bpw"}).weights == "int2"
    assert precision_of({**SINGLE, "precision": "Q6_K"}).weights == "int6"
    assert precision_of({**SERVED, "model": {"name": "x", "experts": 8}}).expert_format == "fp8_block"
    named = ("SGLang 0.5", "TensorRT-LLM", "LMDeploy (TurboMind)", "exllamav2", "MLC")
    assert [engine_of(text) for text in named] == ["sglang", "trtllm", "trtllm", "other", "any"]
    whole, half = hardware_of({"hardware": "MI250X"}), hardware_of({"hardware": "MI250X (one GCD)"})
    assert whole is not None and half is not None and half.memory_bytes * 2 == whole.memory_bytes


def test_ranks_that_a_source_multiplied_are_taken_back():
    assert layout_of({"tp": 64, "attn_dp": 1, "moe_tp": 8, "moe_ep": 8}) == (8, 1, 8)


def test_pools_of_unstated_size_decode_on_several_replicas():
    unstated = {**APART, "concurrency": 64, "disagg": {"prefill_tp_size": 1, "decode_tp_size": 1}}
    one = {**unstated, "disagg": {**unstated["disagg"], "prefill_num_workers": 1, "decode_num_workers": 1}}
    more, alone = inference.predict(unstated), inference.predict(one)
    assert more is not None and alone is not None and more.value < alone.value


SCRIPTED = {
    "source": "NVIDIA aiconfigurator silicon_sample.csv (InferenceX/InferenceMAX measurements)",
    "model": {"name": "Qwen/Qwen3.5-397B-A17B"},
    "precision": "bf16",
    "isl": 1024,
    "osl": 1024,
    "tp": 8,
}


@pytest.mark.parametrize(
    ("hardware", "clients", "steps"), [("b200_sxm", 8, 10), ("b200_sxm", 16, 30), ("h200_sxm", 16, 1)]
)
def test_a_server_is_started_as_its_sources_scripts_say(hardware, clients, steps):
    found = launch({**SCRIPTED, "hardware": hardware, "concurrency": clients}, "sglang")
    assert found is not None and found.intake_steps == steps
    assert launch({**SCRIPTED, "hardware": hardware, "concurrency": clients, "source": "elsewhere"}, "sglang") is None


def test_intervals_widen_with_what_was_not_measured():
    row = {
        **SCRIPTED,
        "hardware": "b200_sxm",
        "concurrency": 16,
        "framework": "sglang",
        "metric": "tpot_ms",
        "value": 10.0,
    }
    seen = inference.case_of(row)
    assert seen is not None
    near = seen.setup.model_copy(
        update={"architecture": seen.setup.architecture.model_copy(update={"name": "another"})}
    )
    far = near.model_copy(update={"engine": "llama.cpp"})
    levels = [distance(setup, coefficients()).familiarity for setup in (seen.setup, near, far)]
    assert levels == ["seen", "near", "far"]
    fitted = coefficients()
    widths = [fitted.width("token", "seen"), fitted.width("token", "near"), fitted.width("token", "far")]
    assert widths == sorted(widths) and widths[0] < widths[2]


@pytest.mark.parametrize("field", ["isl", "osl", "concurrency"])
def test_a_number_that_can_only_be_a_slip_counts_as_left_out(field):
    left_out = {key: value for key, value in SERVED.items() if key != field}
    assert inference.predict(SERVED | {field: 10**9}) == inference.predict(left_out)


def test_a_long_run_is_priced_as_it_stays():
    """A million requests of 16 clients are as many rounds as one looks at, and take no longer to price."""
    long, longer = (inference.predict(SERVED | {"num_requests": count}) for count in (16 * 256, 10**6))
    assert long is not None and longer is not None and longer.value == pytest.approx(long.value, rel=1e-9)


@pytest.mark.parametrize(
    ("metric", "quantity", "statistic", "factor"),
    [
        ("mean_ttft_ms", "ttft", "mean", 1e-3),
        ("Median ITL (ms)", "gap", "p50", 1e-3),
        ("p99_tpot_ms", "token", "p99", 1e-3),
        ("time_to_first_token_s", "ttft", "mean", 1.0),
        ("request_latency_p50_ms", "e2e", "p50", 1e-3),
        ("avg_e2e_latency_s", "e2e", "mean", 1.0),
    ],
)
def test_metrics_go_by_the_names_that_load_generators_give_them(metric, quantity, statistic, factor):
    asked = inference.asked_of(SERVED | {"metric": metric, "unit": None})
    assert (asked.quantity, asked.statistic, asked.factor) == (quantity, statistic, factor)


def test_devices_without_a_layout_are_one_replica_and_a_stated_layout_goes_first():
    bare = {key: value for key, value in SERVED.items() if key != "tp"} | {"gpus": 8}
    assert layout_of(bare)[:2] == (8, 1) and layout_of(bare | {"tp": 2})[0] == 2
    assert inference.predict(bare).value < inference.predict(SERVED).value


def test_a_laboratory_that_the_fit_never_saw_gets_a_wider_interval():
    seen, strange = (
        SERVED | {"source": words} for words in ("NVIDIA aiconfigurator silicon_sample.csv (a.csv)", "a blog")
    )
    known, other = inference.predict(seen), inference.predict(strange)
    assert known.value == other.value and other.high / other.low > known.high / known.low


def test_a_rate_of_tokens_under_a_load_is_no_training_row():
    assert training.family(SERVED | {"metric": "tokens_per_sec"}) is None
    assert (
        training.family({**SERVED, "metric": "tokens_per_sec", "isl": None, "osl": None, "concurrency": None})
        is not None
    )


def test_an_engine_of_which_nothing_is_known_stays_above_the_bound_of_the_memory():
    row = SINGLE | {"framework": "MLC", "precision": "fp16", "hardware": "A100-SXM-80GB", "isl": 8, "osl": 256}
    fastest = 2.039e12 / (2 * 6.6e9)
    assert 0.5 * fastest < inference.predict(row).value < fastest
