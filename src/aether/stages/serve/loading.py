"""From a model folder or a GGUF file to what the server needs: packed weights, the token table, prompts as tokens, chats as prompts.

Reads a Hugging Face folder through `aether.models`. A chat template, where there is one, is rendered in jinja2's
immutable sandbox, because it comes with the model and is not ours; messages are data to it, never code.
"""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jinja2
import torch
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from aether.evidence.extras import install_command
from aether.evidence.files import read_json
from aether.evidence.hashing import hash_model
from aether.models import quantized, weights
from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder
from aether.models.packed import PackedDecoder
from aether.models.parts_rows import PartsRows
from aether.spec.errors import EnvironmentFault, InputError
from aether.stages.serve.detokenize import token_bytes
from aether.stages.serve.engine import Deliver, Engine, Limits
from aether.stages.serve.packed_engine import PackedEngine
from aether.stages.serve.recipe import EngineRecipe, Precision

if TYPE_CHECKING:
    from aether.stages.serve.llama_engine import LlamaModel


@dataclass(frozen=True)
class Served:
    """A model that is ready to be served. `bos_token` begins a prompt that is given as text; None when it has none."""

    name: str
    sha256: str
    """Of the folder or file (`hash_model`)."""
    model: "PackedDecoder | PartsRows | LlamaModel"
    table: list[bytes]
    tokenizer: Tokenizer
    bos_token: int | None
    eos_tokens: frozenset[int]
    template: jinja2.Template | None
    context_tokens: int
    dtype: str

    def encode(self, text: str) -> list[int]:
        """A text prompt as tokens: the beginning of a document, so the begin token comes first where there is one."""
        tokens = self.tokenizer.encode(text).ids
        if self.bos_token is not None and tokens[:1] != [self.bos_token]:
            return [self.bos_token, *tokens]
        return tokens

    def decode(self, tokens: list[int]) -> str:
        """Tokens as text."""
        return self.tokenizer.decode(tokens)

    def chat_prompt(self, messages: list[dict[str, str]]) -> str:
        """Messages as one prompt. Without a template the model is a base model: it continues their texts, in order."""
        if self.template is None:
            return "\n\n".join(message["content"] for message in messages)
        return self.template.render(messages=messages, add_generation_prompt=True)

    @property
    def engine(self) -> str:
        """Which engine computes it, as `EngineRecipe.engine` names it."""
        return "packed" if isinstance(self.model, PackedDecoder | PartsRows) else "llama.cpp"

    def make_engine(self, limits: Limits, deliver: Deliver) -> Engine:
        """The engine over the model; `start` is still to be called."""
        if isinstance(self.model, PackedDecoder | PartsRows):
            return PackedEngine(self.model, self.table, limits, deliver)
        from aether.stages.serve.llama_engine import LlamaEngine

        return LlamaEngine(self.model, self.table, limits, deliver)


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for it."""
    information = Path("/proc/cpuinfo")
    flags = information.read_text(encoding="utf-8") if information.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def resolve_dtype(wanted: Precision) -> torch.dtype:
    """`auto` is bfloat16 only where the processor has instructions for it; emulated bfloat16 is slower than float32."""
    if wanted == "auto":
        return torch.bfloat16 if multiplies_bfloat16() else torch.float32
    return torch.bfloat16 if wanted == "bfloat16" else torch.float32


def load_served(folder: Path, engine: EngineRecipe, name: str | None = None, threads: int = 1) -> Served:
    """Everything from a model folder or a GGUF file. `threads` are llama.cpp's own; torch and numpy take those that the process set.

    Raises InputError or DamagedRecord when something in it cannot be served, EnvironmentFault when the engine is missing.
    """
    if folder.suffix == ".gguf" and folder.is_file():
        return _load_gguf(folder, engine, name, threads)
    if not folder.is_dir():
        raise InputError.of("model", str(folder), "give a Hugging Face model folder that exists")
    for needed in ("config.json", "tokenizer.json"):
        if not (folder / needed).is_file():
            raise InputError.of("model", str(folder), f"it has no {needed}; give a whole Hugging Face model folder")
    decoder = quantized.load(folder)
    model, dtype = _backend(decoder, engine, threads)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    raw = read_json(folder / "config.json")
    begin, end = raw.get("bos_token_id"), raw.get("eos_token_id")
    return Served(
        name=name or _folder_name(folder),
        sha256=hash_model(folder),
        model=model,
        table=token_bytes(tokenizer),
        tokenizer=tokenizer,
        bos_token=begin,
        eos_tokens=frozenset([end] if isinstance(end, int) else end or []),
        template=template_of(_template_text(folder)),
        context_tokens=decoder.config.context_tokens,
        dtype=dtype,
    )


def _backend(
    decoder: Decoder, engine: EngineRecipe, threads: int
) -> "tuple[PackedDecoder | PartsRows | LlamaModel, str]":
    """The model in the engine's own form, and the type that it computes in."""
    config = decoder.config
    if engine.engine != "llama.cpp" and engine.dtype != "float16":
        dtype = resolve_dtype(engine.dtype)
        name = str(dtype).removeprefix("torch.")
        if not config.plain:
            return PartsRows(decoder, engine.slots, dtype), name
        return PackedDecoder(config, weights.to_qwen3(decoder), engine.slots, dtype), name
    kind = "float16" if engine.dtype == "auto" else engine.dtype

    def write(path: Path) -> None:
        from aether.models.gguf_file import write_gguf

        write_gguf(path, config, weights.to_named(decoder), kind)

    return _llama(config, write, engine, threads), kind


