"""A GGUF file that was given: its shape, its weights as Aether's decoder, and a copy whose vocabulary is made for token ids, for llama.cpp to serve.

The copy's tensors stay byte for byte what they were, quantised or not, unless another type is asked for; `gguf_file` says what the ids' vocabulary is.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import gguf
import torch

from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder
from aether.models.gguf_file import GgufType, add_array, add_id_vocabulary, finish
from aether.models.gguf_names import own_name
from aether.models.weights import model_of
from aether.spec.errors import InputError

_PARTS: dict[str, dict[str, Any]] = {"llama": {"qk_norm": "none"}, "qwen3": {}}
"""Architectures whose shape is read, and the parts in which they differ from the default decoder's."""


def read_file(path: Path) -> gguf.GGUFReader:
    """The file, mapped. Raises InputError when it is none."""
    try:
        return gguf.GGUFReader(path)
    except (OSError, ValueError, IndexError) as error:
        raise InputError.of("model", str(path), f"it is no whole GGUF file ({error})") from error


def shape_of(reader: gguf.GGUFReader) -> DecoderConfig:
    """Sizes and context (tied head or not: the shape does not say). Raises InputError for an architecture that is not read."""
    architecture = str(reader.fields["general.architecture"].contents())
    if architecture not in _PARTS:
        raise InputError.of("general.architecture", architecture, f"a served GGUF file is one of {', '.join(_PARTS)}")

    def known(name: str, default: Any = None) -> Any:
        field = reader.fields.get(f"{architecture}.{name}")
        return default if field is None else field.contents()

    heads, width = known("attention.head_count"), known("embedding_length")
    return DecoderConfig(
        vocab_size=len(reader.fields["tokenizer.ggml.tokens"].data),
        hidden_size=width,
        layers=known("block_count"),
        heads=heads,
        kv_heads=known("attention.head_count_kv", heads),
        head_size=known("attention.key_length", width // heads),
        mlp_size=known("feed_forward_length"),
        context_tokens=known("context_length"),
        rope_theta=known("rope.freq_base", 10000.0),
        norm_eps=known("attention.layer_norm_rms_epsilon"),
        **_PARTS[architecture],
    )


def decoder_of(reader: gguf.GGUFReader) -> Decoder:
    """The file as Aether's decoder, quantised matrices expanded. Raises InputError for a tensor that it has not, such as a head of its own."""
    config, named = shape_of(reader), {}
    for tensor in reader.tensors:
        name = own_name(tensor.name)
        if name is None:
            raise InputError.of(
                "model", tensor.name, "Aether's decoder has no such tensor; serve it with engine = llama.cpp"
            )
        values = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
        if config.qk_norm == "none" and name.rsplit(".", 2)[-2] in ("q_proj", "k_proj"):
            rows = torch.arange(values.shape[0]).view(-1, config.head_size // 2, 2)
            values = values[rows.transpose(1, 2).flatten()]
        named[name] = values
    return model_of(config, named)


def main_type(reader: gguf.GGUFReader) -> str:
    """The type that most of the matrices have, as `Q4_1`."""
    kinds = Counter(tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1)
    return kinds.most_common(1)[0][0]


def copy_with_ids(reader: gguf.GGUFReader, path: Path, dtype: GgufType | None = None) -> None:
    """Write the file again to `path` with the vocabulary of `gguf_file` in place of its own; matrices in `dtype`, None: as they are.

    Raises InputError where float16 has no room for a weight.
    """
    writer = gguf.GGUFWriter(path, str(reader.fields["general.architecture"].contents()))
    for name, field in reader.fields.items():
        if name.startswith(("GGUF.", "tokenizer.")) or name == "general.architecture":
            continue
        inner = field.types[1] if len(field.types) > 1 else None
        writer.add_key_value(name, field.contents(), field.types[0], inner)
    add_id_vocabulary(writer, len(reader.fields["tokenizer.ggml.tokens"].data))
    for tensor in reader.tensors:
        if dtype is None:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        else:
            add_array(writer, tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype)
    finish(writer)
