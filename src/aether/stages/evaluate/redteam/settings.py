"""From `FIELD=VALUE` to the target and the recipe of a red-team run. A target with a chat template or an endpoint is asked as a chat."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from aether.spec.errors import InputError
from aether.stages.evaluate.recipe import RedTeamRecipe
from aether.stages.evaluate.suites.target import Target, target_of


def target_and_recipe(place: str, model: str, settings: Sequence[str]) -> tuple[Target, RedTeamRecipe]:
    """Both, each setting with the one whose field it names. Raises InputError naming the setting that is none."""
    of_target, fields = [], {}
    for setting in settings:
        name, mark, value = setting.partition("=")
        if mark and name in RedTeamRecipe.model_fields:
            fields[name] = _several(value) if name == "attacks" else value
        elif mark and name in Target.model_fields and name != "chat":
            of_target.append(setting)
        else:
            known = sorted({*RedTeamRecipe.model_fields, "dtype", "device", "batch_size", "concurrency"})
            raise InputError.of("set", setting, f"write FIELD=VALUE with one of {', '.join(known)}")
    if place.endswith(".gguf") and not Path(place).is_file():
        raise InputError.of("target", place, "no such file")
    try:
        return target_of(place, model, of_target), RedTeamRecipe.model_validate(fields)
    except ValidationError as error:
        first: Any = error.errors()[0]
        raise InputError.of(".".join(map(str, first["loc"])), str(first.get("input")), first["msg"]) from error


def _several(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())