def _llama(config: DecoderConfig, write: Callable[[Path], None], engine: EngineRecipe, threads: int) -> "LlamaModel":
    if not llama_is_here():
        raise EnvironmentFault(f"engine = llama.cpp needs xllamacpp and gguf; run `{install_command('serve')}`")
    from aether.stages.serve.llama_engine import LlamaModel, LlamaSettings

    kind = "float16" if engine.dtype == "auto" else engine.dtype
    return LlamaModel(config, write, LlamaSettings(engine.slots, engine.chunk_tokens, threads, kind))


def _load_gguf(path: Path, engine: EngineRecipe, name: str | None, threads: int) -> Served:
    """A GGUF file with its own tokenizer and chat template: by llama.cpp, its matrices as they are unless a type is asked for, or by our decoder."""
    from aether.models.gguf_given import copy_with_ids, decoder_of, main_type, read_file, shape_of
    from aether.models.gguf_tokenizer import begins, end_tokens, read_tokenizer

    reader = read_file(path)
    config, known = shape_of(reader), read_tokenizer(reader)
    if known is None:
        raise InputError.of(
            "model", str(path), "its tokenizer is of a kind that is not read; give a Hugging Face folder"
        )
    if engine.engine == "packed":
        model, dtype = _backend(decoder_of(reader), engine, threads)
    else:
        kind = None if engine.dtype == "auto" else engine.dtype
        model, dtype = _llama(config, lambda copy: copy_with_ids(reader, copy, kind), engine, threads), kind
    tokenizer, begin = known.backend_tokenizer, cast("int | None", known.bos_token_id)
    return Served(
        name=name or path.stem,
        sha256=hash_model(path),
        model=model,
        table=token_bytes(tokenizer),
        tokenizer=tokenizer,
        bos_token=begin if begins(known) else None,
        eos_tokens=end_tokens(reader),
        template=template_of(known.chat_template),
        context_tokens=config.context_tokens,
        dtype=dtype or main_type(reader),
    )


def llama_is_here() -> bool:
    """Whether llama.cpp can be had in this environment."""
    return all(importlib.util.find_spec(name) is not None for name in ("xllamacpp", "gguf"))


def _folder_name(folder: Path) -> str:
    """The folder's own name; a step's `model` folder says nothing, so its parent's is used."""
    path = folder.resolve()
    return path.parent.name if path.name == "model" and path.parent.name else path.name


def _template_text(folder: Path) -> Any:
    path = folder / "tokenizer_config.json"
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8")).get("chat_template") if path.is_file() else None


def template_of(text: Any) -> jinja2.Template | None:
    """A chat template; None where there is no text of one. Raises InputError when it is not jinja2's."""
    if not isinstance(text, str):
        return None
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    try:
        return environment.from_string(text)
    except jinja2.TemplateError as error:
        raise InputError.of("chat_template", text[:60], f"it is not a jinja2 template ({error})") from error
