"""Exports: every field is said, noted or refused; and accelerate and transformers, which are here, read what is theirs."""

import ast
import json
import re

import pytest
import yaml
from benchmarks.validate_exports import serving_setups, training_setups
from hypothesis import given, settings
from hypothesis import strategies as st

from aether.counsel.review.engine import review_text
from aether.evidence.hashing import hash_value
from aether.knowledge.library import device
from aether.knowledge.models_library import published_model
from aether.planning.exports.common import command_words, setup_fingerprint
from aether.planning.exports.engines import free_share
from aether.planning.exports.huggingface import packs
from aether.planning.exports.serving import ServingTool, export_serving
from aether.planning.exports.torchtitan import FLAVOURS
from aether.planning.exports.training import TrainingTool, export_training
from aether.planning.serving.memory import weights_bytes_per_device
from aether.planning.serving.setup import Precision, ServingSetup
from aether.planning.training.setup import FineTuning, Layout, Software, TrainingSetup
from aether.spec.errors import InputError

LLAMA = published_model("Llama-3.1-8B").architecture
EXPERTS = published_model("Qwen3-30B-A3B").architecture
H100 = device("H100-SXM-80GB")


def training(**changed):
    given = {"devices": 8, "layout": Layout(dp=8, zero_stage=3), "recompute": "full", **changed}
    return TrainingSetup(architecture=LLAMA, device="H100-SXM-80GB", seq_tokens=4096, global_batch=64, **given)


def options(text):
    words = command_words(text)
    return {w: words[i + 1] for i, w in enumerate(words[:-1]) if w.startswith("--")} | dict.fromkeys(
        (w for w in words[-1:] if w.startswith("--")), ""
    )


@pytest.mark.parametrize("tool", list(TrainingTool))
def test_a_training_export_says_from_what_for_what_and_when(tool):
    setup = training()
    for file in export_training(setup, tool):
        head = file.notes[0] if file.name.endswith(".json") else file.text
        assert setup_fingerprint(setup)[:16] in head and re.search(r"20\d\d-\d\d-\d\d", head)
    assert setup_fingerprint(setup) == hash_value(setup.model_dump(mode="json"))


@pytest.mark.parametrize("tool", list(ServingTool))
def test_a_serving_export_says_from_what_for_what_and_when(tool):
    setup = ServingSetup(architecture=LLAMA, device=H100)
    for file in export_serving(setup, tool):
        assert setup_fingerprint(setup)[:16] in file.text and re.search(r"20\d\d-\d\d-\d\d", file.text)
        assert all(f"# Note: {note}\n" in file.text for note in file.notes)


def test_accelerate_reads_its_file():
    config_args = pytest.importorskip("accelerate.commands.config.config_args")
    file = export_training(training(layout=Layout(tp=2, dp=4, zero_stage=2)), "accelerate")[0]
    read = yaml.safe_load(file.text)
    known = set(config_args.ClusterConfig.__dataclass_fields__)
    assert set(config_args.BaseConfig.process_config(dict(read))) <= known
    made = config_args.ClusterConfig(**config_args.BaseConfig.process_config(dict(read)))
    assert made.num_processes == 8 and made.parallelism_config["parallelism_config_tp_size"] == 2
    assert made.fsdp_config["fsdp_reshard_after_forward"] is False


def test_transformers_knows_the_optimisers_and_arguments():
    transformers = pytest.importorskip("transformers")
    names = {o.value for o in transformers.training_args.OptimizerNames}
    fields = set(transformers.TrainingArguments.__dataclass_fields__)
    trl_or_peft = {"max_length", "packing", "dtype", "attn_implementation", "use_peft", "lora_r", "lora_target_modules"}
    for optimiser in ("adamw", "adamw_8bit", "lion", "sgd"):
        setup = training(optimiser=optimiser, fine_tuning=FineTuning(kind="lora", rank=8))
        read = yaml.safe_load(export_training(setup, "accelerate")[1].text)
        assert read["optim"] in names and set(read) - fields <= trl_or_peft and read["lora_r"] == 8
        assert read["per_device_train_batch_size"] * read["gradient_accumulation_steps"] * 8 == 64


