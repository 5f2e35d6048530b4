"""What stands behind a row but not in it: model shapes by name, and what the source of a row says of its runs elsewhere.

A source's statement is used for each of its rows alike. One number is an assumption and no statement: the length of PEFT's rows.
"""

import re
from typing import Any

from aether.spec.architecture import Architecture, Attention, FeedForward, LayerGroup

# layers, hidden, heads, kv heads, ffn, vocabulary, gated, tied, of models that are not in the library of published ones. From
# memory, not read: the papers and model cards that named them were not opened for this table.
SHAPES: dict[str, tuple[int, int, int, int, int, int, bool, bool]] = {
    "gpt35b": (24, 4096, 32, 32, 16384, 51200, False, True),
    "gpt320b": (44, 6144, 48, 48, 24576, 51200, False, True),
    "nemotron8b": (32, 4096, 32, 32, 16384, 256000, False, False),
    "nemotron22b": (40, 6144, 48, 48, 24576, 256000, False, False),
    "llama3405b": (126, 16384, 128, 8, 53248, 128256, True, False),
    "megatron22b": (48, 6144, 64, 64, 24576, 51200, False, True),
    "turing530b": (105, 20480, 128, 128, 81920, 51200, False, True),
    "megatron1t": (128, 25600, 160, 160, 102400, 51200, False, True),
}

MULTI_TOKEN_PASSES = {"nemotron-3-super-120b-a12b": 2}
"""Multi-token prediction layers that training computes where it repeats one block (`mtp_num_layers` 2 with
`mtp_use_repeated_layer`: NVIDIA-NeMo/Megatron-Bridge, its tests of nemotron_3_super_pretrain_config; read 2026-11-25)."""
LITGPT_DEVICES = {"stablelm-base-alpha-3b_full": 2}
"""Where a full fine-tuning of LitGPT's config_hub/finetune has fewer `devices` than its machine (read 2026-11-24; gemma-2b/full.yaml
has all four)."""

DEEPSEEK_V3 = {
    "gpus": 2048,
    "pp": 16,
    "vp": 3,
    "ep": 64,
    "seq_len": 4096,
    "global_batch": 15360,
    "overlapped_dispatch": True,
}
"""How DeepSeek-V3 was pretrained: arXiv 2412.19437, sections 3.1 and 3.2 (2,048 H800, 16 stages, experts on 64, DualPipe) as quoted in a
public collection of excerpts; the batch of 15,360 windows of 4,096 tokens as told in jax-ml's "How to scale your model" (both read
2026-11-26). DualPipe's bubble, (8 - 1)(F&B + B - 3W) for 16 stages, is a third of 1F1B's where a pass of weights takes as long as one
forward (counted from that table), like three chunks of layers a stage."""
_LABORATORIES = {
    "gap-analysis/data": "aiconfigurator",
    "experimental/token_position": "InferenceX experimental",
    "silicon_sample": "InferenceX",
    "TensorRT-LLM docs": "TensorRT-LLM docs",
    "llm-foundry": "llm-foundry",
    "Megatron-Bridge": "Megatron-Bridge",
    "NeMo docs": "NeMo docs",
    "2104.04473": "2104.04473",
    "2201.11990": "2201.11990",
    "Megatron-LM README": "Megatron-LM README",
    "MaxText": "MaxText",
}
"""Words of a row's source -> who measured: a project's tables together, whatever their release. The sample of aiconfigurator holds
InferenceX's measurements and, under that path, its own."""


def measured_by(row: dict[str, Any]) -> str:
    """Who measured a row: what differs between two of them is more than chance."""
    text = str(row.get("source"))
    return next((name for words, name in _LABORATORIES.items() if words in text), text.split("(")[0].strip())


def stated(row: dict[str, Any]) -> dict[str, Any]:
    """The row with what its source says of all its runs."""
    source = str(row.get("source"))
    if "litgpt config_hub/finetune" in source:
        # LoRA's configurations have `devices: 1` whatever the machine. The README: "All runs are single-GPU experiments".
        found = re.match(r"litgpthub-(.+)\.yaml", str(row.get("id")))
        devices = 1 if "lora" in str(row.get("task")).lower() else LITGPT_DEVICES.get(found[1] if found else "")
        return {**row, "gpus": devices or row.get("gpus")}
    if "deepseek-ai/DeepSeek-V3 README" in source and row.get("metric") == "gpu_hours":
        return {**DEEPSEEK_V3, **row}
    if "huggingface/peft README" in source:
        # The README's configuration has mixed_precision 'no' and its script loads weights as they come: float32, 8 sequences
        # (examples/conditional_generation/peft_lora_seq2seq_accelerate_ds_zero3_offload.py, read 2026-11-24). Sequences are
        # tweets, padded to the longest of the batch, and targets of two words: assumed 64 and 4 tokens, so 34 for a mean layer
        # (a first version gave the decoder 64 too, and was 12 to 33 % high).
        return {"framework": "PEFT", "precision": "fp32", "micro_batch": 8, "global_batch": 8, "seq_len": 34, **row}
    return row


def t5(name: str, hidden: int, heads: int, ffn: int, vocab: int) -> Architecture:
    """T5 1.1 with 24 layers in the encoder and in the decoder, priced as one row of layers that all see the mean of both lengths.
    Shapes from memory, not read."""
    mixer, mlp = Attention(heads=heads, kv_heads=heads, head_size=64), FeedForward(size=ffn, gated=True)
    both = LayerGroup(count=48, mixer=mixer, mlp=mlp)
    cross = LayerGroup(count=24, mixer=mixer, norms=1)
    return Architecture(name=name, vocab_size=vocab, hidden_size=hidden, groups=(both, cross), tied=False, norm="rms")


ENCODER_DECODERS = {"t03b": t5("T0_3B", 2048, 32, 5120, 32128), "mt0xxl": t5("mt0-xxl", 4096, 64, 10240, 250112)}
