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

from aether.knowledge.sourced import Sourced
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


_ROW = "[[model]]\n"
_SPELLINGS = re.compile(r"^(?:name|aliases) = (.*)$", re.MULTILINE)


@functools.cache
def _rows() -> dict[str, str]:
    """Name -> the text of its row, in the order of the files: a row is parsed when it is asked for, since all take a plan a while."""
    folder, rows = files("aether.knowledge").joinpath("published_models"), {}
    for file in sorted(folder.iterdir(), key=lambda path: path.name):
        if not file.name.endswith(".toml"):
            continue
        for text in file.read_text(encoding="utf-8").split(_ROW)[1:]:
            name = _spellings(text)[0]
            assert name not in rows, f"{name} stands twice"
            rows[name] = _ROW + text
    return rows


def _spellings(row: str) -> list[str]:
    """The name and the aliases of a row."""
    return [spelling for line in _SPELLINGS.findall(row) for spelling in re.findall(r'"([^"]+)"', line)]


def spelled() -> dict[str, list[str]]:
    """Name -> how it is spelled: itself and its aliases. No row is parsed for it."""
    return {name: _spellings(row) for name, row in _rows().items()}


@functools.cache
def _parsed(name: str) -> PublishedModel:
    (row,) = tomllib.loads(_rows()[name])["model"]
    return PublishedModel.model_validate({**row, "architecture": {"name": name, **row["architecture"]}})


@functools.cache
def published_models() -> dict[str, PublishedModel]:
    """Name -> model, in the order of the files."""
    return {name: _parsed(name) for name in _rows()}


@functools.cache
def _by_spelling() -> dict[str, str]:
    """Plain spelling -> name."""
    found: dict[str, str] = {}
    for name, row in _rows().items():
        for plain in map(_plain, _spellings(row)):
            assert found.setdefault(plain, name) == name, f"{plain} names {name} and {found[plain]}"
    return found


def published_model(name: str) -> PublishedModel:
    """The model of that name or alias, its owner, case, tuning and number format aside. Raises InputError with those spelled alike, else the families."""
    found = _by_spelling().get(_plain(name))
    if found is None:
        spelled = {_plain(known): known for known in _rows()}
        near = [spelled[key] for key in difflib.get_close_matches(_plain(name), spelled, n=5, cutoff=0.5)]
        if near:
            mend = f"did you mean {', '.join(near)}? {len(spelled)} models are on record; any other, by its config.json"
            raise InputError.of("model", name, mend)
        makers = sorted({re.split(r"[^a-z]", known.lower(), maxsplit=1)[0] for known in spelled.values()})
        raise InputError.of("model", name, f"give a config.json; on record are {len(spelled)} of {', '.join(makers)}")
    return _parsed(found)
