"""Which kernel computes attention on this machine, and why: one decision, kept in train.json.

`sdpa` is PyTorch's fused attention (FlashAttention-2 on a GPU, its own flash kernel on a CPU); `sdpa-chunks` the same with a mask for some
queries at a time; `flash3` FlashAttention-3 (arXiv 2407.08608) from `flash_attn_interface`, on Hopper alone; `flex` FlexAttention
(arXiv 2412.05496), which skips the blocks that a mask hides and caps scores itself; `capped-chunks` our own capped scores, made again in
the backward pass. None of them makes a square of a long input. No GPU was at hand: `flash3` and the compiled `flex` were not run.
"""

import importlib.util
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from aether.models.config import DecoderConfig

Kernel = Literal["products", "sdpa", "sdpa-chunks", "capped-chunks", "flex", "flash3"]
PRODUCTS_TOKENS = 1024
"""Up to this window the default decoder attends by matrix products on a CPU (`aether.models.kernels.attention`), beyond by SDPA. Measured
on Zen 4 with 2 threads in bfloat16: 2.5 times faster than SDPA's flash kernel at 256, 2.1 at 512; the scores grow as T^2."""
_HOPPER = 9
_FLASH3_HEAD = 256
"""Largest head of FlashAttention-3 (published: its README)."""


@dataclass(frozen=True)
class Facts:
    """What the decision looks at."""

    device: str
    bits: int
    """Of a value of queries and keys."""
    head_size: int
    capability: int | None = None
    """The GPU's major compute capability; 9: Hopper."""
    flash3: bool = False
    """`flash_attn_interface` can be imported."""
    whole: bool = True
    """Queries are all positions from the first on: no cache."""
    window: bool = False
    documents: bool = False
    sink_tokens: bool = False
    sink_logits: bool = False
    capped: bool = False
    alibi: bool = False


@dataclass(frozen=True)
class Choice:
    """A kernel, and the reason in words."""

    kernel: Kernel
    why: str


def choose(facts: Facts) -> Choice:
    """The kernel for these facts."""
    masked = facts.window or facts.documents or facts.sink_tokens
    if facts.device == "cuda" and facts.whole:
        beyond = facts.documents or facts.sink_tokens or facts.sink_logits or facts.alibi
        hopper = facts.capability == _HOPPER and facts.flash3
        if hopper and facts.bits == 16 and facts.head_size <= _FLASH3_HEAD and not beyond:
            return Choice("flash3", "Hopper with flash_attn_interface, which has windows and caps itself")
        if (masked or facts.sink_logits or facts.capped) and facts.bits < 64:
            return Choice("flex", "on a GPU FlexAttention skips what a mask hides and caps scores itself")
    if facts.capped:
        return Choice("capped-chunks", "no fused kernel here caps scores; made by blocks of queries")
    if masked or not facts.whole or facts.sink_logits:
        return Choice("sdpa-chunks", "fused attention with a mask for some queries at a time")
    return Choice("sdpa", "fused causal attention without a mask")


def here(device: torch.device, dtype: torch.dtype, head_size: int) -> Facts:
    """The facts of this machine."""
    bits = torch.finfo(dtype).bits
    if device.type != "cuda":
        return Facts(device.type, bits, head_size)
    found = importlib.util.find_spec("flash_attn_interface") is not None
    return Facts("cuda", bits, head_size, torch.cuda.get_device_capability(device)[0], found)


def of_training(config: DecoderConfig, device: torch.device, dtype: torch.dtype) -> list[dict[str, Any]]:
    """For each kind of attending layer in a pass over packed windows: layers, kernel and why."""
    if config.plain and device.type == "cpu" and config.context_tokens <= PRODUCTS_TOKENS:
        why = f"windows of at most {PRODUCTS_TOKENS} tokens on a CPU: matrix products were measured to be faster than fused attention"
        return [{"layers": list(range(config.layers)), "kernel": "products", "why": why}]
    facts = replace(
        here(device, dtype, config.head_size),
        documents=True,
        sink_logits=config.sink_logits,
        capped=config.attention_softcap is not None,
        alibi=config.positions == "alibi",
    )
    if config.memory is not None:
        facts = replace(facts, documents=False)
    found: dict[Choice, list[int]] = {}
    for layer in range(config.layers):
        if config.recurrence_at(layer) is None:
            window = config.layer_window(layer) is not None
            one = replace(facts, window=window, sink_tokens=window and config.sink_tokens > 0)
            found.setdefault(choose(one), []).append(layer)
    return [{"layers": layers, "kernel": choice.kernel, "why": choice.why} for choice, layers in found.items()]
