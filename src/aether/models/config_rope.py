"""Rotary scaling as transformers writes it in config.json (`rope_parameters`), in both directions. No torch.

NTK-aware scaling has no name there: it is a larger base, and is written as one. What is read back then is that base.
"""

from typing import Any

from pydantic import ValidationError

from aether.models.config_parts import RopeScaling
from aether.spec.errors import InputError

_READ = {"default": None, "linear": "linear", "dynamic": "dynamic", "yarn": "yarn"}
_KNOWN = frozenset(
    {
        "rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings", "beta_fast", "beta_slow",
        "attention_factor", "partial_rotary_factor", "truncate", "mscale", "mscale_all_dim",
    }
)  # fmt: skip


def rope_parameters(theta: float, scaling: RopeScaling | None, rotated_size: int) -> dict[str, Any]:
    """What transformers reads as `scaling` of base `theta` for heads that rotate `rotated_size` values."""
    if scaling is None:
        return {"rope_type": "default", "rope_theta": theta}
    if scaling.kind == "ntk":
        return {"rope_type": "default", "rope_theta": theta * scaling.factor ** (rotated_size / (rotated_size - 2))}
    said = {
        "rope_type": scaling.kind,
        "rope_theta": theta,
        "factor": scaling.factor,
        "original_max_position_embeddings": scaling.original_context_tokens,
    }
    if scaling.kind == "yarn":
        said |= {"beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow}
        said["attention_factor"] = scaling.yarn_attention_factor()
        said |= {} if scaling.truncate else {"truncate": False}
    return said


def rope_scaling(said: dict[str, Any], context_tokens: Any) -> tuple[Any, RopeScaling | None]:
    """(base, scaling) of `rope_parameters`. Raises InputError for a kind or a value that Aether's decoder has not."""
    name = "config.json rope_parameters"
    kind = said.get("rope_type", said.get("type", "default"))
    strange = sorted(set(said) - _KNOWN)
    if kind not in _READ or strange:
        raise InputError.of(
            name, said, f"Aether's decoder knows rope_type {', '.join(_READ)} and the keys {', '.join(sorted(_KNOWN))}"
        )
    if said.get("partial_rotary_factor", 1.0) != 1.0:
        raise InputError.of(name, said, "Aether reads whole rotary heads alone")
    if said.get("mscale") or said.get("mscale_all_dim"):
        raise InputError.of(name, said, "give the attention_factor that mscale and mscale_all_dim stand for")
    theta = said.get("rope_theta", 10000.0)
    if kind == "default":
        return theta, None
    original = said.get("original_max_position_embeddings")
    if original is None:
        original = context_tokens
        if kind == "linear" and isinstance(original, int) and isinstance(said.get("factor"), int | float):
            original = max(1, int(original / said["factor"]))
    if kind == "dynamic":
        original = context_tokens
    given = {"kind": kind, "factor": said.get("factor"), "original_context_tokens": original}
    if kind == "yarn":
        named = ("beta_fast", "beta_slow", "attention_factor", "truncate")
        given |= {key: said[key] for key in named if said.get(key) is not None}
    try:
        found = RopeScaling.model_validate(given)
    except ValidationError as error:
        raise InputError.of(name, said, str(error.errors()[0]["msg"])) from error
    own = found.model_copy(update={"attention_factor": None})
    return theta, own if own.yarn_attention_factor() == found.yarn_attention_factor() else found
