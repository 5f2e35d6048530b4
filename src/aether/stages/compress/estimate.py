"""How large the exported model is and how long choosing it takes. Pure arithmetic.

Sizes of tensors are exact; the tokenizer's files are given. Which candidate passes the quality test is not foreseen:
the caller gets every candidate's size.
"""

from aether.models.config import DecoderConfig
from aether.spec.evidence import Interval
from aether.spec.plan import Estimate, Term
from aether.stages.compress.recipe import Candidate, CompressRecipe

FORWARD_SHARE = 0.35
"""Share of the measured matrix rate that a forward pass of a small decoder reaches. Assumed."""
OVERHEAD_BYTES = 12_000
"""config.json, generation_config.json, the card and the safetensors header of a small model. Assumed; within 10 kB."""
SPREAD = 2.0
"""The interval of the time is the value over and times this."""


def weight_bytes(candidate: Candidate, shape: DecoderConfig) -> int:
    """Bytes of the tensors of a candidate, exact when group sizes divide the layers."""
    total, matrices = shape.parameters(), shape.matrix_parameters()
    if candidate.kind != "integer":
        return total * (4 if candidate.kind == "float32" else 2)
    assert candidate.bits is not None
    heads, kv_heads, size, hidden, mlp = shape.heads, shape.kv_heads, shape.head_size, shape.hidden_size, shape.mlp_size
    # (rows, columns) of q, k, v, o, gate, up, down.
    layers = [(heads * size, hidden), (kv_heads * size, hidden), (kv_heads * size, hidden), (hidden, heads * size)]
    layers += [(mlp, hidden), (mlp, hidden), (hidden, mlp)]
    per_word = 32 // candidate.bits
    words = sum(rows * -(-columns // per_word) for rows, columns in layers)
    if candidate.group_size is None:
        scale_bytes = 4 * sum(rows for rows, _ in layers)
    else:
        scale_bytes = 2 * sum(rows * (columns // candidate.group_size) for rows, columns in layers)
    shape_bytes = 16 * len(layers)
    return shape.layers * (4 * words + scale_bytes + shape_bytes) + 2 * (total - matrices)


def size_on_disk(candidate: Candidate, shape: DecoderConfig, tokenizer_bytes: int) -> Estimate:
    """Bytes of the exported folder if this candidate is kept."""
    weights = weight_bytes(candidate, shape)
    value = float(weights + tokenizer_bytes + OVERHEAD_BYTES)
    formula = "tensors + tokenizer + card, configs and header"
    parts = (("tensors", weights), ("tokenizer", tokenizer_bytes), ("rest", OVERHEAD_BYTES))
    return Estimate(
        metric="size_on_disk",
        value=value,
        unit="byte",
        interval=Interval(low=value - 10_000, high=value + 10_000, level=0.9, method="spread of the small files"),
        kind="computed",
        formula=formula,
        terms=tuple(Term(name=name, value=v, unit="byte", kind="computed", source=formula) for name, v in parts),
        binding="tensors",
    )


def wall_time(recipe: CompressRecipe, shape: DecoderConfig, matrix_flops_per_s: float) -> Estimate:
    """Seconds of the compress step."""
    context = shape.context_tokens
    tokens = len(recipe.candidates) * recipe.validation_documents * recipe.context_windows * context
    value = tokens * shape.flops_per_token(context / 2) / (matrix_flops_per_s * FORWARD_SHARE)
    formula = "candidates * documents * context * FLOPs per token / (matrix rate * share)"
    term = Term(name="tokens", value=float(tokens), unit="token", kind="computed", source=formula)
    return Estimate(
        metric="wall_time",
        value=value,
        unit="s",
        interval=Interval(
            low=value / SPREAD, high=value * SPREAD + 10, level=0.8, method="assumed factor of 2, and 10 s of start"
        ),
        kind="computed",
        formula=formula,
        terms=(term,),
        binding="tokens",
    )
