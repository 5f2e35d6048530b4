"""Weights in and out as a standard Hugging Face folder: what plain `AutoModelForCausalLM.from_pretrained` loads.

Follows transformers' Qwen3 names and config keys; a fused matrix is split on the way out and joined on the way in, so a
round trip is exact. Only safetensors are read, never pickles. Does not load sharded, quantised or other architectures:
those are refused with a sentence.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from aether.evidence.files import explained_os_errors, read_json, write_json
from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder, fused_rows
from aether.spec.errors import DamagedRecord, InputError

WEIGHTS_NAME = "model.safetensors"
TOKENIZER_NAMES = ("tokenizer.json", "tokenizer_config.json")
END_OF_TEXT = 0
"""Token id of "<|endoftext|>": beginning, end and padding in Aether's own tokenizers."""
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_PLAIN = {
    "attention_gain": "input_layernorm",
    "q_gain": "self_attn.q_norm",
    "k_gain": "self_attn.k_norm",
    "out": "self_attn.o_proj",
    "mlp_gain": "post_attention_layernorm",
    "down": "mlp.down_proj",
}
_FUSED = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
}
"""The decoder's names and transformers' names within a layer."""


def to_qwen3(model: Decoder) -> dict[str, Tensor]:
    """The model's tensors under transformers' names, contiguous, in the model's own type and on CPU."""
    own = {name: p.detach().cpu() for name, p in model.named_parameters()}
    named = {"model.embed_tokens.weight": own["embedding"], "model.norm.weight": own["final_gain"]}
    rows = fused_rows(model.config)
    for layer in range(model.config.layers):
        prefix = f"model.layers.{layer}."
        for ours, theirs in _PLAIN.items():
            named[f"{prefix}{theirs}.weight"] = own[f"blocks.{layer}.{ours}"]
        for ours, theirs in _FUSED.items():
            parts = own[f"blocks.{layer}.{ours}"].split(rows[ours])
            named |= {f"{prefix}{name}.weight": part for name, part in zip(theirs, parts, strict=True)}
    return {name: tensor.contiguous() for name, tensor in named.items()}


def from_qwen3(model: Decoder, named: dict[str, Tensor]) -> None:
    """Fill a model from tensors under transformers' names. Raises InputError when a name or shape is not as expected."""
    wanted = {name: tuple(tensor.shape) for name, tensor in to_qwen3(model).items()}
    given = {name: tuple(t.shape) for name, t in named.items() if name != "lm_head.weight"}
    wrong = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
    if wrong:
        name = wrong[0]
        raise InputError.of(
            name,
            given.get(name),
            f"config.json asks for {wanted.get(name)} ({len(wrong)} such tensors); use the weights of this config",
        )
    with torch.no_grad():
        model.embedding.copy_(named["model.embed_tokens.weight"])
        model.final_gain.copy_(named["model.norm.weight"])
        own = dict(model.named_parameters())
        for layer in range(model.config.layers):
            prefix = f"model.layers.{layer}."
            for ours, theirs in _PLAIN.items():
                own[f"blocks.{layer}.{ours}"].copy_(named[f"{prefix}{theirs}.weight"])
            for ours, theirs in _FUSED.items():
                own[f"blocks.{layer}.{ours}"].copy_(torch.cat([named[f"{prefix}{name}.weight"] for name in theirs]))


