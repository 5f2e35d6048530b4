"""The replica that a published serving row was measured on, from the row's own fields: engine, formats, layout, device.

Fields are taken as tables write them: numbers in words, zeros for "not used", formats by any of their names. What cannot be read
counts as unsaid; a row without model or device has no replica. The traffic and the prediction stand in `inference`.
"""

import math
import re
from typing import Any

from aether.knowledge.library import Device
from aether.planning.serving.setup import Engine, Format, Precision, ServingSetup
from aether.spec.architecture import Architecture, Experts
from benchmarks.planner_accuracy.machines import device_named
from benchmarks.planner_accuracy.scripts import launch
from benchmarks.planner_accuracy.shapes import architecture_of, whole

Row = dict[str, Any]
_MOST = {"isl": 2**22, "osl": 2**22, "concurrency": 2**20, "batch_size": 2**20}
"""Tokens and clients beyond which a number is a slip and counts as left out (a choice)."""


def tidy(row: Row) -> Row:
    """The row with a model by name or numbers in any case, a disaggregation where its mode says so, and its server's settings where
    its source's scripts say them."""
    model = row.get("model")
    started = launch(row, engine_of(str(row.get("framework"))))
    said = {"max_num_batched_tokens": started.chunk_tokens, "intake_steps": started.intake_steps} if started else {}
    said |= {"gpu_mem_util": started.memory_share} if started else {}
    row = {key: value for key, value in row.items() if key not in _MOST or whole(value) <= _MOST[key]}
    found = {**said, **row, "model": dict(model) if isinstance(model, dict) else {"name": str(model)}}
    if row.get("serving_mode") == "disagg" and not isinstance(row.get("disagg"), dict):
        found["disagg"] = {}
    return found


def count(value: object) -> int:
    """A count of ranks: missing, zero and unreadable mean one."""
    return whole(value) or 1


def _share(value: object) -> float:
    """Share of the memory that the engine may fill; 0.9, vLLM's default (from memory, not read), where none is said."""
    try:
        share = float(str(value))
    except ValueError:
        return 0.9
    return share if 0 < share <= 1 else 0.9


# LMDeploy's TurboMind is "developed based on NVIDIA's FasterTransformer" (its documentation, read 2026-11-26), as TensorRT-LLM is;
# TGI is taken for vLLM, whose paged attention it runs (assumed).
_ENGINES: tuple[tuple[str, Engine], ...] = (
    ("vllm", "vllm"),
    ("sglang", "sglang"),
    ("tensorrt", "trtllm"),
    ("trtllm", "trtllm"),
    ("fastertransformer", "trtllm"),
    ("lmdeploy", "trtllm"),
    ("turbomind", "trtllm"),
    ("text-generation-inference", "vllm"),
    ("tgi", "vllm"),
    ("llama.cpp", "llama.cpp"),
    ("litgpt", "transformers"),
    ("transformers", "transformers"),
    ("exllama", "other"),
    ("awq", "other"),
    ("gpt-fast", "other"),
    ("torchao", "other"),
)


def engine_of(text: str) -> Engine:
    """The engine by what a row calls it."""
    low = text.lower()
    for part, engine in _ENGINES:
        if part in low:
            return engine
    return "any"


def precision_of(row: Row) -> Precision:
    """Formats from the row's quantisation fields, or from its one word of precision."""
    word = str(row.get("precision") or "bf16").lower()
    # Recipes for weights of 8 and 4 bits set an 8-bit cache (assumed; with 16 bits fewer sequences would fit than ran).
    cache = "fp8" if re.search(r"fp8|fp4", word) else "bf16"
    gemm, moe = _format(row.get("gemm_quant")), _format(row.get("moe_quant"))
    if gemm is None:
        gemm = _format(word) or "bf16"
    name = str(row["model"].get("name")).lower()
    if "gpt-oss" in name or row["model"].get("model_type") == "gpt_oss":
        return Precision(weights="bf16", experts="mxfp4", cache=cache)
    if gemm in ("nvfp4", "int4") and row["model"].get("experts"):
        # Four-bit checkpoints of expert models keep attention and shared parts in 8 or 16 bits.
        return Precision(weights="bf16" if gemm == "int4" else "fp8", experts=moe or gemm, cache=cache)
    if (row["model"].get("kv_lora_rank") or row["model"].get("experts")) and gemm == "fp8":
        # FP8 checkpoints of expert models are scaled in blocks (DeepSeek-V3, Qwen3, MiniMax-M2, GLM; from memory, not read).
        return Precision(weights="fp8_block", experts="fp8_block", cache=cache)
    return Precision(weights=gemm, experts=moe or gemm, cache=cache)


