"""Reads TensorBoard's event files into rows by step, with TensorBoard's own reader (extra `ops`). Judges nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aether.evidence.extras import need
from aether.evidence.files import explained_os_errors
from aether.spec.errors import InputError

PATTERN = "events.out.tfevents*"
"""How TensorBoard's writers name the files."""


def event_rows(path: Path) -> list[dict[str, Any]]:
    """{"Step": step, curve: value} for every step of an event file, by step. A step that was written twice counts as it was last.

    Curves are what `add_scalar` and TensorFlow's second kind of summary wrote. Raises InputError where there is none.
    """
    need("ops")
    from tensorboard.backend.event_processing.event_accumulator import STORE_EVERYTHING_SIZE_GUIDANCE, EventAccumulator

    with explained_os_errors(path):
        read = EventAccumulator(str(path), size_guidance=STORE_EVERYTHING_SIZE_GUIDANCE).Reload()
    rows: dict[int, dict[str, Any]] = {}
    for curve, step, value in _points(read):
        rows.setdefault(step, {"Step": step})[curve] = value
    if not rows:
        raise InputError.of(
            "path", str(path), "no curve is in this event file; give one that a trainer wrote scalars to"
        )
    return [rows[step] for step in sorted(rows)]


def _points(read: Any) -> Iterator[tuple[str, int, float]]:
    from tensorboard.util.tensor_util import make_ndarray

    tags = read.Tags()
    for curve in tags["scalars"]:
        yield from ((curve, event.step, event.value) for event in read.Scalars(curve))
    for curve in tags["tensors"]:
        for event in read.Tensors(curve):
            value = make_ndarray(event.tensor_proto)
            if value.size == 1 and value.dtype.kind == "f":
                yield curve, event.step, float(value.reshape(()))
