"""A published row as a `TrainingSetup` and a `Device`: names, software and missing fields. No number is predicted here.

The model is `shapes`', the device `machines`'. What a row leaves out gets the stated default; a field that makes no sense (a text
where a number belongs, a degree of zero) counts as left out.
"""

import itertools
import math
import re
from typing import Any

from aether.knowledge.library import Device
from aether.planning.batch import batch_sequences
from aether.planning.training.estimate import step_parts
from aether.planning.training.memory import training_memory
from aether.planning.training.setup import FineTuning, Layout, Precision, Recompute, Software, TrainingSetup
from aether.spec.architecture import Architecture, Attention, Experts, LatentAttention
from aether.spec.errors import AetherError
from benchmarks.planner_accuracy.machines import device_named
from benchmarks.planner_accuracy.shapes import architecture_of, whole
from benchmarks.planner_accuracy.sources import MULTI_TOKEN_PASSES, stated

Row = dict[str, Any]
_MOST_DEVICES = 2**20
"""No run has more (a choice): beyond, a number of devices is a slip."""


def architecture(row: Row) -> Architecture | None:
    """The row's model as its program builds it, or None when neither name nor numbers say enough."""
    model = row.get("model") or {}
    found = architecture_of(model, whole(row.get("seq_len")) or 2048)
    if found is None:
        return None
    label = f"{model.get('label', '')} {model.get('name')}" if isinstance(model, dict) else str(model)
    if "litgpt" in str(row.get("framework")).lower():
        found = found.model_copy(update={"tied": False})  # LitGPT keeps a head of its own
    computed = 0 if "w/o MTP" in label else MULTI_TOKEN_PASSES.get(found.name)
    if computed is not None:
        found = found.model_copy(update={"multi_token_layers": computed})
    return found


def device_of(row: Row) -> Device | None:
    """The device by its name; a non-standard H100 (500 W, HBM2e) as one with less bandwidth and a lower sustained clock."""
    name = str(row.get("hardware") or "")
    found = device_named(name)
    if found is not None and found.name.startswith("H100") and re.search(r"96 ?GB|HBM2e", name):
        # Assumed: at a fixed voltage curve the sustained rate goes with the square root of the power cap, 500 of 700 W.
        rates = {key: rate * (500 / 700) ** 0.5 for key, rate in found.flops_per_s.items()}
        changes = {"flops_per_s": rates, "memory_bandwidth_bytes_per_s": 2.4e12, "memory_bytes": 96 * 2**30}
        return found.model_copy(update=changes)
    return found


def precision_of(row: Row) -> Precision:
    """From the words of the row; bfloat16 where it says nothing."""
    words = str(row.get("precision") or "").lower()
    for key in ("nvfp4", "mxfp8"):
        if key in words:
            return key
    if "fp8" in words or "float8" in words:
        return "mxfp8" if re.search(r"mx|block", words) else "fp8"
    return (
        "fp16" if re.search(r"fp16|float16", words) and "bf" not in words else ("fp32" if "fp32" in words else "bf16")
    )


def software_of(row: Row) -> Software:
    """Framework family, release and attention kernel from the words of the row."""
    words = f"{row.get('framework') or ''} {row.get('source') or ''}".lower()
    options = f"{words} {row.get('compile') or ''} {row.get('precision') or ''} {row.get('note') or ''}".lower()
    if "llm-foundry" in words or "composer" in words:
        # Tables whose parameters are purely in bfloat16 are of the first sweep, on torch 1.13; later ones have the default mode.
        old = "older software" in options or row.get("mp_mode") == "PURE"
        return Software(framework="fsdp", released="2023-05" if old else "2023-12")
    if "torchtitan" in words:
        compiled = bool(row.get("compile")) or "compile" in options
        return Software(framework="torchtitan", released=_release(words, "2024-12"), compiled=compiled)
    if "maxtext" in words:
        return Software(framework="maxtext", released="2024-06", compiled=True)
    if "zero-3" in words or ("deepspeed" in words and "megatron" not in words.split("via")[0]):
        return Software(framework="deepspeed", released="2021-04", attention="materialised")
    if re.search(r"megatron|nemo|korthikanti", words):
        released = _release(words, "2024-06")
        old = int(released[:4]) < 2023
        return Software(framework="megatron", released=released, attention="materialised" if old else "flash")
    if re.search(r"litgpt|torchtune|peft|transformers", words):
        # LitGPT's finetune/full.py and lora.py: fabric.no_backward_sync until the last micro-batch (read 2026-11-24).
        return Software(framework="eager", released="2024-01", accumulates_whole="litgpt" in words)
    if "nanochat" in words:
        return Software(framework="fsdp", released="2026-01", compiled=True)
    return Software(framework="megatron", released="2024-06")


