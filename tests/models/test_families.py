"""Export and import: equal logits and gradients in the transformers class that computes the same, and refusals by name."""

import json
import re

import pytest
import torch
from parts_toys import random_parts, shape, tokens_of
from transformers import AutoConfig, AutoModelForCausalLM

from aether.models.families import demand_family, family_of
from aether.models.weights import load, save_pretrained
from aether.spec.errors import InputError

torch.set_num_threads(1)
YARN = {"kind": "yarn", "factor": 4, "original_context_tokens": 16}
GEMMA = {"norm_place": "sandwich", "activation": "geglu", "scale_embedding": True, "query_scale": 20, "window": 6}
SQUARE = {"head_size": 12}
GPT2 = {"positions": "learned", "norm": "layer", "qk_norm": "none", "activation": "gelu", "bias": True, "kv_heads": 4}
STARCODER = {"norm": "layer", "qk_norm": "none", "activation": "gelu"}
NEMOTRON = {"norm": "layer", "qk_norm": "none", "activation": "relu2", "rope_fraction": 0.5}
MAMBA2 = {
    "heads": 8,
    "kv_heads": 8,
    "mixer": "mamba2",
    "mlp_size": 0,
    "recurrence": {"inner_size": 96, "state_size": 8, "key_heads": 2, "conv_size": 3},
}
RANKS = {"kv_rank": 20, "query_rank": 16, "rope_size": 4, "value_size": 10}
LATENT = {"latent": RANKS, "kv_heads": 4, "qk_norm": "none"}
DEEPSEEK_EXPERTS = {
    "count": 8, "active": 3, "router": "sigmoid", "scale": 2.5, "shared_size": 160, "bias_rate": 0.001, "groups": 4,
    "active_groups": 2,
}  # fmt: skip
DELTA = {"inner_size": 40, "head_size": 10, "key_heads": 2, "key_size": 6, "conv_size": 4}
GPT_OSS = {
    "window": 6, "full_attention_every": 2,
    "qk_norm": "none", "activation": "swiglu_clamped", "bias": True, "sink_logits": True, "experts": {"count": 4, "active": 2},
}  # fmt: skip
CASES = {
    "llama": ("llama", {"qk_norm": "none"}),
    "llama, biases, yarn": ("llama", {"qk_norm": "none", "bias": True, "rope_scaling": YARN}),
    "llama, dynamic": ("llama", {"qk_norm": "none", "rope_scaling": YARN | {"kind": "dynamic"}}),
    "qwen3, linear": ("qwen3", {"rope_scaling": YARN | {"kind": "linear"}}),
    "qwen3, windows": ("qwen3", {"window": 6, "full_attention_every": 2}),
    "mistral": ("mistral", {"qk_norm": "none", "window": 6}),
    "olmo2": ("olmo2", {"norm_place": "post", "qk_norm": "full", **SQUARE}),
    "gemma2": (
        "gemma2",
        GEMMA | {"qk_norm": "none", "full_attention_every": 2, "attention_softcap": 2.0, "logit_softcap": 3.0},
    ),
    "gemma3": (
        "gemma3_text",
        GEMMA | {"full_attention_every": 3, "local_rope_theta": 100.0, "rope_scaling": YARN | {"kind": "linear"}},
    ),
    "gpt2": ("gpt2", GPT2 | SQUARE),
    "starcoder2": ("starcoder2", STARCODER | {"window": 6, "bias": True}),
    "starcoder2, no biases, yarn": ("starcoder2", STARCODER | {"rope_scaling": YARN}),
    "nemotron": ("nemotron", NEMOTRON),
    "nemotron, biases, linear": (
        "nemotron",
        NEMOTRON | {"bias": True, "rope_fraction": 1.0, "rope_scaling": YARN | {"kind": "linear"}},
    ),
    "deepseek, dense": ("deepseek_v3", LATENT),
    "deepseek, plain queries, yarn": (
        "deepseek_v3",
        LATENT | {"latent": RANKS | {"query_rank": None}, "rope_scaling": YARN},
    ),
    "deepseek, experts": ("deepseek_v3", LATENT | {"experts": DEEPSEEK_EXPERTS}),
    "mixtral": ("mixtral", {"qk_norm": "none", "experts": {"count": 4, "active": 2}}),
    "qwen3_moe": ("qwen3_moe", {"experts": {"count": 6, "active": 2, "normalise": False}, "rope_scaling": YARN}),
    "gpt-oss": ("gpt_oss", GPT_OSS),
    "gpt-oss, yarn": ("gpt_oss", GPT_OSS | {"rope_scaling": YARN | {"truncate": False}}),
    "mamba": (
        "mamba",
        {
            "mixer": "mamba",
            "mlp_size": 0,
            "heads": 1,
            "kv_heads": 1,
            "head_size": 2,
            "recurrence": {"inner_size": 96, "state_size": 4, "conv_size": 3},
        },
    ),
    "mamba2": ("mamba2", MAMBA2),
    "qwen3_next": ("qwen3_next", {"mixer": "gated_delta", "recurrence": DELTA}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_folder_loads_in_transformers_with_equal_logits_and_comes_back(tmp_path, name):
    model_type, parts = CASES[name]
    config = shape(**parts)
    family = family_of(config)
    assert family is not None and family.model_type == model_type
    model = random_parts(config).eval()
    assert sum(p.numel() for p in model.parameters()) == config.parameters()
    save_pretrained(model, tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="eager").eval()
    assert type(theirs).__name__ == family.architecture
    # Exported gains of Gemma are rounded by one subtraction.
    tokens = tokens_of(config)
    # The shorter pass first: under dynamic scaling the class keeps the frequencies of the longest text that it has seen.
    loss, logits = model.loss(tokens[:, :-1], tokens[:, 1:]), theirs(tokens[:, :-1]).logits
    their_loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    torch.testing.assert_close(loss, their_loss, rtol=1e-5, atol=1e-5)
    ours, expected = model(tokens), theirs(tokens).logits
    torch.testing.assert_close(ours, expected, rtol=5e-5, atol=5e-5)
    loss.backward()
    their_loss.backward()
    torch.testing.assert_close(model.embedding.grad, theirs.get_input_embeddings().weight.grad, rtol=1e-3, atol=1e-5)
    again = load(tmp_path)
    assert again.config == config
    torch.testing.assert_close(again(tokens), ours, rtol=5e-5, atol=5e-5)
    theirs.save_pretrained(tmp_path / "theirs")
    torch.testing.assert_close(load(tmp_path / "theirs")(tokens), ours, rtol=5e-5, atol=5e-5)


def test_ntk_is_exported_as_the_base_that_it_is(tmp_path):
    config = shape(rope_scaling=YARN | {"kind": "ntk"})
    model = random_parts(config).eval()
    save_pretrained(model, tmp_path)
    tokens = tokens_of(config)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    torch.testing.assert_close(theirs(tokens).logits, model(tokens), rtol=5e-5, atol=5e-5)
    assert load(tmp_path).config.rope_theta > config.rope_theta


OWN = {
    "alibi": {"positions": "alibi"},
    "half rotated": {"rope_fraction": 0.5},
    "dyt": {"norm": "dyt"},
    "squared relu": {"activation": "relu2"},
    "sinks": {"sink_logits": True},
    "mamba2 with feed-forward parts": {"mlp_size": 80, "mixer": "mamba2"},
    "hybrid": {"mixer_pattern": ("mamba2", "attention")},
    "sigmoid": {"experts": {"count": 4, "active": 2, "router": "sigmoid", "shared_size": 16, "bias_rate": 0.001}},
}


@pytest.mark.parametrize("name", OWN)
def test_what_no_class_computes_is_kept_in_aethers_own_format(tmp_path, name):
    config = shape(**OWN[name])
    model = random_parts(config).eval()
    save_pretrained(model, tmp_path, dtype="bfloat16")
    save_pretrained(model, tmp_path / "exact")
    again = load(tmp_path / "exact")
    assert again.config == config
    tokens = tokens_of(config)
    assert torch.equal(again(tokens), model(tokens)) and load(tmp_path).embedding.dtype == torch.bfloat16
    with pytest.raises(ValueError, match="aether_decoder"):
        AutoConfig.from_pretrained(tmp_path)
    field, value = next(iter(OWN[name].items()))
    shown = "" if isinstance(value, dict) else re.escape(f"{value!r}: no transformers class")
    with pytest.raises(InputError, match=rf"model\.{field} = {shown}"):
        demand_family(config)


@pytest.mark.parametrize(
    ("case", "change", "field"),
    [
        ("llama", {"mlp_bias": True}, "mlp_bias"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act"),
        ("llama", {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1.0}}, "rope_parameters"),
        ("llama", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4, "mscale": 2}}, "mscale"),
        ("qwen3, windows", {"layer_types": ["full_attention", "sliding_attention", "full_attention"]}, "layer_types"),
        ("mistral", {"tie_word_embeddings": False}, "tie_word_embeddings"),
        ("olmo2", {"attention_bias": True}, "attention_bias"),
        ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("gpt2", {"activation_function": "relu"}, "activation_function"),
        ("gpt2", {"n_inner": 81}, "mlp"),
        ("llama", {"model_type": "phi"}, "model_type"),
        ("starcoder2", {"hidden_act": "gelu"}, "hidden_act"),
        ("nemotron", {"mlp_bias": True}, "mlp_bias"),
        ("mixtral", {"sliding_window": 8}, "sliding_window"),
        ("qwen3_moe", {"mlp_only_layers": [0]}, "mlp_only_layers"),
        ("mamba", {"time_step_rank": 7}, "time_step_rank"),
        ("qwen3_next", {"layer_types": ["linear_attention", "full_attention"]}, "layer_types"),
        ("qwen3_next", {"num_experts": 8}, "num_experts"),
        ("mamba2", {"use_bias": True}, "use_bias"),
        ("mamba2", {"time_step_limit": [0.0, 1.0]}, "time_step_limit"),
    ],
)
def test_a_config_that_the_decoder_does_not_compute_is_refused_by_name(tmp_path, case, change, field):
    save_pretrained(random_parts(shape(**CASES[case][1])), tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=field):
        load(tmp_path)
