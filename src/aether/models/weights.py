"""Weights in and out as a standard Hugging Face folder: what plain `AutoModelForCausalLM.from_pretrained` loads.

Follows transformers' Qwen3 names and config keys; a fused matrix is split on the way out and joined on the way in, so a
round trip is exact. A decoder with exchanged parts is written as the class that computes it (`families`), or where there is
none in Aether's own format, which transformers refuses by its `model_type`. Only safetensors are read, never pickles. Does not
load sharded, quantised or other architectures: those are refused with a sentence.
"""

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
from aether.models.families import config_key, config_of, family_of, transformers_config
from aether.models.families_weights import from_transformers, to_transformers
from aether.models.parts.decoder import decoder
from aether.spec.errors import DamagedRecord, InputError

WEIGHTS_NAME = "model.safetensors"
TOKENIZER_NAMES = ("tokenizer.json", "tokenizer_config.json")
END_OF_TEXT = 0
"""Token id of "<|endoftext|>": beginning, end and padding in Aether's own tokenizers."""
OWN_TYPE = "aether_decoder"
"""`model_type` of folders that only Aether loads."""
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


def to_named(model: Decoder) -> dict[str, Tensor]:
    """The tensors as a folder holds them: under the names of the transformers class that computes the model, or its own."""
    if model.config.plain:
        return to_qwen3(model)
    family = family_of(model.config)
    if family is not None:
        return to_transformers(model, family)
    return {name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}


def from_qwen3(model: Decoder, named: dict[str, Tensor]) -> None:
    """Fill a model from tensors under transformers' names. Raises InputError when a name or shape is not as expected."""
    _compare({name: tuple(tensor.shape) for name, tensor in to_qwen3(model).items()}, named)
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


def _compare(wanted: dict[str, tuple[int, ...]], named: dict[str, Tensor]) -> None:
    """Raise InputError when names or shapes differ; an output head that is the embedding may be written twice."""
    given = {name: tuple(t.shape) for name, t in named.items() if name != "lm_head.weight"}
    wrong = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
    if wrong:
        name = wrong[0]
        raise InputError.of(
            name,
            given.get(name),
            f"config.json (its model_type too) asks for {wanted.get(name)} ({len(wrong)} such tensors); use the weights of this config",
        )


def own_config(config: DecoderConfig, dtype: str) -> dict[str, Any]:
    """The content of config.json of a decoder that no transformers class computes: only Aether loads it."""
    return {
        "model_type": OWN_TYPE,
        "decoder": config.model_dump(mode="json"),
        "bos_token_id": END_OF_TEXT,
        "eos_token_id": END_OF_TEXT,
        "dtype": dtype,
    }


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


def _config_json(config: DecoderConfig, dtype: str) -> dict[str, Any]:
    if config.plain:
        return qwen3_config(config, dtype)
    return own_config(config, dtype) if family_of(config) is None else transformers_config(config, dtype, END_OF_TEXT)


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
    write_json(folder / "config.json", _config_json(model.config, dtype))
    generation = {"bos_token_id": END_OF_TEXT, "eos_token_id": END_OF_TEXT, "pad_token_id": END_OF_TEXT}
    write_json(folder / "generation_config.json", generation | {"do_sample": False, "max_new_tokens": max_new_tokens})
    tensors = {name: tensor.to(_DTYPES[dtype]) for name, tensor in to_named(model).items()}
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
    try:
        if raw.get("model_type") == OWN_TYPE and raw.get("quantization_config") is None:
            return DecoderConfig.model_validate(raw.get("decoder"))
        return config_of(raw)
    except ValidationError as error:
        first = error.errors()[0]
        ours = str(first["loc"][0]) if first["loc"] else ""
        theirs = config_key(str(raw.get("model_type")), ours)
        raise InputError.of(f"config.json {theirs}", raw.get(theirs), str(first["msg"])) from error


def model_of(config: DecoderConfig, named: dict[str, Tensor]) -> Decoder:
    """The decoder of `config` with these weights, under the names that `save_pretrained` writes.

    Raises InputError when a name or shape is not as the config asks.
    """
    model = decoder(config)
    if config.plain:
        from_qwen3(model, named)
        return model
    family = family_of(config)
    own = {name: p.detach() for name, p in model.named_parameters()}
    wanted = own if family is None else to_transformers(model, family)
    _compare({name: tuple(t.shape) for name, t in wanted.items()}, named)
    if family is not None:
        from_transformers(model, family, named)
        return model
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(named[name])
    return model


def load(folder: Path, dtype: torch.dtype | None = None) -> Decoder:
    """The decoder in a Hugging Face folder. `dtype` None keeps the type on disk.

    Raises InputError for another architecture, DamagedRecord for files that are missing or cut short.
    """
    folder = Path(folder)
    config = read_config(folder)
    named = read_tensors(folder / WEIGHTS_NAME)
    model = model_of(config, named)
    on_disk = next(iter(named.values())).dtype
    return model.to(dtype or on_disk).eval()