def _release(words: str, default: str) -> str:
    container = re.search(r"\b(2[3-9])\.(\d\d)\b", words)
    if container:
        return f"20{container[1]}-{container[2]}"
    if dated := re.search(r"\b(20[12]\d)[-_ ]?(0[1-9]|1[0-2])\b", words):
        return f"{dated[1]}-{dated[2]}"
    if re.search(r"2205\.05198|korthikanti", words):
        return "2022-05"
    if re.search(r"2104\.04473|2021|2201\.11990|megatron-deepspeed", words):
        return "2021-04"
    return default


def recompute_of(row: Row) -> Recompute | None:
    """What the row says, or None."""
    words = str(row.get("recompute") or "").lower()
    if not words:
        # LitGPT's scripts on several devices: activation_checkpointing_policy={Block} (finetune/full.py, read 2026-11-24).
        split = "litgpt" in str(row.get("framework")).lower() and whole(row.get("gpus")) > 1
        return "full" if split else None
    if "sel" in words:
        return "selective"
    return "full" if "full" in words else ("none" if re.search(r"none|no\b|sp only", words) else None)


def tuning_of(row: Row) -> FineTuning:
    """LoRA, QLoRA or all weights, with the bits of frozen weights."""
    words = f"{row.get('task') or ''} {row.get('id') or ''}".lower()
    precision = str(row.get("precision") or "").lower()
    if not re.search(r"lora|adapter", words):
        return FineTuning(kind="full" if re.search(r"sft|fine", str(row.get("task") or "").lower()) else "none")
    quantised = "nf4" in precision or "qlora" in words
    bits = (4.127 if "dq" in precision else 4.5) if quantised else (32.0 if precision == "fp32" else 16.0)
    kind = "qlora" if quantised else "lora"
    if "adapter" in words:
        kind = "adapter_v2" if "v2" in words else "adapter"
    return FineTuning(kind=kind, trainable_parameters=whole(row.get("trainable_params")) or None, frozen_bits=bits)


_USUAL_DEGREES = tuple((tp, pp) for tp in (1, 2, 4, 8) for pp in (1, 2, 4, 8, 16) if pp == 1 or tp in (1, 8))


def _stated_degrees(row: Row) -> bool:
    return any(row.get(key) is not None for key in ("tp", "pp", "zero_stage", "fsdp", "sharding"))


def _fastest(setup: TrainingSetup, device: Device) -> TrainingSetup:
    """The usual layout that fits and steps fastest: whoever trains a model for months is assumed to have looked for it."""
    best, least_s = setup, math.inf
    experts = max((group.mlp.count for group in setup.architecture.groups if isinstance(group.mlp, Experts)), default=1)
    for (tp, pp), stage, ep in itertools.product(
        _USUAL_DEGREES, (1, 3), {1, math.gcd(experts, 8), math.gcd(experts, 64)}
    ):
        try:
            found = _relaid(setup, tp, pp, stage, ep)
            if training_memory(found, device).total_bytes > device.memory_bytes:
                continue
            step_s = sum(step_parts(found, device).values()) / found.tokens_per_step
        except AetherError:
            continue  # a layout that this model cannot have
        if step_s < least_s:
            best, least_s = found, step_s
    return best


