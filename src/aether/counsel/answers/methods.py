"""Techniques that a request may name, by what they do: which kind of answer weighs them. Names are those of `counsel.reading`."""

from collections.abc import Iterable
from typing import Literal

from aether.spec.answer import Request

ALIASES = {"rlhf": "ppo", "rlvr": "grpo", "ipo": "dpo", "orpo": "simpo", "rloo": "grpo", "reward-model": "ppo"}
"""Ways to learn from feedback that are near another one that Aether writes files for."""
ALIGNMENTS = ("dpo", "simpo", "kto", "grpo", "ppo")
FORMATS = {
    "fp8": "fp8", "int8": "int8", "smoothquant": "int8", "nvfp4": "nvfp4", "int4": "int4", "gptq": "int4", "awq": "int4",
}  # fmt: skip
"""A method or format of compression -> the format that it writes."""
TUNINGS = {"full-fine-tuning": "full", "lora": "lora", "qlora": "qlora"}
"""A way to fine-tune -> its name in a brief."""


def alignments(methods: Iterable[str]) -> list[str]:
    """Those that learn from feedback, by the names that files are written for."""
    return [m for m in dict.fromkeys(ALIASES.get(m, m) for m in methods) if m in ALIGNMENTS]


def has_numbers(kind: str | None, request: Request) -> bool:
    """Whether what is compared can be computed: memory of ways to tune a model that is named, formats of one on a device."""
    model = request.brief.model is not None and request.brief.model.name is not None
    device = request.brief.hardware is not None and request.brief.hardware.name != "this-machine"
    return (
        (kind == "tunings" and model)
        or (kind == "formats" and model and device)
        or kind == "alignments"
        or (kind is None and device)
    )


def compared(methods: Iterable[str]) -> Literal["alignments", "formats", "tunings", "others"] | None:
    """What a comparison of these is about; None where fewer than two are named."""
    named = list(dict.fromkeys(methods))
    if len(alignments(named)) >= 2:
        return "alignments"
    if sum(m in FORMATS for m in named) >= 2:
        return "formats"
    if sum(m in TUNINGS for m in named) >= 2:
        return "tunings"
    return "others" if len(named) >= 2 else None
