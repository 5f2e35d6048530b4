"""Reads a training log into series by step: JSON lines, dictionaries as trainers print them, `key: value` lines, CSV, event files.

Follows what transformers (also trainer_state.json), TRL, Axolotl, LLaMA-Factory, torchtitan, Megatron-LM, DeepSpeed, nanoGPT and
Aether itself write; the names are data (`knowledge.training_logs`). A log is data of somebody else: nothing in it is evaluated or
obeyed, lines are cut and control characters taken out. Judges nothing.
"""

import ast
import csv
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aether.counsel.diagnosis.events import PATTERN, event_rows
from aether.evidence.files import explained_os_errors
from aether.knowledge.training_symptoms import messages, quantities
from aether.spec.errors import InputError

MAX_BYTES = 64 << 20
"""The end of a longer file is read; the page says so."""
LINE_CHARACTERS = 4000
_SHOWN = 160
_HEAD = 60
_LOSS = re.compile(r"\blm loss\b\W{1,3}\S+|\b(?:train_)?loss\b\W{1,3}[-+\w.]+", re.IGNORECASE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
_NUMBER = r"[-+]?(?:\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
_PAIR = re.compile(
    rf"(?P<key>[A-Za-z][A-Za-z _/().-]{{0,48}}?)\s*[:=]?\s*\[?(?P<number>{_NUMBER})(?P<unit>\s?ms\b)?(?![\w.])", re.I
)
_ANNOUNCED = re.compile(r"iteration\s+\d+\s*/\s*(?P<of>\d+)|total optimization steps = (?P<in_all>[\d,]+)", re.I)
_BAR = re.compile(r"\d%\|[^|]*\|\s*(?P<done>\d+)/(?P<all>\d+)\s*\[")
_DICTIONARY = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True)
class Point:
    """A value of one series."""

    step: int
    value: float
    line: int
    """Of the file, from one; 0 where the file has no lines."""


@dataclass
class Log:
    """What a file told: series by our names, messages by symptom, and the lines themselves for quoting."""

    path: str
    series: dict[str, list[Point]] = field(default_factory=dict)
    said: dict[str, list[int]] = field(default_factory=dict)
    """Key of a symptom -> lines whose words say it."""
    lines: dict[int, str] = field(default_factory=dict)
    """The lines that hold a value or a message, as they may be quoted."""
    total_steps: int | None = None
    """What the log itself says that the run will have."""
    bar: int | None = None
    """Updates that the trainer's progress bar has counted."""
    cut_bytes: int = 0
    """Bytes at the start of the file that were not read."""
    restarts: list[int] = field(default_factory=list)
    """Steps at which the count went back."""

    def values(self, name: str) -> list[float]:
        """The values of a series."""
        return [point.value for point in self.series.get(name, [])]

    def finite(self, name: str) -> list[Point]:
        """The points of a series that are numbers."""
        return [point for point in self.series.get(name, []) if math.isfinite(point.value)]


def read_log(path: Path) -> Log:
    """The log at `path`. Raises InputError for a file without a single known quantity or message."""
    if path.is_file() and path.match(PATTERN):
        log = Log(str(path))
        _read_rows(log, map(_with_one_held_out, event_rows(path)))
        return _demand_known(log)
    text, cut = _text(path)
    log = Log(str(path), cut_bytes=cut)
    if path.suffix == ".csv":
        _read_rows(log, _named(path, csv.DictReader(text.splitlines())))
    elif path.suffix == ".json" and (points := _points(text)) is not None:
        _read_rows(log, _named(path, points))
    elif path.name == "trainer_state.json":
        _read_rows(log, _state(path, text))
    else:
        for number, line in enumerate(text.splitlines(), 1):
            _read_line(log, number, _COLOUR.sub("", line[:LINE_CHARACTERS]))
    return _demand_known(log)


def _demand_known(log: Log) -> Log:
    if not log.series and not log.said:
        mend = "no loss, rate, norm or message of a trainer was found in it; give a trainer's log, metrics.jsonl or a CSV of them"
        raise InputError.of("path", log.path, mend)
    return log


def quotable(line: str) -> str:
    """A line of a log as it may be shown: one line, bounded, without control characters."""
    plain = _CONTROL.sub("", line).strip()
    if len(plain) <= _SHOWN:
        return plain
    loss = _LOSS.search(plain)
    if loss is None or loss.end() < _SHOWN:
        return plain[: _SHOWN - 1] + "…"
    # The loss stands far to the right: the head, then the words around it.
    head = plain[:_HEAD].rstrip()
    rest = plain[loss.start() :]
    room = _SHOWN - len(head) - 4
    return f"{head} … {rest}" if len(rest) <= room else f"{head} … {rest[:room]}…"


def _text(path: Path) -> tuple[str, int]:
    if not path.is_file():
        raise InputError.of("path", str(path), "no such file; give a log, or the folder of a run")
    with explained_os_errors(path), path.open("rb") as file:
        cut = max(0, path.stat().st_size - MAX_BYTES)
        file.seek(cut)
        return file.read(MAX_BYTES).decode("utf-8", errors="replace"), cut


