"""A decoder's weights as a GGUF file, for llama.cpp: the architectures of `gguf_names`, through the `gguf` package (0.19).

The file's vocabulary is made for token ids, not for text: token i is the one character `TOKEN_ZERO + i`, so the text that
llama.cpp answers with names the tokens, one character each, and the model's own tokenizer stays the only one. There is no
end token in it: whoever reads the ids decides where a text ends. So it is no file for other programs: those
need the tokenizer that lies in the Hugging Face folder.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aether.models.config import DecoderConfig
from aether.models.gguf_names import demand_architecture, tensor_name
from aether.spec.errors import InputError

GgufType = Literal["float32", "float16", "bfloat16"]

TOKEN_ZERO = 0x10000
"""The character of token 0: from here on every code point is a whole character of four UTF-8 bytes, without surrogates."""
LARGEST_VOCABULARY = 0x110000 - TOKEN_ZERO

_TYPES = {
    "float32": gguf.GGMLQuantizationType.F32,
    "float16": gguf.GGMLQuantizationType.F16,
    "bfloat16": gguf.GGMLQuantizationType.BF16,
}


def write_gguf(path: Path, config: DecoderConfig, weights: Mapping[str, Tensor], dtype: GgufType) -> None:
    """Write `weights` (under transformers' names, as `weights.to_named` gives) with matrices in `dtype`, norms in float32.

    Raises InputError when llama.cpp has not one of the parts, the vocabulary has no room in Unicode, or a weight none in float16.
    """
    architecture = demand_architecture(config)
    writer = gguf.GGUFWriter(path, architecture)
    _write_shape(writer, config)
    add_id_vocabulary(writer, config.vocab_size)
    for name, tensor in _theirs(config, weights).items():
        _write_tensor(writer, name, tensor, dtype)
    finish(writer)


def add_id_vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    """The vocabulary of `size` ids. Raises InputError when it has no room in Unicode."""
    if size > LARGEST_VOCABULARY:
        mend = (
            f"llama.cpp is given token ids as characters, of which there are {LARGEST_VOCABULARY}; use engine = packed"
        )
        raise InputError.of("vocab_size", size, mend)
    # RWKV's is the vocabulary type of llama.cpp whose tokens are plain bytes and that has no end token by default.
    writer.add_tokenizer_model("rwkv")
    writer.add_token_list([chr(TOKEN_ZERO + token) for token in range(size)])


def tokens_of(text: str) -> list[int]:
    """The token ids that a text in this vocabulary names."""
    return [ord(character) - TOKEN_ZERO for character in text]


def _theirs(config: DecoderConfig, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as llama.cpp names and lays them out: experts of a layer as one; `llama` turns pairs that lie side by side."""
    found: dict[str, list[Tensor]] = {}
    for name, tensor in weights.items():
        if config.qk_norm == "none" and name.rsplit(".", 2)[-2] in ("q_proj", "k_proj"):
            rows = torch.arange(tensor.shape[0]).view(-1, 2, config.head_size // 2)
            tensor = tensor[rows.transpose(1, 2).flatten()]
        found.setdefault(tensor_name(name), []).append(tensor)
    return {name: torch.stack(parts) if len(parts) > 1 else parts[0] for name, parts in found.items()}


def finish(writer: gguf.GGUFWriter) -> None:
    """Write what was added, and close the file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_shape(writer: gguf.GGUFWriter, config: DecoderConfig) -> None:
    writer.add_context_length(config.context_tokens)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.mlp_size)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_size)
    writer.add_value_length(config.head_size)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    if config.experts is not None:
        writer.add_expert_count(config.experts.count)
        writer.add_expert_used_count(config.experts.active)
        writer.add_expert_feed_forward_length(config.mlp_size)


def _write_tensor(writer: gguf.GGUFWriter, name: str, tensor: Tensor, dtype: GgufType) -> None:
    array = tensor.detach().to(torch.float32).numpy()
    add_array(writer, name, array, dtype)


def add_array(writer: gguf.GGUFWriter, name: str, array: NDArray[np.float32], dtype: GgufType) -> None:
    """A tensor: matrices in `dtype`, others in float32. Raises InputError where float16 has no room for its numbers."""
    stored = _TYPES[dtype] if array.ndim > 1 else gguf.GGMLQuantizationType.F32
    if stored == gguf.GGMLQuantizationType.F16 and not np.abs(array).max() <= np.finfo(np.float16).max:
        raise InputError.of("engine.dtype", dtype, f"{name} does not fit into it; use float32")
    data = array if stored == gguf.GGMLQuantizationType.F32 else gguf.quants.quantize(array, stored)
    writer.add_tensor(name, np.ascontiguousarray(data), raw_dtype=stored)
