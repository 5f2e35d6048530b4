"""The run's files of JSON lines, and the short curve that a report and a scaling fit read from metrics.jsonl.

A resumed run cuts each file back to its checkpoint, so no line is there twice. After a rewind the steps are told again
with a higher `rewinds`; the last line of a step is the one that counts.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from aether.evidence.files import explained_os_errors

EMA_WEIGHT = 0.95
"""Weight of the past in the smoothed loss: about the last 20 steps (assumed; enough to hide batch noise)."""
CURVE_POINTS = 20
"""Points of the curve in train.json."""


METRICS, BLAMED, LAYERS, ALERTS = "metrics.jsonl", "blamed.jsonl", "layers.jsonl", "alerts.jsonl"
LOGS = (METRICS, BLAMED, LAYERS, ALERTS)
"""One line per update; one per update that was not believed; one per look at the layers; one per alert."""


class Logs:
    """Append-only files of JSON lines in one folder, each made at its first line, which know their own length."""

    def __init__(self, folder: Path, keep_bytes: Mapping[str, int]) -> None:
        self._folder = folder
        self._files: dict[str, BinaryIO] = {}
        with explained_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name in LOGS:
                if keep := keep_bytes.get(name, 0):
                    self._open(name).truncate(keep)
                    self._files[name].seek(0, os.SEEK_END)
                else:
                    (folder / name).unlink(missing_ok=True)

    def _open(self, name: str) -> BinaryIO:
        assert name in LOGS
        if name not in self._files:
            self._files[name] = (self._folder / name).open("ab")
        return self._files[name]

    def write(self, name: str, line: dict[str, Any]) -> None:
        """Append a line to one of LOGS (buffered)."""
        with explained_os_errors(self._folder / name):
            self._open(name).write(json.dumps(line, allow_nan=False).encode() + b"\n")

    def flush(self, *, to_disk: bool = False) -> dict[str, int]:
        """Hand the lines to the system, and with `to_disk` to the disk. The files' lengths in bytes."""
        for name, file in self._files.items():
            with explained_os_errors(self._folder / name):
                file.flush()
                if to_disk:
                    os.fsync(file.fileno())
        return {name: file.tell() for name, file in self._files.items()}

    def __enter__(self) -> "Logs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with explained_os_errors(self._folder):
            for file in self._files.values():
                file.close()


def read_losses(path: Path) -> dict[int, float]:
    """Step -> loss of every update that counts, from metrics.jsonl."""
    found: dict[int, float] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["loss"] is not None and row["judgement"] == "apply":
                found[row["step"]] = row["loss"]
    return dict(sorted(found.items()))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of one of LOGS; none where it was never written."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def curve(losses: dict[int, float], tokens_until: Callable[[int], int]) -> list[dict[str, float]]:
    """About CURVE_POINTS points {step, tokens, loss}, evenly spaced, of the loss smoothed without bias at the start."""
    smooth, weight, points = 0.0, 0.0, []
    steps = list(losses)
    every = max(1, len(steps) // CURVE_POINTS)
    for place, step in enumerate(steps, start=1):
        smooth = EMA_WEIGHT * smooth + (1 - EMA_WEIGHT) * losses[step]
        weight = EMA_WEIGHT * weight + (1 - EMA_WEIGHT)
        if place % every == 0 or place == len(steps):
            points.append({"step": step, "tokens": tokens_until(step), "loss": smooth / weight})
    return points


def finite(value: float) -> float | None:
    """The value as a JSON number; None where it is infinite or none."""
    return value if math.isfinite(value) else None