def _relaid(setup: TrainingSetup, tp: int, pp: int, stage: int, ep: int) -> TrainingSetup:
    """The setup with those degrees and as many tokens a step. Raises InputError where they do not fit together."""
    dp = setup.devices // (tp * pp)
    stages = max(1, round(setup.architecture.layers / pp / 4)) if pp > 1 else 1
    layout = Layout(tp=tp, pp=pp, virtual_stages=stages, ep=ep, dp=max(1, dp), zero_stage=stage)
    batch = max(layout.dp, setup.global_batch // layout.dp * layout.dp)
    rounds = max(batch // layout.dp, 4 * pp)
    data = setup.model_dump() | {"layout": layout, "devices": layout.devices, "global_batch": rounds * layout.dp}
    return TrainingSetup.model_validate(data | {"micro_batch": 1})


def _zero_stage(row: Row, pp: int) -> int:
    """The stated stage, or what the program does: FSDP shards weights, Megatron's distributed optimiser only states."""
    if str(row.get("sharding") or "") == "SHARD_GRAD_OP":
        return 2
    if row.get("zero_stage") is not None:
        return min(3 if pp == 1 else 1, whole(row["zero_stage"]))
    if pp > 1:
        return 1
    words = str(row.get("framework") or "").lower()
    full = not re.search(r"lora|adapter", str(row.get("task") or "").lower())
    shards = re.search(r"torchtitan|torchtune|maxtext|litgpt", words) and full
    return 3 if shards or whole(row.get("fsdp")) > 1 else 1


def layout_of(row: Row, arch: Architecture, devices: int) -> Layout:
    """The row's degrees; where it names none, by model size."""
    tp, pp, cp, ep = (whole(row.get(key)) or 1 for key in ("tp", "pp", "cp", "ep"))
    tp, pp = min(tp, devices), min(pp, arch.layers)
    mixers = [group.mixer for group in arch.groups if isinstance(group.mixer, Attention | LatentAttention)]
    while any(mixer.heads % tp for mixer in mixers):
        tp -= 1
    dp = max(1, devices // (tp * pp * cp))
    ep = math.gcd(ep, tp * cp * dp)
    # Tables leave the interleaving out more often than programs do: chunks of about four layers are usual.
    stages = (whole(row.get("vp")) or max(1, round(arch.layers / pp / 4))) if pp > 1 else 1
    return Layout(
        tp=tp,
        sequence_parallel="SP" in str(row.get("recompute") or "") or software_of(row).year > 2023,
        pp=pp,
        virtual_stages=min(stages, max(1, arch.layers // pp)),
        cp=cp,
        ep=ep,
        dp=dp,
        zero_stage=_zero_stage(row, pp),
    )


def _batch(row: Row, layout: Layout, seq_tokens: int) -> tuple[int, int]:
    """Sequences of a micro-batch, and micro-batches per step."""
    said = whole(row.get("micro_batch")) or whole(row.get("batch_size"))
    total = whole(row.get("global_batch")) or whole(row.get("global_batch_tokens")) // seq_tokens
    if "maxtext" in str(row.get("framework")).lower() and not total:
        return said or max(1, 8192 // seq_tokens), 1  # it does not accumulate; 8192 tokens a chip are usual
    micro = said or 1
    if rounds := whole(row.get("grad_accum")):
        return micro, rounds
    if not total and isinstance(tokens := row.get("tokens"), int | float) and 1e6 < tokens < 1e16:
        total = batch_sequences(float(tokens), seq_tokens)  # what is usual for a run of so many tokens
    total = total or max(4 * layout.pp, 8) * micro * layout.dp
    return micro, max(1, round(total / (layout.dp * micro)))


def _seq_tokens(row: Row, arch: Architecture) -> int:
    """The stated length, else that of pretraining: the model's own context, at most 8192 (longer ones are extended late); 2048."""
    said = whole(row.get("seq_len")) or whole(row.get("seq_len_max"))
    pretraining = not re.search(r"lora|sft|fine|adapter|full", str(row.get("task") or "").lower())
    return said or (min(arch.context_tokens or 2048, 8192) if pretraining else 2048)


def setup_of(row: Row) -> TrainingSetup | None:
    """The row as a training setup, or None when its model or device is unknown. Raises InputError where they do not fit together."""
    row = stated(row)
    arch, device = architecture(row), device_of(row)
    if arch is None or device is None:
        return None
    layout = layout_of(row, arch, min(whole(row.get("gpus")) or 512, _MOST_DEVICES))
    seq = _seq_tokens(row, arch)
    micro, rounds = _batch(row, layout, seq)
    words = str(row.get("framework") or "").lower()
    found = TrainingSetup(
        architecture=arch,
        device=device.name,
        devices=layout.devices,
        seq_tokens=seq + (-seq) % layout.cp,
        global_batch=rounds * layout.dp * micro,
        micro_batch=micro,
        precision=precision_of(row),
        master_weights=row.get("mp_mode") != "PURE" and not re.search(r"litgpt|torchtune", words),
        layout=layout,
        recompute="full" if row.get("metric") == "achieved_tflops_per_gpu" else recompute_of(row),
        fine_tuning=tuning_of(row),
        software=software_of(row).model_copy(update={"overlapped_dispatch": bool(row.get("overlapped_dispatch"))}),
    )
    large = found.devices >= 64 and not found.fine_tuning.frozen and "maxtext" not in words
    return _fastest(found, device) if large and not _stated_degrees(row) else found


def reason(row: Row) -> str:
    """Why nothing is predicted for the row: the field that says too little, or the sentence of the error."""
    if architecture(row) is None:
        return "model: neither a known name nor layers and width nor a size"
    if device_of(row) is None:
        return "hardware: it names no one device of the library"
    try:
        setup_of(row)
    except AetherError as error:
        return str(error)
    return "metric or unit: not one that this row's family predicts"
