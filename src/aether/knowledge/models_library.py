"""Published models by name: their architecture, their size as published, and where both come from.

The rows stand in `published_models/*.toml`, one file for a family. Nothing is computed here: the exact count of an
architecture is `aether.models.accounting.parameters`, and a test compares it with every published one. Weights, licences
and training data are not here.
"""

import difflib
import functools
import re
import tomllib
from importlib.resources import files

from pydantic import Field, model_validator

from aether.knowledge.library import Sourced
from aether.spec.architecture import Architecture
from aether.spec.errors import InputError
from aether.spec.evidence import Kind


class PublishedModel(Sourced):
    """A model as its developers describe it. `kind`, `source` and `as_of` speak of the architecture."""

    aliases: tuple[str, ...] = ()
    size: str
    """The size in the developers' own words ("8B")."""
    parameters: int | None = Field(default=None, gt=0)
    """The exact count as published, where there is one."""
    parameters_kind: Kind | None = None
    parameters_source: str | None = None
    architecture: Architecture

    @model_validator(mode="after")
    def _count_has_a_source(self) -> "PublishedModel":
        assert (self.parameters is None) == (self.parameters_kind is None) == (self.parameters_source is None), (
            self.name
        )
        return self


_VARIANT = re.compile(
    r"[- ](hf|base|pt|it|instruct|chat|dpo|bf16|fp8|fp8-dynamic|nvfp4|mxfp4|awq|gptq|gguf|w8a8|int4|int8)$"
)
"""Endings of a name that say how a model was tuned or stored, and leave its shape as it is."""


def _plain(name: str) -> str:
    """A name without its owner, in small letters, with hyphens, without what `_VARIANT` names."""
    plain = re.sub(r"[\s_]+", "-", name.strip().rsplit("/", 1)[-1].lower())
    plain = re.sub(r"-(\d+(?:\.\d+)?)-b$", r"-\1b", plain)
    while shorter := _VARIANT.sub("", plain):
        if shorter == plain:
            break
        plain = shorter
    return plain


@functools.cache
def published_models() -> dict[str, PublishedModel]:
    """Name -> model, in the order of the files."""
    folder = files("aether.knowledge").joinpath("published_models")
    models: dict[str, PublishedModel] = {}
    for file in sorted(folder.iterdir(), key=lambda path: path.name):
        if not file.name.endswith(".toml"):
            continue
        for row in tomllib.loads(file.read_text(encoding="utf-8"))["model"]:
            architecture = {"name": row["name"], **row["architecture"]}
            model = PublishedModel.model_validate({**row, "architecture": architecture})
            assert model.name not in models, f"{model.name} stands twice"
            models[model.name] = model
    return models


@functools.cache
def _by_spelling() -> dict[str, PublishedModel]:
    spellings: dict[str, PublishedModel] = {}
    for model in published_models().values():
        for spelling in (model.name, *model.aliases):
            plain = _plain(spelling)
            assert spellings.setdefault(plain, model) is model, (
                f"{plain} names {model.name} and {spellings[plain].name}"
            )
    return spellings


def published_model(name: str) -> PublishedModel:
    """The model of that name or alias, its owner, case, tuning and number format aside. Raises InputError with those spelled alike, else all."""
    found = _by_spelling().get(_plain(name))
    if found is None:
        spelled = {_plain(known): known for known in published_models()}
        near = [spelled[key] for key in difflib.get_close_matches(_plain(name), spelled, n=5, cutoff=0.5)]
        if near:
            mend = f"did you mean {', '.join(near)}? {len(spelled)} models are on record; any other, by its config.json"
            raise InputError.of("model", name, mend)
        raise InputError.of("model", name, f"give a config.json, or use one of {', '.join(spelled.values())}")
    return found
