"""Which architecture of llama.cpp computes a config, and its names for transformers' tensors. No torch, no gguf.

`qwen3`, `llama` and `qwen3moe` compute what Aether's decoder does, without rotary scaling, windows or caps; every other part is refused by
its name. What they compute is shown by equal text (`tests/stages/serve/test_engine.py`).
"""

from aether.models.config import DecoderConfig
from aether.models.config_parts import refuse_parts
from aether.models.families import family_of

_ARCHITECTURES = {"qwen3": "qwen3", "llama": "llama", "qwen3_moe": "qwen3moe"}
_OF_EACH = {"llama": {"qk_norm", "bias"}, "qwen3moe": {"experts"}, "qwen3": set()}
"""Parts that differ from the default decoder's and are taken."""
_WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}
_BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "mlp.experts.gate_proj": "ffn_gate_exps",
    "mlp.experts.up_proj": "ffn_up_exps",
    "mlp.experts.down_proj": "ffn_down_exps",
}


def architecture(config: DecoderConfig) -> str | None:
    """llama.cpp's name of what computes `config`; None: it has none that Aether writes."""
    family = family_of(config)
    found = None if family is None else _ARCHITECTURES.get(family.model_type)
    if found is None or {name for name, _ in config.exchanged()} - _OF_EACH[found]:
        return None
    # qwen3moe always makes the weights of the chosen experts add up to one.
    return None if config.experts is not None and not config.experts.normalise else found


def demand_architecture(config: DecoderConfig) -> str:
    """As `architecture`. Raises InputError that names the part which llama.cpp has not."""
    found = architecture(config)
    if found is None:
        what, mend = "a GGUF file for llama.cpp", "keep the Hugging Face folder, or serve with engine = packed"
        refuse_parts(config, what, mend, set().union(*_OF_EACH.values()))
        refuse_parts(config, what, mend)
    assert found is not None
    return found


def tensor_name(name: str) -> str:
    """llama.cpp's name of a tensor; experts of one layer are one tensor there, and share one name."""
    stem, kind = name.rsplit(".", 1)
    if stem in _WHOLE:
        return f"{_WHOLE[stem]}.{kind}"
    layer, rest = stem.removeprefix("model.layers.").split(".", 1)
    where, _, after = rest.partition(".experts.")
    rest = f"{where}.experts.{after.split('.', 1)[1]}" if after else rest
    return f"blk.{layer}.{_BLOCK[rest]}.{kind}"


def own_name(theirs: str) -> str | None:
    """transformers' name of a tensor that llama.cpp names so; None for one that the decoder has not, and for a layer's experts."""
    stem, kind = theirs.rsplit(".", 1)
    for ours, other in _WHOLE.items():
        if stem == other:
            return f"{ours}.{kind}"
    block, _, rest = stem.partition(".")
    layer, _, rest = rest.partition(".")
    found = [ours for ours, other in _BLOCK.items() if rest == other and "experts" not in ours]
    return f"model.layers.{layer}.{found[0]}.{kind}" if block == "blk" and found else None
