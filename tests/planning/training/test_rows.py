"""Rows of any file: models and devices by any name, and numbers in any state."""

import pytest
from benchmarks.planner_accuracy import memory, setups, training
from benchmarks.planner_accuracy.machines import device_named
from benchmarks.planner_accuracy.shapes import architecture_of

from aether.models.accounting import parameters
from aether.planning.serving import efficiency
from aether.planning.training import step


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("8x NVIDIA A100-SXM4-80GB", "A100-SXM-80GB"),
        ("4xA10G", "A10G"),
        ("A100 40 GB", "A100-SXM-40GB"),
        ("A100 (PCIe, 40GB)", "A100-PCIe-40GB"),
        ("DGX H100 (80 GB)", "H100-SXM-80GB"),
        ("TPU v5p-512", "TPU-v5p"),
        ("v5e", "TPU-v5e"),
        ("AMD Instinct MI300X OAM", "MI300X"),
        ("GB300 NVL72", "GB300"),
        ("b200_sxm", "B200"),
    ],
)
def test_a_device_is_found_in_what_rows_call_it(text, name):
    found = device_named(text)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("text", ["", "abacus", "MI300", "1024 of them"])
def test_what_names_no_one_device_is_none(text):
    assert device_named(text) is None


@pytest.mark.parametrize(
    ("name", "total"),
    [("LLAMA2-7B", 6738415616), ("OPT 13B", 12853473280), ("opt-1.3b", 1315758080), ("Llama-3-405B", 405853388800)],
)
def test_a_model_is_found_in_any_punctuation(name, total):
    found = architecture_of({"name": name})
    assert found is not None
    assert parameters(found).total == total


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [("Foo-100B-A10B", 100e9, 10e9), ("Unheard-33B", 33e9, 33e9), ("Bar 4x8B", 24e9, 13.4e9)],
)
def test_a_size_in_a_name_makes_a_model_of_that_size(name, total, active):
    found = architecture_of(name)
    assert found is not None
    counts = parameters(found)
    assert counts.total == pytest.approx(total, rel=0.1)
    assert counts.active == pytest.approx(active, rel=0.15)


def test_numbers_go_before_a_name_that_they_contradict_and_names_of_fields_may_be_another_librarys():
    half = architecture_of({"name": "Llama-2-7B", "layers": 16, "hidden": 4096, "heads": 32})
    theirs = architecture_of({"num_hidden_layers": 16, "hidden_size": 4096, "num_attention_heads": 32})
    assert half is not None
    assert theirs is not None
    assert half.layers == theirs.layers == 16
    assert half.groups == theirs.groups


@pytest.mark.parametrize("model", [None, {}, "", {"name": None}, {"layers": "many", "hidden": -1}, 7, []])
def test_a_model_of_nothing_is_none(model):
    assert architecture_of(model) is None


def test_a_memory_row_below_its_own_weights_gradients_and_states_is_named():
    row = {
        "id": "a",
        "task": "full",
        "framework": "LitGPT",
        "model": {"name": "llama-3.2-3b"},
        "hardware": "A10G-24GB",
        "gpus": 1,
        "seq_len_max": 512,
        "micro_batch": 4,
        "precision": "bf16",
        "metric": "peak_memory",
        "value": 16.5,
        "unit": "GB",
    }
    assert memory.contradicts_itself(row)
    assert not memory.contradicts_itself(row | {"value": 40.0})
    assert not memory.contradicts_itself(row | {"task": "lora", "value": 10.0})


def test_gpu_hours_of_a_lower_bound_on_tokens_are_a_family_of_their_own():
    row = {"metric": "gpu_hours", "value": 1e6, "model": {"name": "Llama-3-8B"}, "tokens": 15e12, "hardware": "H100"}
    assert training.family(row) == "training GPU-hours, dense"
    assert training.family(row | {"note": "a lower bound on tokens"}).endswith("tokens a lower bound")
    assert setups.setup_of(row).global_batch * 8192 > 4e6  # the usual batch of so many tokens


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("A800-SXM4-80GB", "ampere"),
        ("NVIDIA L20", "ada"),
        ("RTX 6000 Ada", "ada"),
        ("H20", "hopper"),
        ("B300", "blackwell"),
        ("RTX PRO 6000", "blackwell"),
    ],
)
def test_devices_of_one_generation_share_its_coefficients_in_training_and_in_serving(name, family):
    device = device_named(name)
    assert device is not None and step.generation(device) == family
    assert efficiency.generation(device).startswith(family)


@pytest.mark.parametrize(
    ("metric", "unit", "name"),
    [
        ("tokens_per_second_per_gpu", "", "tokens_per_sec_per_gpu"),
        ("tokens_per_sec_per_chip", "", "tokens_per_sec_per_gpu"),
        ("tok/s/gpu", "", "tokens_per_sec_per_gpu"),
        ("wps", "tokens/s/GPU", "tokens_per_sec_per_gpu"),
        ("tps", "tokens/s", "tokens_per_sec"),
        ("throughput", "tok/s", "tokens_per_sec"),
        ("throughput", "req/s", "throughput"),
        ("TFLOP/s/GPU", "", "tflops_per_gpu"),
        ("achieved_tflops_per_gpu", "", "achieved_tflops_per_gpu"),
        ("MFU", "%", "mfu_pct"),
        ("mfu", "", "mfu"),
        ("step time", "s", "iteration_time_s"),
        ("step_time_ms", "ms", "iteration_time_ms"),
        ("output_tokens_per_sec_total", "", "output_tokens_per_sec_total"),
    ],
)
def test_metrics_of_training_speed_are_known_by_other_spellings(metric, unit, name):
    assert training.metric_of({"metric": metric, "unit": unit}) == name


def test_torchtitans_rate_is_of_one_device():
    assert training.metric_of({"metric": "tps", "framework": "torchtitan"}) == "tokens_per_sec_per_gpu"


def test_a_step_in_milliseconds_is_the_same_step():
    row = {"model": "Llama-3-8B", "hardware": "H100", "gpus": 8, "seq_len": 8192, "framework": "NeMo 24.07"}
    seconds = training.predict({**row, "metric": "iteration_time_s", "value": 1.0})
    milliseconds = training.predict({**row, "metric": "step_time_ms", "value": 1000.0})
    assert seconds is not None and milliseconds is not None
    assert milliseconds.value == pytest.approx(1000 * seconds.value)


def test_values_in_quotes_are_numbers_and_words_stay_words(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"value": "5,700"}\n{"value": "1.3e6"}\n{"value": "OOM"}\n{"value": ""}\n', encoding="utf-8")
    assert [row["value"] for row in training.read_rows([path])] == [5700.0, 1.3e6, "OOM", ""]


def test_a_format_that_a_device_lacks_runs_in_what_it_has():
    row = {"model": "Llama-3-8B", "gpus": 8, "metric": "tokens_per_sec_per_gpu", "value": 1.0, "precision": "fp8"}
    for name in ("T4", "V100", "A10G"):
        assert training.predict({**row, "hardware": name}) is not None
