"""What is evaluated: a model folder, a GGUF file, or an OpenAI-compatible endpoint, as lm-evaluation-harness's model. Nothing is downloaded."""

import logging
import os
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from aether.evidence.hashing import artefacts_of, hash_artefacts, hash_file, hash_value
from aether.spec.base import Noun
from aether.spec.errors import EnvironmentFault, InputError

if TYPE_CHECKING:
    from lm_eval.api.model import LM


class Target(Noun):
    """Where the model is and how it is asked."""

    place: str
    """A folder, a .gguf file, or the address of an endpoint up to its /v1."""
    model: str = ""
    """The endpoint's name for the model."""
    chat: bool = False
    """Ask through the chat template (weights) or the chat endpoint."""
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    device: str = "cpu"
    batch_size: int = Field(default=8, ge=1)
    max_length: int | None = Field(default=None, ge=1)
    """Tokens of context that weights are given; None: as many as they were made for. Scores for every token of a long context are kept at once:
    32,768 tokens of a vocabulary of 262,144 are 34 GB."""
    concurrency: int = Field(default=4, ge=1)
    """Requests at a time to an endpoint."""

    @property
    def is_endpoint(self) -> bool:
        """Whether it is asked over HTTP."""
        return self.place.startswith(("http://", "https://"))

    def identity(self) -> dict[str, str]:
        """What an evaluation's fingerprint knows of it: the hash of the weights, or the address and the name."""
        if self.is_endpoint:
            return {"endpoint": self.place, "model": self.model}
        path = Path(self.place)
        if path.is_file():
            return {"sha256": hash_file(path), "reading": _reading_of_gguf()}
        return {"sha256": hash_artefacts(artefacts_of(path))}

    def load(self) -> "LM":
        """The model, ready to be asked. Raises InputError or EnvironmentFault with what to do."""
        logging.getLogger("lm_eval").setLevel(logging.WARNING)
        return self._endpoint() if self.is_endpoint else self._weights()

    def _weights(self) -> "LM":
        from aether.models.gguf_given import read_file
        from aether.models.gguf_tokenizer import read_tokenizer
        from aether.stages.evaluate.suites.weights import Weights

        path = Path(self.place)
        if not path.exists():
            raise InputError.of(
                "model", self.place, "no such folder or file; give a model folder, a .gguf file or an address"
            )
        arguments: dict[str, Any] = {"dtype": self.dtype, "device": self.device, "batch_size": self.batch_size}
        if self.max_length is not None:
            arguments["max_length"] = self.max_length
        where: dict[str, Any] = {"pretrained": str(path)}
        try:
            if path.is_file():
                where = {
                    "pretrained": str(path.parent),
                    "gguf_file": path.name,
                    "tokenizer": read_tokenizer(read_file(path)),
                }
            return Weights(**where, **arguments)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise InputError.of("model", self.place, f"transformers cannot load it: {str(error)[:300]}") from error

    def _endpoint(self) -> "LM":
        from lm_eval.api.registry import get_model

        if not self.model:
            raise InputError.of("model", self.place, "name the endpoint's model with --model")
        # lm-eval sends the key of its environment variable; a local server needs none, and an absent one would be refused.
        os.environ.setdefault("OPENAI_API_KEY", "none")
        path, kind = (
            ("chat/completions", "local-chat-completions") if self.chat else ("completions", "local-completions")
        )
        base = self.place.rstrip("/")
        address = f"{base}/{path}" if base.endswith("/v1") else f"{base}/v1/{path}"
        arguments = {
            "base_url": address,
            "model": self.model,
            "num_concurrent": self.concurrency,
            "tokenizer_backend": None,
            "tokenized_requests": False,
            "batch_size": 1,
            "max_retries": 3,
        }
        try:
            return get_model(kind).create_from_arg_obj(arguments)
        except ImportError as error:
            raise EnvironmentFault(f"lm-evaluation-harness lacks a package for endpoints: {error}") from error


def _reading_of_gguf() -> str:
    """What decides, besides the file, which tokens a text becomes: the code that reads its vocabulary, and the library that cuts.

    A folder's tokenizer is among its files. Answers that another reading brought are not this one's, whatever the questions' texts.
    """
    found = [find_spec(f"aether.models.{name}") for name in ("gguf_tokenizer", "gguf_byte_level")]
    code = [hash_file(Path(one.origin)) for one in found if one is not None and one.origin is not None]
    return hash_value([*code, version("tokenizers"), version("transformers")])


def target_of(place: str, model: str, settings: Sequence[str]) -> Target:
    """From what a person types: a run means its model. Raises InputError naming the setting that is none."""
    fields: dict[str, Any] = {"place": place, "model": model}
    for setting in settings:
        name, mark, value = setting.partition("=")
        if not mark or name not in Target.model_fields or name in fields:
            raise InputError.of(
                "set", setting, "write FIELD=VALUE with chat, dtype, device, batch_size, max_length or concurrency"
            )
        fields[name] = value
    if not place.startswith(("http://", "https://")) and (Path(place) / "model" / "config.json").is_file():
        fields["place"] = str(Path(place) / "model")
    try:
        return Target.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError.of(".".join(map(str, first["loc"])), str(first.get("input")), first["msg"]) from error