_WORDS: tuple[tuple[str, Format], ...] = (
    ("nvfp4", "nvfp4"),
    ("mxfp4", "mxfp4"),
    ("fp4", "nvfp4"),
    ("fp8_block", "fp8_block"),
    ("fp8", "fp8"),
    ("w8a8", "int8"),
    ("smoothquant", "int8"),
    ("int8", "int8_weight"),
    ("int4", "int4"),
    ("awq", "int4"),
    ("gptq", "int4"),
    ("4bit", "int4"),
    ("4 bit", "int4"),
    ("nf4", "int4"),
    ("bf16", "bf16"),
    ("fp16", "bf16"),
    ("float16", "bf16"),
    ("fp32", "float32"),
)


_BITS = re.compile(r"(\d+(?:\.\d+)?) ?bpw|\bi?q(\d)_")
"""Bits of a weight in EXL2's and GGUF's names ("4.0bpw", "Q4_K_M")."""
_BY_BITS: dict[int, Format] = {2: "int2", 3: "int3", 4: "int4", 5: "int5", 6: "int6"}


def _format(word: object) -> Format | None:
    if not word:
        return None
    low = str(word).lower()
    if found := _BITS.search(low):
        bits = max(2, math.floor(float(found[1] or found[2]) + 0.49))
        return _BY_BITS.get(bits, "int8_weight" if bits < 9 else "bf16")
    return next((found for part, found in _WORDS if part in low), None)


def setup_of(row: Row) -> ServingSetup | None:
    """The replica that a row of an aggregated engine was measured on."""
    arch, hardware = architecture_of(row["model"]), hardware_of(row)
    if arch is None or hardware is None:
        return None
    return replica(row, arch, hardware, layout_of(row), count(row.get("pp")))


def hardware_of(row: Row) -> Device | None:
    """The device of a row; one die of a device of two has half of everything."""
    found = device_named(str(row.get("hardware")))
    if found is None or "one gcd" not in str(row.get("hardware")).lower():
        return found
    rates = {kind: rate / 2 for kind, rate in found.flops_per_s.items()}
    halves = {
        "flops_per_s": rates,
        "memory_bytes": found.memory_bytes // 2,
        "memory_bandwidth_bytes_per_s": found.memory_bandwidth_bytes_per_s / 2,
    }
    return found.model_copy(update=halves)


def layout_of(row: Row) -> tuple[int, int, int]:
    """(tp, attn_dp, ep) of an aggregated row.

    One source multiplies the tensor and expert parallel sizes of the same devices with each other (tp 8 and ep 8 on eight
    devices become 64 ranks, with moe_tp = moe_ep = 8); those are taken back to the devices there were. Where the attention
    groups are not said but a batch for each of them is, their number is the concurrency over that batch. A row that says how many
    devices there are and nothing of a layout has one replica on all of a node's (assumed).
    """
    if not any(row.get(key) for key in ("tp", "attn_dp", "pp", "moe_tp", "moe_ep", "ep")):
        return min(count(row.get("gpus")), 8), 1, count(row.get("gpus"))
    tp, dp = count(row.get("tp")), count(row.get("attn_dp"))
    moe_tp, ep = count(row.get("moe_tp")), count(row.get("moe_ep"))
    if moe_tp == ep > 1 and tp * dp == moe_tp * ep:
        tp, dp = (1, ep) if dp > 1 else (ep, 1)
    elif moe_tp == 1 and tp == dp > 1 and ep == tp * dp:
        tp, ep = 1, dp
    elif row.get("attn_dp") is None and row.get("batch_size_per_rank") and row.get("concurrency"):
        groups = round(count(row["concurrency"]) / count(row["batch_size_per_rank"]))
        if groups > 1 and tp % groups == 0:
            tp, dp = tp // groups, groups
    return tp, dp, ep


def replica(row: Row, arch: Architecture, hardware: Device, layout: tuple[int, int, int], pp: int) -> ServingSetup:
    tp, dp, ep = layout
    experts = max((g.mlp.count for g in arch.groups if isinstance(g.mlp, Experts)), default=0)
    ep = math.gcd(ep, tp * dp) if experts else 1
    while ep > max(1, experts):
        ep //= 2
    pp = min(pp, arch.layers)
    eager, engine = "eager" in str(row.get("framework")).lower(), engine_of(str(row.get("framework")))
    return ServingSetup(
        architecture=arch,
        device=hardware,
        precision=precision_of(row),
        tp=tp,
        attn_dp=dp,
        ep=ep,
        pp=pp,
        engine=engine,
        engine_version=str(row.get("framework_version") or "") or None,
        max_sequences=8192,
        chunk_tokens=whole(row.get("max_num_batched_tokens")) or 8192,
        intake_steps=whole(row.get("intake_steps")) or 1,
        memory_share=_share(row.get("gpu_mem_util")),
        compiled=not eager,
    )
