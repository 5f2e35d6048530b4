"""Whether a recommendation to train says everything that is needed to do it again; what it leaves out is listed, and asked."""

import re

_RECOMMENDS = re.compile(
    r"\b(?:i (?:would )?(?:recommend|suggest|propose)|recommended|recipe|use (?:a )?(?:learning rate|batch|lora|adamw)|decision|configure|set (?:the )?(?:learning rate|batch))\b",
    re.I,
)
_TRAINING = re.compile(
    r"\b(?:pre-?train|fine-?tun|train(?:ing)?|sft|lora|qlora|dpo|grpo|continued pretraining)\w*\b", re.I
)
_HYPERPARAMETERS = re.compile(
    r"\b(?:learning rate|lr|batch size|epochs?|warm-?up|weight decay|optimi[sz]er|rank)\b", re.I
)
_PARTS = {
    "exact model configuration (hidden size, layers, heads, vocabulary)": re.compile(r"\b(?:hidden size|layers|heads|config\.json|vocab\w*|model (?:name|config))\b|\b[\w.-]+-\d+(?:\.\d+)?b\b", re.I),
    "data composition and token counts": re.compile(r"\b(?:tokens|dataset|data set|data mix|corpus|examples|pairs)\b", re.I),
    "optimiser, schedule and all hyperparameters": re.compile(r"\b(?:adamw?|muon|lion|sgd|optimi[sz]er)\b[\s\S]*\b(?:schedule|cosine|wsd|linear|warm-?up|decay)\b|\b(?:schedule|cosine|wsd|warm-?up)\b[\s\S]*\b(?:adamw?|muon|lion|sgd|optimi[sz]er)\b", re.I),
    "hardware and parallelism": re.compile(r"\b(?:gpus?|h100|a100|h200|b200|mi300x|tpu|cpu|devices?|cores?|fsdp|zero|tensor parallel|data parallel|tp\d|this machine)\b", re.I),
    "evaluation methodology": re.compile(r"\b(?:evaluat\w*|held-?out|validation|benchmark|paired test|test set|metric)\b", re.I),
}  # fmt: skip


def missing_parts(reply: str) -> tuple[str, ...]:
    """What a recommendation of a training leaves out; empty for a reply that recommends none."""
    if not (_RECOMMENDS.search(reply) and _TRAINING.search(reply) and _HYPERPARAMETERS.search(reply)):
        return ()
    return tuple(part for part, pattern in _PARTS.items() if not pattern.search(reply))


def completed(reply: str) -> str:
    """The reply, with a section that asks for what it leaves out."""
    missing = missing_parts(reply)
    if not missing:
        return reply
    lines = "\n".join(f"- {part}: not stated; say it, or ask for a plan that fixes it" for part in missing)
    return f"{reply.rstrip()}\n\n## To reproduce this\n\n{lines}\n"