@pytest.mark.parametrize(
    ("changed", "packed", "attention"),
    [
        ({}, True, "flash_attention_2"),
        ({"fine_tuning": FineTuning(kind="lora")}, True, "flash_attention_2"),
        ({"precision": "fp32"}, False, "sdpa"),
        ({"layout": Layout(cp=2, dp=4, zero_stage=3)}, False, "sdpa"),
        ({"software": Software(attention="materialised")}, False, "eager"),
    ],
)
def test_examples_share_a_row_only_where_the_kernels_keep_them_apart(changed, packed, attention):
    files = {file.name: file for file in export_training(training(**changed), "accelerate")}
    read = yaml.safe_load(files["trl_sft.yaml"].text)
    assert (read["packing"], read["attn_implementation"]) == (packed, attention)
    assert any("flash-attn" in note for note in files["trl_sft.yaml"].notes) == packed


def test_a_recurrence_is_not_packed():
    setup = training().model_copy(update={"architecture": published_model("mamba-2.8b").architecture})
    assert not packs(setup)


EXPORTS = [
    (tool, name, make, setup)
    for tools, make, setups in (
        (TrainingTool, export_training, training_setups()),
        (ServingTool, export_serving, serving_setups()),
    )
    for tool in tools
    for name, setup in setups.items()
]


@pytest.mark.parametrize("tool", [*TrainingTool, *ServingTool])
def test_no_exported_file_fails_our_own_review(tool):
    written = 0
    for _, name, make, setup in (row for row in EXPORTS if row[0] == tool):
        try:
            files = make(setup, tool)
        except InputError:
            continue
        for file in files:
            found = review_text(file.text, file.name)
            written += 1
            # A warning is an opinion that an export may not hold either, but for the notice that TGI is archived.
            assert not [f for f in found if f.severity != "info"], (name, file.name, found)
            assert found == () or tool == "tgi"
    assert written >= 3


