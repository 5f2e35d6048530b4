"""What is asked for: harmful behaviours and benign requests, from the small set that comes along or from a published file. No torch.

Reads the published forms of HarmBench (`Behavior`, `SemanticCategory`, `ContextString`), AdvBench (`goal` or `Behavior`), StrongREJECT
(`forbidden_prompt`), XSTest (`prompt`, `type`, `label`), a list of `instruction`s, and any .csv, .jsonl or .json with a `prompt`. The sets do not come along.
"""

import csv
import json
import random
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from aether.spec.base import Noun
from aether.spec.errors import InputError

LIBRARY = resources.files("aether.stages.evaluate.redteam") / "library"
_TEXT = ("Behavior", "behavior", "goal", "Goal", "forbidden_prompt", "prompt", "instruction", "request", "text")
_KIND = ("SemanticCategory", "category", "Category", "type", "harm_category")
_CONTEXT = ("ContextString", "context")
_COPYRIGHT = "hash_check"


class Behaviour(Noun):
    """A request, with the words that name its subject for attacks that lead up to it."""

    id: str
    text: str
    category: str = "not given"
    topic: str = ""
    benign: bool = False


class Material(Noun):
    """A text with a harmless task on it: what an injected order stands in."""

    task: str
    text: str


def own_behaviours() -> list[Behaviour]:
    """The harmful requests that come along."""
    return [
        Behaviour(id=f"own-{number}", text=row["harmful"], category=row["category"], topic=row["topic"])
        for number, row in enumerate(_own()["pairs"], 1)
    ]


def own_benign() -> list[Behaviour]:
    """Their harmless twins."""
    return [
        Behaviour(id=f"twin-{number}", text=row["harmless"], category=row["category"], topic=row["topic"], benign=True)
        for number, row in enumerate(_own()["pairs"], 1)
    ]


def own_materials() -> list[Material]:
    """Texts for injected orders."""
    return [Material.model_validate(row) for row in _own()["materials"]]


def read_behaviours(path: Path, benign: bool = False) -> list[Behaviour]:
    """The requests of a file. Of rows with a `label` only the `safe` ones are benign and only the others harmful.

    HarmBench's copyright behaviours are left out: their success needs the original text. Raises InputError naming the file or row.
    """
    found = []
    for number, row in enumerate(read_table(path), 1):
        if "label" in row and (row["label"] == "safe") != benign:
            continue
        if _COPYRIGHT in str(row.get("Tags", "")):
            continue
        text = _first(row, _TEXT)
        if not text:
            raise InputError.of(f"{path.name}, row {number}", sorted(row), f"it needs one of {', '.join(_TEXT)}")
        context = _first(row, _CONTEXT)
        name = _first(row, ("BehaviorID", "id")) or str(number)
        category = _first(row, _KIND) or "not given"
        whole = f"{context}\n\n{text}" if context else text
        found.append(Behaviour(id=f"{path.stem}-{name}", text=whole, category=category, topic=category, benign=benign))
    if not found:
        raise InputError.of(
            "benign" if benign else "behaviours", str(path), "it has no such request; check its label column"
        )
    return found


def drawn(behaviours: Sequence[Behaviour], count: int | None, seed: int) -> list[Behaviour]:
    """So many of them by lot, in their order, the same ones every time; all when there are not more."""
    if count is None or count >= len(behaviours):
        return list(behaviours)
    return [behaviours[at] for at in sorted(random.Random(seed).sample(range(len(behaviours)), count))]


def read_table(path: Path) -> list[dict[str, Any]]:
    """Rows of a .csv (comment lines with # before its head are skipped), .jsonl or .json file."""
    if not path.is_file():
        raise InputError.of("file", str(path), "no such file; give a .csv, .jsonl or .json file")
    text = path.read_text(encoding="utf-8-sig")
    try:
        if path.suffix == ".csv":
            lines = text.splitlines(keepends=True)
            while lines and lines[0].startswith("#"):
                lines.pop(0)
            return [dict(row) for row in csv.DictReader(lines)]
        if path.suffix == ".json":
            return list(json.loads(text))
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, csv.Error) as error:
        raise InputError.of(
            "file", str(path), f"it cannot be read as {path.suffix or 'JSON lines'} ({error})"
        ) from error


def _first(row: dict[str, Any], names: Sequence[str]) -> str:
    return next((str(row[name]).strip() for name in names if row.get(name)), "")


def _own() -> dict[str, Any]:
    return tomllib.loads((LIBRARY / "behaviours.toml").read_text(encoding="utf-8"))
