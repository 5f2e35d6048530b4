"""From a stage's name to its recipe class, its `run` and the hash of its code. The only place that imports by name."""

import functools
import importlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import aether
from aether.evidence.extras import install_command
from aether.evidence.hashing import hash_file, hash_value
from aether.spec.base import Noun
from aether.spec.errors import EnvironmentFault, InputError
from aether.spec.evidence import Evidence
from aether.spec.run import StepContext
from aether.stages import Stage

SPIN_COUNT = "5000"
"""How long an OpenMP thread spins before it sleeps; libgomp reads it when torch is first imported. Measured on two cores,
30 training steps of 1,024 tokens, width 64, alone and beside one busy process: libgomp's default 0.88 and 3.5 s, 5,000 spins
0.84 and 2.5 s, never spinning (OMP_WAIT_POLICY=PASSIVE) 1.3 and 1.3 s."""

Run = Callable[[Noun, StepContext], tuple[Evidence, ...]]


def _load(address: str) -> Any:
    module, name = address.split(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("aether"):
            raise
        raise EnvironmentFault(
            f"{module} needs the package {error.name!r}: run `{install_command('all')}`", package=error.name
        ) from error


def read_recipe(name: str, stage: Stage, config: dict) -> Noun:
    """The validated recipe of a step of the stage `name`. Raises InputError naming the field."""
    try:
        return _load(stage.recipe).model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in (name, *first["loc"]))
        raise InputError.of(field, first["input"], first["msg"].lower()) from error


def load_run(stage: Stage) -> Run:
    """The stage's `run`. Raises EnvironmentFault when its extra is not installed."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    return _load(stage.run)


@functools.cache
def code_hash(stage: Stage) -> str:
    """SHA-256 over the source of the stage and of what it shares: a changed program is a changed step."""
    root = Path(aether.__file__).parent
    own = importlib.util.find_spec(stage.run.split(":")[0])
    assert own is not None and own.origin is not None, stage.run
    folders = (Path(own.origin).parent, root / "models", root / "spec")
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return hash_value([(path.name, hash_file(path)) for path in files])