@given(dp=st.sampled_from([1, 2, 4, 8]), micro=st.sampled_from([1, 2, 4]), steps=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_batches_multiply_out(dp, micro, steps):
    setup = TrainingSetup(
        architecture=LLAMA, device="H100-SXM-80GB", devices=dp, seq_tokens=4096, recompute="none",
        global_batch=dp * micro * steps, micro_batch=micro, layout=Layout(dp=dp, zero_stage=2),
    )  # fmt: skip
    config = json.loads(export_training(setup, "deepspeed")[0].text)
    assert config["train_batch_size"] == dp * micro * config["gradient_accumulation_steps"]
    text = export_training(setup, "torchtitan")[0].text
    ast.parse(text)
    assert f"global_batch_size={dp * micro * steps}," in text
    found = options(export_training(setup, "megatron")[0].text)
    assert int(found["--global-batch-size"]) == dp * micro * steps


@pytest.mark.parametrize(
    ("tool", "changed", "field"),
    [
        ("deepspeed", {"layout": Layout(cp=2, dp=4)}, "layout.cp"),
        ("deepspeed", {"layout": Layout(pp=2, dp=4)}, "layout.pp"),
        ("accelerate", {"layout": Layout(pp=2, dp=4)}, "layout.pp"),
        ("accelerate", {"layout": Layout(dp=8, zero_stage=1)}, "layout.zero_stage"),
        ("accelerate", {"recompute": "selective"}, "recompute"),
        ("torchtitan", {"optimiser": "lion"}, "optimiser"),
        ("torchtitan", {"precision": "fp16"}, "precision"),
        ("megatron", {"fine_tuning": FineTuning(kind="qlora")}, "fine_tuning.kind"),
        ("megatron", {"master_weights": False}, "master_weights"),
    ],
)
def test_what_a_tool_cannot_say_is_refused_by_its_field(tool, changed, field):
    with pytest.raises(InputError) as caught:
        export_training(training(**changed), tool)
    assert caught.value.details["field"] == field


def test_recomputation_left_open_is_closed_and_noted():
    file = export_training(training(recompute=None), "megatron")[0]
    assert any("recompute was left open" in note for note in file.notes)


def test_experts_of_megatron():
    setup = TrainingSetup(
        architecture=EXPERTS, device="H100-SXM-80GB", devices=8, seq_tokens=4096, global_batch=64, recompute="none",
        layout=Layout(dp=8, ep=8, zero_stage=1),
    )  # fmt: skip
    found = options(export_training(setup, "megatron")[0].text)
    assert found["--num-experts"] == "128" and found["--moe-router-topk"] == "8"
    assert found["--expert-model-parallel-size"] == "8" and "--use-distributed-optimizer" in found


def test_flavours_are_one_each():
    keys = [(f.hidden_size, f.layers, f.vocab_size, f.experts) for f in FLAVOURS]
    assert len(keys) == len(set(keys))
    with pytest.raises(InputError, match="architecture"):
        export_training(
            training().model_copy(update={"architecture": published_model("Mistral-7B-v0.3").architecture}),
            "torchtitan",
        )


def test_limits_are_of_the_group_or_of_the_replica_as_the_engine_counts():
    setup = ServingSetup(architecture=EXPERTS, device=H100, attn_dp=4, ep=4, max_sequences=1001)
    assert options(export_serving(setup, "vllm")[0].text)["--max-num-seqs"] == "251"
    found = options(export_serving(setup, "sglang")[0].text)
    assert found["--max-running-requests"] == "1001" and found["--tp-size"] == found["--attn-dp-size"] == "4"
    read = yaml.safe_load(export_serving(setup, "trtllm")[0].text)
    assert read["enable_attention_dp"] is True and read["tensor_parallel_size"] == 4 and read["max_batch_size"] == 251


@given(share=st.floats(0.3, 1.0), tp=st.sampled_from([1, 2, 4]))
@settings(max_examples=30, deadline=None)
def test_the_share_of_what_is_free_fills_the_share_of_the_whole(share, tp):
    setup = ServingSetup(architecture=LLAMA, device=H100, tp=tp, memory_share=share)
    weights, total = weights_bytes_per_device(setup), H100.memory_bytes
    filled = weights + free_share(setup) * (total - weights)
    assert share * total - 0.001 * total <= filled <= share * total + 1


@pytest.mark.parametrize(
    ("tool", "changed", "field"),
    [
        ("vllm", {"attn_dp": 2}, "attn_dp"),
        ("vllm", {"chunk_tokens": 512}, "chunk_tokens"),
        ("vllm", {"precision": Precision(cache="float32")}, "precision.cache"),
        ("trtllm", {"tp": 2, "attn_dp": 2}, "tp"),
        ("trtllm", {"memory_share": 0.1}, "memory_share"),
        ("lmdeploy", {"pp": 2}, "pp"),
        ("lmdeploy", {"precision": Precision(weights="nvfp4")}, "precision.weights"),
        ("tgi", {"pp": 2}, "pp"),
    ],
)
def test_what_an_engine_cannot_say_is_refused_by_its_field(tool, changed, field):
    with pytest.raises(InputError) as caught:
        export_serving(ServingSetup(architecture=LLAMA, device=H100, **changed), tool)
    assert caught.value.details["field"] == field


def test_quantised_weights_and_an_archived_server_are_noted():
    setup = ServingSetup(architecture=LLAMA, device=H100, precision=Precision(weights="int4"), compiled=False)
    vllm = export_serving(setup, "vllm")[0]
    assert any("int4" in note for note in vllm.notes) and "--enforce-eager" in vllm.text
    assert any("archived since 2026-03-21" in note for note in export_serving(setup, "tgi")[0].notes)


def test_layers_that_do_not_divide_are_laid_out_by_megatron():
    layout = Layout(tp=2, pp=8, virtual_stages=4, ep=64, dp=64, zero_stage=1)
    setup = TrainingSetup(
        architecture=published_model("DeepSeek-V3").architecture,
        device="H800-SXM-80GB",
        devices=1024,
        seq_tokens=4096,
        global_batch=1024,
        recompute="full",
        layout=layout,
    )
    words = command_words(export_training(setup, "megatron")[0].text)
    stages = words[words.index("--pipeline-model-parallel-layout") + 1].split("|")
    assert len(stages) == 32 and {len(stage) for stage in stages} == {2}
    assert stages[0] == "Et" and stages[-1] == "mL" and sum(stage.count("t") for stage in stages) == 61
    assert "--num-virtual-stages-per-pipeline-rank" not in words and "--moe-router-enable-expert-bias" in words
