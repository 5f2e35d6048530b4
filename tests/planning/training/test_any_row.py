"""A row in any state gets a prediction or a named reason: fields are dropped, renamed and given values that make no sense."""

import math
from typing import Any

from benchmarks.planner_accuracy import memory, training
from benchmarks.planner_accuracy.setups import reason
from hypothesis import given, settings
from hypothesis import strategies as st

from aether.spec.errors import AetherError

DENSE = {
    "id": "a",
    "source": "made up",
    "model": {"name": "Llama-2-7B", "layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 32, "params": 6.7e9},
    "hardware": "H100-SXM-80GB",
    "gpus": 64,
    "seq_len": 4096,
    "micro_batch": 1,
    "global_batch": 128,
    "grad_accum": 2,
    "precision": "bf16",
    "tp": 1,
    "pp": 1,
    "vp": 1,
    "cp": 1,
    "ep": 1,
    "zero_stage": 3,
    "fsdp": 0,
    "recompute": "selective",
    "framework": "NeMo 24.07",
    "task": "Pre-Training",
    "tokens": 1e12,
    "steps": 100,
    "trainable_params": 4e6,
    "metric": "tokens_per_sec_per_gpu",
    "value": 10000,
    "unit": "tok/s/GPU",
}
EXPERTS = {
    **DENSE,
    "model": {"layers": 48, "hidden": 2048, "heads": 32, "experts": 128, "topk": 8, "moe_ffn": 768, "first_k_dense": 1},
    "framework": "Megatron-Bridge 26.06",
    "hardware": "GB300",
    "precision": "MXFP8",
    "ep": 8,
}
TUNED = {
    **DENSE,
    "framework": "LitGPT",
    "task": "lora",
    "gpus": 1,
    "metric": "max_gpu_ram",
    "unit": "GB",
    "value": 20.0,
}
READ = {
    **DENSE,
    "framework": "AutoAWQ 0.1.6",
    "precision": "AWQ int4",
    "task": "inference",
    "metric": "peak_vram",
    "unit": "GB",
    "value": 5.0,
    "isl": 64,
    "osl": 64,
    "batch_size": 1,
}
ODD = st.sampled_from([None, "", "many", 0, 1, -1, 3, 7, 3.7, 1e9, 1e300, math.nan, math.inf, True, [], {}, "8"])
DEVICES = st.sampled_from(
    ["H100", "NVIDIA A100-SXM4-80GB", "MI300X", "TPU v5p-512", "RTX 4090", "T4", "Abacus", "B200", "EPYC-9654", "V100"]
)
MODELS = st.sampled_from(
    [
        "Kimi-K2",
        "Unheard-33B",
        "Bar-100B-A10B",
        "4x8B",
        "mamba-2.8b",
        None,
        {},
        {"params": "7B"},
        {"layers": 3, "hidden": 100, "heads": 7, "kv_heads": 5, "experts": 5, "topk": 9},
        {"layers": 60, "hidden": 4096, "heads": 32, "experts": 512, "topk": 10, "model_type": "qwen3_next"},
        {"layers": 8, "hidden": 64, "experts": 600, "model_type": "nemotron_h"},
        {"name": "x", "layers": 61, "hidden": 7168, "kv_lora_rank": 512, "model_type": "glm_moe_dsa"},
    ]
)
WORDS = {
    "precision": st.sampled_from(["fp8", "mxfp8 blockwise", "NVFP4", "fp32", "int8", "nf4-dq", 16, None]),
    "task": st.sampled_from(["qlora", "adapter_v2", "full", "SFT", None, 3]),
    "framework": st.sampled_from(
        ["torchtitan", "torchtune", "MaxText", "DeepSpeed ZeRO-3", "nanochat", "PEFT", None, 9]
    ),
    "metric": st.sampled_from([*sorted(training.METRICS), "peak_memory", "furlongs", None]),
    "unit": st.sampled_from(["GB", "GiB", "%", "furlongs", None]),
    "recompute": st.sampled_from(["full", "none", "selective+SP", None, 1]),
}


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    row = dict(draw(st.sampled_from([DENSE, EXPERTS, TUNED, READ])))
    for name in draw(st.lists(st.sampled_from(sorted(row)), max_size=5)):
        row.pop(name, None)
    for name in draw(st.lists(st.sampled_from(sorted(READ)), max_size=4, unique=True)):
        row[name] = draw(WORDS.get(name, ODD))
    if draw(st.booleans()):
        row["hardware"] = draw(DEVICES)
    if draw(st.booleans()):
        row["model"] = draw(MODELS)
    if isinstance(row.get("model"), dict) and row["model"] and draw(st.booleans()):
        row["model"] = {**row["model"], draw(st.sampled_from(sorted(row["model"]))): draw(ODD)}
    return row


@settings(max_examples=400, deadline=None)
@given(rows())
def test_a_prediction_or_a_named_reason_and_never_a_traceback(row):
    for module in (training, memory):
        family = module.family(row)
        assert family is None or isinstance(family, str)
        if family is None:
            continue
        try:
            found = module.predict(row)
        except AetherError as error:
            assert str(error)
            continue
        if found is None:
            assert reason(row)
            continue
        assert math.isfinite(found.value)
        assert 0 < found.low < found.value < found.high
