"""The documents of an own task: read from a file, prompts rendered, right answers and choices worked out. No torch.

Templates are Jinja in its sandbox, over an item's fields; an item that lacks a field is an error that names it, never an empty prompt.
"""

import csv
import json
import random
import re
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from aether.evidence.files import write_atomically
from aether.spec.errors import InputError
from aether.stages.evaluate.suites.suite import Task, Variant

_HEADING = re.compile(r"(?m)^ = (?!=)[^\n]* = *$")
"""A page of WikiText begins so."""
_JINJA = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)


def documents(variant: Variant, data: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """The task's items with `aether_id`, `aether_prompt`, `aether_target` and for choices `aether_choices`, under one variant.

    `limit` draws so many of them by lot, the same ones every time: the first ones of a file are alike.
    """
    task = variant.task
    assert task.data is not None
    rows = read_rows(data, task.data)
    chosen = range(len(rows)) if limit is None else sorted(_order(len(rows))[:limit])
    return [_rendered(rows[at], at + 1, variant) for at in chosen]


def _order(count: int) -> list[int]:
    """Items in the order in which they are drawn: a smaller draw is the beginning of a larger one."""
    return random.Random(0).sample(range(count), count)


def few_shot_documents(variant: Variant, data: Path) -> list[dict[str, Any]]:
    """The items that stand before each prompt, the first ones of a file of their own, so that no item sees its answer; in the variant's order."""
    task = variant.task
    if task.few_shot_data is None:
        raise InputError.of(
            f"task {task.name}, few_shot", variant.shots, "name a few_shot_data file that holds no test item"
        )
    rows = read_rows(data, task.few_shot_data)
    if len(rows) < variant.shots:
        raise InputError.of(f"task {task.name}, few_shot_data", len(rows), f"it needs {variant.shots} items")
    found = [_rendered(row, number, variant) for number, row in enumerate(rows[: variant.shots], 1)]
    return random.Random(variant.order).sample(found, len(found)) if variant.order else found


def write_documents(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """As JSON lines, for the harness to read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path.absolute()


def read_rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """Rows of a .jsonl, .csv, .txt or .zip (of .jsonl) file. Raises InputError naming the file and line."""
    path = folder / name
    if not path.is_file():
        raise InputError.of("data", str(path), "no such file; give the folder that holds the suite's data with --data")
    if path.suffix == ".zip":
        return _zipped(path)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return _json_lines(text, path.name)
    if path.suffix == ".csv":
        return [dict(row) for row in csv.DictReader(text.splitlines(keepends=True))]
    if path.suffix == ".txt":
        cuts = [match.start() for match in _HEADING.finditer(text)] or [0]
        pages = [text[start:end] for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)]
        return [{"text": page} for page in pages if page.strip()]
    raise InputError.of("data", path.name, "give a .jsonl, .csv, .txt or .zip file")


def _zipped(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with zipfile.ZipFile(path) as archive:
        for member in sorted(name for name in archive.namelist() if name.endswith(".jsonl") and "__MACOSX" not in name):
            found = _json_lines(archive.read(member).decode("utf-8"), member)
            rows += [{"id": f"{Path(member).stem}-{number}"} | row for number, row in enumerate(found, 1)]
    return rows


def _json_lines(text: str, name: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError.of(f"{name}, line {number}", line[:80], "it is not JSON") from error
        if not isinstance(row, dict):
            raise InputError.of(f"{name}, line {number}", line[:80], "write one object a line")
        rows.append(row)
    return rows


def _rendered(row: dict[str, Any], number: int, variant: Variant) -> dict[str, Any]:
    task = variant.task
    where = f"task {task.name}, item {number}"
    for field in (*([task.cluster] if task.cluster else []), *task.slices):
        if field not in row:
            raise InputError.of(where, sorted(row), f"it has no field {field}, which cluster or slices name")
    known: dict[str, Any] = dict(row)
    # An item's own names may repeat over files; the line number does not.
    made: dict[str, Any] = {"aether_id": f"{number}" if "id" not in row else f"{number}:{row['id']}"}
    if task.choices:
        if isinstance(task.choices, str):
            # Texts of the data, never read as templates.
            choices = [str(choice) for choice in row.get(task.choices, ())]
        else:
            choices = [_render(choice, known, where) for choice in task.choices]
        right = _render(task.target, known, where).strip()
        if not right.isdigit() or int(right) >= len(choices):
            raise InputError.of(
                f"{where}, target", right, f"it must be the index of one of {len(choices)} choices, from 0"
            )
        index = int(right)
        if variant.reversed_options:
            choices, index = choices[::-1], len(choices) - 1 - index
        known["choices"] = choices
        made |= {"aether_choices": choices, "aether_target": index}
    else:
        made["aether_target"] = _render(task.target, known, where)
    made["aether_prompt"] = _render(task.templates[variant.template], known, where)
    if task.follow_ups:
        made["aether_follow_ups"] = [_render(template, known, where) for template in task.follow_ups]
    # Every file has one shape of column: what the scorer needs as text, the rest as it was.
    return {key: value for key, value in row.items() if key in _wanted(task)} | made


def _wanted(task: Task) -> set[str]:
    return {*task.slices, *([task.cluster] if task.cluster else [])}


@lru_cache(maxsize=256)
def _compiled(template: str) -> jinja2.Template:
    return _JINJA.from_string(template)


def _render(template: str, fields: dict[str, Any], where: str) -> str:
    try:
        return _compiled(template).render(fields)
    except jinja2.TemplateError as error:
        raise InputError.of(f"{where}, template", template[:80], str(error)) from error