def qwen3_config(config: DecoderConfig, dtype: str) -> dict[str, Any]:
    """The content of config.json. No padding token: transformers would freeze that row, which is also the end of text."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.mlp_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_size,
        "hidden_act": "silu",
        "max_position_embeddings": config.context_tokens,
        "initializer_range": 0.02,
        "rms_norm_eps": config.norm_eps,
        "use_cache": True,
        "tie_word_embeddings": True,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "sliding_window": None,
        "layer_types": ["full_attention"] * config.layers,
        "bos_token_id": END_OF_TEXT,
        "eos_token_id": END_OF_TEXT,
        "dtype": dtype,
    }


def save_pretrained(
    model: Decoder, folder: Path, tokenizer_folder: Path | None = None, dtype: str = "float32", max_new_tokens: int = 64
) -> None:
    """Write config.json, generation_config.json, model.safetensors and the tokenizer's files into `folder`.

    `dtype` is "float32" or "bfloat16" on disk. Raises InputError for another, EnvironmentFault when the disk is full.
    """
    if dtype not in _DTYPES:
        raise InputError.of("dtype", dtype, f"use one of {', '.join(_DTYPES)}")
    with explained_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if tokenizer_folder is not None:
            for name in TOKENIZER_NAMES:
                shutil.copyfile(tokenizer_folder / name, folder / name)
    write_json(folder / "config.json", qwen3_config(model.config, dtype))
    generation = {"bos_token_id": END_OF_TEXT, "eos_token_id": END_OF_TEXT, "pad_token_id": END_OF_TEXT}
    write_json(folder / "generation_config.json", generation | {"do_sample": False, "max_new_tokens": max_new_tokens})
    tensors = {name: tensor.to(_DTYPES[dtype]) for name, tensor in to_qwen3(model).items()}
    write_tensors(folder / WEIGHTS_NAME, tensors, {"format": "pt"})


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Replace `path` by a safetensors file atomically: temporary file, fsync, rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explained_os_errors(path):
        with temporary.open("wb") as file:
            file.write(save(tensors, metadata))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file. Raises DamagedRecord when it is missing, cut short or something else."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    except (SafetensorError, FileNotFoundError) as error:
        raise DamagedRecord(
            f"{path} is not a whole safetensors file ({error}); delete it and make it again", path=str(path)
        ) from error


def read_config(folder: Path) -> DecoderConfig:
    """The decoder's shape from config.json. Raises InputError for an architecture or option that Aether's has not."""
    path = folder / "config.json"
    if not path.exists():
        raise InputError.of("model", str(folder), "this folder has no config.json; give a Hugging Face model folder")
    raw = read_json(path)
    if not isinstance(raw, dict):
        raise DamagedRecord(f"{path} is not a JSON object; make the folder again", path=str(path))
    expected = {
        "model_type": "qwen3",
        "tie_word_embeddings": True,
        "hidden_act": "silu",
        "attention_bias": False,
        "use_sliding_window": False,
        "quantization_config": None,
    }
    defaults = {"hidden_act": "silu", "attention_bias": False, "use_sliding_window": False}
    for key, value in expected.items():
        if raw.get(key, defaults.get(key)) != value:
            raise InputError.of(f"config.json {key}", raw.get(key), f"Aether's decoder needs {json.dumps(value)}")
    rope = raw.get("rope_parameters") or {"rope_theta": raw.get("rope_theta", 10000.0)}
    if rope.get("rope_type", "default") != "default":
        raise InputError.of("config.json rope_parameters", rope, 'Aether\'s decoder needs rope_type "default"')
    names = {
        "vocab_size": "vocab_size", "hidden_size": "hidden_size", "layers": "num_hidden_layers",
        "heads": "num_attention_heads", "kv_heads": "num_key_value_heads", "head_size": "head_dim",
        "mlp_size": "intermediate_size", "context_tokens": "max_position_embeddings", "norm_eps": "rms_norm_eps",
    }  # fmt: skip
    try:
        given = {name: raw.get(key) for name, key in names.items()}
        return DecoderConfig.model_validate(given | {"rope_theta": rope.get("rope_theta", 10000.0)})
    except ValidationError as error:
        first = error.errors()[0]
        key = names.get(str(first["loc"][0]), "rope_theta") if first["loc"] else "config.json"
        raise InputError.of(f"config.json {key}", raw.get(key), str(first["msg"])) from error


def load(folder: Path, dtype: torch.dtype | None = None) -> Decoder:
    """The decoder in a Hugging Face folder. `dtype` None keeps the type on disk.

    Raises InputError for another architecture, DamagedRecord for files that are missing or cut short.
    """
    folder = Path(folder)
    model = Decoder(read_config(folder))
    named = read_tensors(folder / WEIGHTS_NAME)
    from_qwen3(model, named)
    on_disk = named["model.embed_tokens.weight"].dtype
    return model.to(dtype or on_disk).eval()
