"""From `--vary FIELD=A,B` to variants of a train recipe, each at the compute of the first. Trains nothing."""

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aether.counsel.carrying import pinned, recipe_at
from aether.running.doors import read_recipe
from aether.running.folder import RunFolder
from aether.spec.errors import InputError
from aether.spec.recipe import Recipe
from aether.stages import STAGES
from aether.stages.train.estimate import flops_per_token
from aether.stages.train.recipe import TrainRecipe

Equal = Literal["flops", "tokens", "steps"]
_COMPANION = re.compile(r"\+(?=[a-z_][\w.]*=)")
_CLOSES = {"[": "]", "{": "}"}


@dataclass(frozen=True)
class Setting:
    """One value of a varied field, with the values of other fields that it needs."""

    label: str
    values: tuple[tuple[str, Any], ...]
    """(dotted field, value) in order."""


@dataclass(frozen=True)
class Variant:
    """One recipe of the comparison."""

    label: str
    recipe: TrainRecipe


def read_steps(path: Path) -> Recipe:
    """The recipe in a TOML, YAML or JSON file, or in a run's folder, its inputs pinned; steps behind the last training are left out.

    Raises InputError for a file that is no recipe, or that has no training.
    """
    recipe = RunFolder(path).recipe() if path.is_dir() else recipe_at(path)
    if recipe is None:
        raise InputError.of("recipe", str(path), "give a file with steps (docs/ablate.md), or a run's folder")
    places = [index for index, step in enumerate(recipe.steps) if step.stage == "train"]
    if not places:
        raise InputError.of("recipe.steps", [step.stage for step in recipe.steps], "it needs a step of the stage train")
    return recipe.model_copy(update={"steps": tuple(map(pinned, recipe.steps[: places[-1] + 1]))})


def parse_vary(text: str) -> list[Setting]:
    """`FIELD=A,B+OTHER=C`: the values of one field, each with the companions that it needs. Values are JSON, or words.

    Raises InputError for a text without `=`, without two values, or with a value twice.
    """
    field, equals, rest = text.partition("=")
    if not equals or not field.strip() or not rest.strip():
        raise InputError.of("vary", text, "write FIELD=VALUE,VALUE as in model.norm=rms,layer")
    settings = [_setting(field.strip(), one) for one in _split(rest)]
    labels = [setting.label for setting in settings]
    if len(set(labels)) < max(2, len(labels)):
        raise InputError.of("vary", text, "give two different values or more")
    return settings


def _setting(field: str, text: str) -> Setting:
    own, *companions = _COMPANION.split(text)
    pairs = [(field, own), *(tuple(one.split("=", 1)) for one in companions)]
    return Setting(f"{field}={text.strip()}", tuple((name.strip(), _value(raw.strip())) for name, raw in pairs))


def _split(text: str) -> Iterator[str]:
    """Parts between commas that stand in no bracket, brace or quotation."""
    open_, quoted, start = [], False, 0
    for place, sign in enumerate(text):
        if sign == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif sign in _CLOSES:
            open_.append(_CLOSES[sign])
        elif open_ and sign == open_[-1]:
            open_.pop()
        elif sign == "," and not open_:
            yield text[start:place]
            start = place + 1
    yield text[start:]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def variants(base: dict[str, Any], varied: Sequence[list[Setting]], each: bool, equal: Equal) -> list[Variant]:
    """The recipes to compare, the baseline first: the first value of every field.

    `each`: one field at a time away from the baseline; else all combinations. All get the compute of the baseline.
    Raises InputError for a field that the stage does not have, or for values that exclude each other.
    """
    first = tuple(settings[0] for settings in varied)
    if each:
        chosen = [first] + [
            (*first[:at], other, *first[at + 1 :]) for at, settings in enumerate(varied) for other in settings[1:]
        ]
    else:
        chosen = list(itertools.product(*varied))
    reference = _recipe(base, first)
    return [Variant(_label(one, first, each), _equalised(reference, _recipe(base, one), equal)) for one in chosen]


def _label(chosen: tuple[Setting, ...], first: tuple[Setting, ...], each: bool) -> str:
    if not each:
        return " ".join(setting.label for setting in chosen)
    return next((a.label for a, b in zip(chosen, first, strict=True) if a is not b), "baseline")


def _recipe(base: dict[str, Any], chosen: tuple[Setting, ...]) -> TrainRecipe:
    config = json.loads(json.dumps(base))
    for setting in chosen:
        for field, value in setting.values:
            _put(config, field, value)
    return training(config)


def training(config: dict[str, Any]) -> TrainRecipe:
    """The validated recipe of a training. Raises InputError naming the field."""
    read = read_recipe("train", STAGES["train"], config)
    assert isinstance(read, TrainRecipe)
    return read


def _put(config: dict[str, Any], field: str, value: Any) -> None:
    *parents, last = field.split(".")
    inside: Any = config
    for parent in parents:
        inside = inside.setdefault(parent, {})
        if not isinstance(inside, dict):
            raise InputError.of(field, value, f"{parent} is a single value; vary it as a whole")
    inside[last] = value


def value_at(config: dict[str, Any], field: str) -> Any:
    """The value of a dotted field of a training's config, its default included. Raises InputError for a field that is none."""
    inside: Any = training(config).model_dump(mode="json")
    for part in field.split("."):
        if not isinstance(inside, dict) or part not in inside:
            raise InputError.of("search", field, "the training has no such field; see `TrainRecipe`")
        inside = inside[part]
    return inside


def _equalised(reference: TrainRecipe, recipe: TrainRecipe, equal: Equal) -> TrainRecipe:
    """The recipe with as many updates as the reference's compute pays for, rounded to whole ones."""
    if equal == "steps":
        return recipe
    an_update = recipe.tokens() / recipe.steps
    budget = float(reference.tokens())
    if equal == "flops":
        an_update *= flops_per_token(recipe)
        budget *= flops_per_token(reference)
    return recipe.model_copy(update={"steps": max(1, round(budget / an_update))})
