"""What is evaluated: a model folder, a GGUF file, or an OpenAI-compatible endpoint, as lm-evaluation-harness's model. Nothing is downloaded."""

import json
import logging
import os
import urllib.request
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from aether.evidence.hashing import hash_file, hash_model, hash_value
from aether.spec.base import Noun
from aether.spec.endpoint import base_of, is_address
from aether.spec.errors import EnvironmentFault, InputError

if TYPE_CHECKING:
    from lm_eval.api.model import LM


SAID = {"weights_sha256": str, "guarded": bool}
"""What of an endpoint's own list of models is kept."""
SAYS_IN_S, MOST_BYTES = 10.0, 1_000_000
"""How long that list may take, and be. Assumed."""


def api_key() -> str:
    """The key that endpoints are sent: a local server needs none, and an absent one would be refused."""
    return os.environ.get("OPENAI_API_KEY") or "none"


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
        return is_address(self.place)

    def identity(self) -> dict[str, str]:
        """What an evaluation's fingerprint knows of it: the hash of the weights, or the address and the name."""
        if self.is_endpoint:
            return {"endpoint": self.place, "model": self.model}
        path = Path(self.place)
        return {"sha256": hash_model(path)} | ({"reading": _reading_of_gguf()} if path.is_file() else {})

    def served(self) -> dict[str, Any]:
        """What an endpoint says of the model beside its name: `weights_sha256` and whether it is `guarded`, as Aether's server does. Empty for
        one that says neither or does not answer, and for weights."""
        if not self.is_endpoint:
            return {}
        asked = urllib.request.Request(f"{self.base}/models", headers={"Authorization": f"Bearer {api_key()}"})
        try:
            with urllib.request.urlopen(asked, timeout=SAYS_IN_S) as answer:
                rows = json.loads(answer.read(MOST_BYTES))["data"]
            said = next((row for row in rows if row["id"] == self.model), {})
            return {name: kind(said[name]) for name, kind in SAID.items() if name in said}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    @property
    def base(self) -> str:
        """An endpoint's address up to its /v1."""
        return base_of(self.place)

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
        os.environ["OPENAI_API_KEY"] = api_key()
        path, kind = (
            ("chat/completions", "local-chat-completions") if self.chat else ("completions", "local-completions")
        )
        arguments = {
            "base_url": f"{self.base}/{path}",
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


def check_served(record: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises InputError where an endpoint says another thing of its model `now` than when the folder's record was begun."""
    before = record.get("served") or {}
    for name in sorted(before.keys() & now.keys()):
        if before[name] != now[name]:
            mend = f"the folder was begun when the endpoint said {before[name]}; choose another folder"
            raise InputError.of(name, now[name], mend)


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
    if not is_address(place) and (Path(place) / "model" / "config.json").is_file():
        fields["place"] = str(Path(place) / "model")
    try:
        return Target.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError.of(".".join(map(str, first["loc"])), str(first.get("input")), first["msg"]) from error
