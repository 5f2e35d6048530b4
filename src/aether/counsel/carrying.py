"""A recipe written by hand, carried out: its steps in order, each with its record; the ledger of their numbers at the end.

No plan is made and no target judged: a recipe says what is done, a brief says what is wanted.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from aether.evidence.extras import need
from aether.evidence.files import write_json
from aether.evidence.ledger import LEDGER_NAME, Ledger
from aether.policy.brief_file import SUFFIXES, read_raw
from aether.running.doors import read_recipe
from aether.running.folder import Clock, RunFolder
from aether.running.lock import exclusive
from aether.running.runner import Runner
from aether.spec.base import Noun
from aether.spec.brief import Brief
from aether.spec.errors import AetherError, InputError
from aether.spec.recipe import Recipe, Step
from aether.spec.run import Listener, Progress
from aether.stages import STAGES
from aether.stages.data.estimate import pin as pin_data
from aether.stages.surgery.estimate import pin as pin_surgery
from aether.stages.train.estimate import pin as pin_train

_PATHS = ("sources", "out_of_distribution", "tokenizer", "start", "model", "texts")
"""Fields of a stage's recipe that are places."""
_PINS: dict[str, Callable[[Any], Noun]] = {"data": pin_data, "train": pin_train, "surgery": pin_surgery}


def recipe_at(path: Path) -> Recipe | None:
    """The recipe in the file at `path`; None when it is a brief, which has no `steps`. Paths in it start at its folder.

    Raises InputError for a recipe that cannot be read.
    """
    if not path.is_file() or path.suffix not in SUFFIXES:
        return None
    raw = read_raw(path)
    if "steps" not in raw:
        return None
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError.of(".".join(map(str, first["loc"])) or "steps", first["input"], first["msg"]) from error
    return recipe.model_copy(update={"steps": tuple(_resolved(step, path.parent) for step in recipe.steps)})


def _resolved(step: Step, folder: Path) -> Step:
    """The step with its paths absolute."""

    def absolute(place: Any) -> Any:
        if isinstance(place, list | tuple):
            return [absolute(one) for one in place]
        if not isinstance(place, str) or place.startswith("python:"):
            return place
        return str((folder / Path(place).expanduser()).absolute())

    paths = {name: absolute(step.config[name]) for name in _PATHS if name in step.config}
    return step.model_copy(update={"config": step.config | paths})


def surgery_recipe(model: Path, operation: str, texts: Path, settings: Sequence[str]) -> Recipe:
    """One operation as a recipe; `settings` are FIELD=VALUE, lists by commas. Raises InputError for what it has not."""
    config: dict[str, Any] = {"operation": operation, "model": str(model.absolute()), "texts": str(texts.absolute())}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name in config:
            raise InputError.of("--set", setting, "write FIELD=VALUE with a field of the operation")
        config[name] = value.split(",") if name == "tokens" else value
    return Recipe(name=operation, steps=(Step(name="surgery", stage="surgery", config=config),))


def carry_out(recipe: Recipe, folder: RunFolder, command: tuple[str, ...], listener: Listener) -> Ledger:
    """Every step, or what is left of them. Raises what the stages raise, and InputError for a folder of another recipe."""
    need("train")
    with exclusive(folder.lock, folder.path):
        folder.start(Brief(name=recipe.name), command)
        try:
            return _steps(recipe, folder, listener)
        except AetherError:
            folder.save(folder.manifest().model_copy(update={"status": "failed"}))
            raise


def _steps(recipe: Recipe, folder: RunFolder, listener: Listener) -> Ledger:
    fixed = recipe.model_copy(update={"steps": tuple(pinned(step) for step in recipe.steps)})
    said: dict[str, Any] = fixed.model_dump(mode="json")
    if (folder.path / "recipe.json").exists() and folder.recipe() != fixed:
        mend = "this folder holds a run of another recipe, or of other data; choose another with --out"
        raise InputError.of("out", str(folder.path), mend)
    write_json(folder.path / "recipe.json", said)
    folder.save(folder.manifest().model_copy(update={"status": "running"}))
    clock = Clock(folder)

    def hear(progress: Progress) -> None:
        clock.beat()
        listener(progress)

    runner = Runner(folder.store, hear)
    for step in fixed.steps:
        folder.note_step(step.name, runner.run_step(step))
    folder.save(folder.manifest().model_copy(update={"status": "done"}))
    return Ledger.of(folder.records(), ()).dump(folder.path / LEDGER_NAME)


def pinned(step: Step) -> Step:
    """The step with what it reads from outside fixed by content."""
    if step.stage not in _PINS:
        return step
    recipe = read_recipe(step.name, STAGES[step.stage], step.config)
    return step.model_copy(update={"config": _PINS[step.stage](recipe).model_dump(mode="json")})