def _state(path: Path, text: str) -> list[dict[str, Any]]:
    try:
        history = json.loads(text)["log_history"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError.of(
            "path", str(path), "it has no log_history; give the trainer_state.json of a checkpoint"
        ) from error
    rows = [row for row in history if isinstance(row, dict)]
    return [_with_one_held_out(row) for row in _joined(rows)]


def _joined(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows of one evaluation each, of a step on several sets of data, as one."""
    for _, group in itertools.groupby(
        rows, key=lambda row: (row.get("step"), any(key.startswith("eval_") for key in row))
    ):
        joined: dict[str, Any] = {}
        for row in group:
            joined |= row
        yield joined


def _with_one_held_out(row: dict[str, Any]) -> dict[str, Any]:
    """Losses on several sets of held-out data as their mean, which is what one curve can show."""
    named = [
        value for key, value in row.items() if re.fullmatch(r"eval_.+_loss", key) and isinstance(value, int | float)
    ]
    return row if "eval_loss" in row or not named else row | {"eval_loss": sum(named) / len(named)}


def _points(text: str) -> list[dict[str, Any]] | None:
    """TensorBoard's own download: [wall time, step, value] of one curve."""
    try:
        rows = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == 3 for row in rows):
        return None
    return [{"Wall time": wall, "Step": step, "Value": value} for wall, step, value in rows]


def _named(path: Path, rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Rows under names that a quantity may have: W&B writes "run - train/loss", TensorBoard has its curve's name in the file's."""
    curve = (
        _canonical(re.sub(r"^.*tag-", "", path.stem))
        or _canonical(re.sub(r"^.*?(?=(?:train|eval|val)?_?loss)", "", path.stem))
        or "loss"
    )
    for row in rows:
        if set(row) == {"Wall time", "Step", "Value"}:
            yield {"Step": row["Step"], curve: row["Value"]}
            continue
        yield {
            str(key).rsplit(" - ", 1)[-1]: value
            for key, value in row.items()
            if key and not str(key).endswith(("__MIN", "__MAX"))
        }


def _read_rows(log: Log, rows: Iterable[Mapping[str, Any]]) -> None:
    for number, row in enumerate(rows, 2):
        log.lines[number] = quotable(
            ", ".join(f"{key}: {value}" for key, value in row.items() if value not in (None, ""))
        )
        _take(log, number, dict(_known(row.items())))


def _read_line(log: Log, number: int, line: str) -> None:
    for key, words in messages().items():
        if words.search(line):
            log.said.setdefault(key, []).append(number)
            log.lines[number] = quotable(line)
    found = dict(_known(_pairs(line)))
    if total := _ANNOUNCED.search(line):
        log.total_steps = int((total["of"] or total["in_all"]).replace(",", ""))
    beside = "{" in line and "eval_" not in line and log.total_steps is None  # an evaluation has a bar of its own
    if (bar := _BAR.search(line)) and (int(bar["all"]) == log.total_steps or beside):
        log.bar = int(bar["done"])
    if "step" not in found and "{" in line and log.bar is not None and found:
        found["step"] = log.bar  # a trainer's dictionary behind, or after, its progress bar
    if set(found) - {"step", "step_time_s"}:
        log.lines[number] = quotable(line)
        _take(log, number, found)


def _pairs(line: str) -> Iterator[tuple[str, Any]]:
    """The keys and values of a line: of the dictionary that it holds, or of its words."""
    if (brace := _DICTIONARY.search(line)) and (values := _dictionary(brace[0])):
        yield from values.items()
        return
    start = 0
    while match := _PAIR.search(line, start):
        known = _canonical(match["key"])
        if known is None:
            # The words may end in a known name: "consumed samples | lm loss".
            known = next((c for c in map(_canonical, _ends(match["key"])) if c), None)
        if known is not None:
            yield known, _scaled(match["number"], match["key"], match["unit"])
        start = match.end()


def _ends(words: str) -> list[str]:
    parts = re.split(r"[ |]+", words.strip())
    return [" ".join(parts[i:]) for i in range(1, len(parts))]


def _scaled(number: str, key: str, unit: str | None) -> str | float:
    if unit or "(ms)" in key.lower():
        value = _number(number)
        return number if value is None else value / 1e3
    return number


def _dictionary(text: str) -> dict[str, Any] | None:
    """A JSON or Python dictionary of plain values; None for anything else. Literals are parsed, never evaluated."""
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(
                re.sub(r"(?<=[:\s])(nan|-?inf)(?=[,}\s])", r"'\1'", text) if parse is ast.literal_eval else text
            )
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict):
            return {str(key): item for key, item in value.items()}
    return None


def _known(pairs: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, float]]:
    for key, raw in pairs:
        known, value = _canonical(str(key)), _number(raw)
        if known is not None and value is not None:
            yield known, value


def _canonical(key: str) -> str | None:
    """Our name for a trainer's key."""
    plain = re.sub(r"\(ms\)", "", key.lower())
    plain = " ".join(re.split(r"[\s_-]+", plain.strip(" |:'\"")))
    names = quantities()
    if plain in names.values() and plain == key:
        return plain
    spaced = plain.replace(" ", "_")
    if spaced in names.values():
        return spaced
    return names.get(plain) or names.get(plain.rsplit("/", 1)[-1] if plain.startswith("train/") else plain)


def _number(raw: Any) -> float | None:
    if isinstance(raw, bool) or raw is None:
        return None
    try:
        return float(raw.replace(",", "") if isinstance(raw, str) else raw)
    except (ValueError, TypeError, OverflowError):
        return None


def _take(log: Log, line: int, found: dict[str, float]) -> None:
    """Add the values of one line at its step, or at the next one where it names none."""
    last = max((points[-1].step for points in log.series.values()), default=-1)
    given = found.pop("step", None)
    if given is not None and not math.isfinite(given):
        given = None
    alone = given is None and set(found) <= {"val_loss"}
    step = int(given) if given is not None else max(last, 0) if alone else last + 1
    for name, value in found.items():
        points = log.series.setdefault(name, [])
        if points and step < points[-1].step and name == "loss":
            log.restarts.append(step)
        points.append(Point(step, value, line))
