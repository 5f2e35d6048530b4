"""metrics.jsonl, one line per update, and the short curve that a report and a scaling fit read from it.

A resumed run cuts the file back to its checkpoint, so no line is there twice. After a rewind the steps are told again
with a higher `rewinds`; the last line of a step is the one that counts.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from aether.evidence.files import explained_os_errors

EMA_WEIGHT = 0.95
"""Weight of the past in the smoothed loss: about the last 20 steps (assumed; enough to hide batch noise)."""
CURVE_POINTS = 20
"""Points of the curve in train.json."""


class MetricsLog:
    """An append-only file of JSON lines that knows its own length."""

    def __init__(self, path: Path, keep_bytes: int) -> None:
        self._path = path
        with explained_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
            self._file.truncate(keep_bytes)
            self._file.seek(0, os.SEEK_END)

    def write(self, line: dict[str, Any]) -> None:
        """Append a line (buffered)."""
        with explained_os_errors(self._path):
            self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")

    def flush(self, *, to_disk: bool = False) -> int:
        """Hand the lines to the system, and with `to_disk` to the disk. The file's length in bytes."""
        with explained_os_errors(self._path):
            self._file.flush()
            if to_disk:
                os.fsync(self._file.fileno())
        return self._file.tell()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with explained_os_errors(self._path):
            self._file.close()


def read_losses(path: Path) -> dict[int, float]:
    """Step -> loss of every update that counts, from metrics.jsonl."""
    found: dict[int, float] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["loss"] is not None and row["judgement"] == "apply":
                found[row["step"]] = row["loss"]
    return dict(sorted(found.items()))


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
