"""Figures as data: curves from files that a record lists (checked against its hash), marks from evidence.

Curves are thinned to a few hundred points by keeping every k-th and the last. Draws nothing: see `plots`.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aether.evidence.hashing import hash_file
from aether.report.pieces import NO_SLICE, slice_of
from aether.report.sources import RunFacts, Sources
from aether.report.wording import scale
from aether.spec.errors import DamagedRecord
from aether.spec.evidence import Artefact, Evidence
from aether.spec.report import Figure, Line, Mark, text_of

_MOST_POINTS = 300
_X_NAMES = (("tokens", "training tokens"), ("step", "training steps"))
_TRAIN_NAMES = ("loss", "train_loss")
_HELD_OUT_NAMES = ("validation_loss", "val_loss", "eval_loss")


def read_lines(facts: RunFacts, step: str, path: str) -> tuple[Artefact, list[dict[str, Any]]] | None:
    """The objects of a JSON-lines file that the step's record lists; None when there is none. Raises DamagedRecord when
    the file is not the recorded one."""
    record, folder = facts.records.get(step), facts.folders.get(step)
    artefact = next((a for a in record.artefacts if a.path == path), None) if record else None
    if artefact is None or folder is None:
        return None
    file = Path(folder) / path
    if not file.is_file() or hash_file(file) != artefact.sha256:
        raise DamagedRecord(
            f"{file} is not the file that the record of {step} lists; run `aether resume`", path=str(file)
        )
    return artefact, [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def loss_figure(facts: RunFacts, sources: Sources) -> Figure | None:
    """Training and held-out loss over tokens, with the loss that the plan predicted."""
    found = read_lines(facts, "train", "metrics.jsonl")
    if found is None:
        return None
    artefact, rows = found
    x_name, x_label = next(((n, words) for n, words in _X_NAMES if any(n in row for row in rows)), ("", ""))
    lines = []
    for names, spoken, style in ((_TRAIN_NAMES, "training loss", "line"), (_HELD_OUT_NAMES, "validation loss", "dots")):
        # After a rewind a step is told again: its last line counts. An update that was not believed has no place here.
        counted = [row for row in rows if x_name in row and row.get("judgement", "apply") == "apply"]
        points = {row[x_name]: row[n] for row in counted for n in names if is_number(row.get(n))}
        if points:
            lines.append(curve_of(spoken, "train", artefact, list(points.items()), style))
    if not lines:
        return None
    marks = (
        Mark(label="final validation loss", y="train.loss", role="measured"),
        Mark(label="predicted before the run", y="plan.predicted.loss", role="predicted"),
    )
    caption = text_of("Loss during training. Marks carry intervals; the curve is the step's own log.")
    return Figure(
        name="loss",
        form="curve",
        title="Loss",
        x_label=x_label,
        y_label="nats per token",
        lines=tuple(lines),
        marks=tuple(mark for mark in marks if mark.y in sources.ledger),
        caption=caption,
    )


def latency_figure(facts: RunFacts) -> Figure | None:
    """The share of requests that were answered within a time, from the load test's own log."""
    found = read_lines(facts, "serve", "requests.jsonl")
    if found is None:
        return None
    artefact, rows = found
    lines = []
    good = [row for row in rows if row["phase"] == "open" and row["error"] is None and row["pieces_s"]]
    first = [row["pieces_s"][0] - row["due_s"] for row in good]
    whole = [row["ended_s"] - row["due_s"] for row in good]
    for spoken, taken_s in (("time to first token", first), ("whole request", whole)):
        times = sorted(1e3 * max(t, 1e-6) for t in taken_s)
        if times:
            points = [(t, (i + 1) / len(times)) for i, t in enumerate(times)]
            lines.append(curve_of(spoken, "serve", artefact, points, "steps"))
    if not lines:
        return None
    caption = text_of(
        "Every answered request of the open-loop test: the share that took at most this long, waiting included."
    )
    return Figure(
        name="latency",
        form="curve",
        title="Latency",
        x_label="milliseconds",
        y_label="share of requests",
        lines=tuple(lines),
        log_x=True,
        caption=caption,
    )


def size_figure(sources: Sources) -> Figure | None:
    """Size on disk against bits per byte, a mark for each candidate that has both."""
    evidence = sources.ledger.of_step("compress")
    sizes = {slice_of(e): e for e in evidence if e.metric == "size_on_disk"}
    quality = {slice_of(e): e for e in evidence if e.metric == "bits_per_byte"}
    both = [s for s in sizes if s in quality]
    if len(both) < 2:
        return None
    marks = tuple(
        Mark(label="served" if s == NO_SLICE else s, x=sizes[s].id, y=quality[s].id, role=_served(s, sizes, sources))
        for s in both
    )
    unit = scale(max(sizes[s].value for s in both), "byte")[1]
    caption = text_of(
        "Down and to the left is better: fewer bits per byte in fewer bytes. The diamond is what is served."
    )
    return Figure(
        name="candidates",
        form="scatter",
        title="Quality against size",
        x_label=f"size on disk, {unit}",
        y_label="bits per byte",
        marks=marks,
        caption=caption,
    )


def _served(candidate: str, sizes: dict[str, Evidence], sources: Sources) -> Any:
    served = sources.ledger.get("compress.size_on_disk")
    is_served = candidate == NO_SLICE or (served is not None and sizes[candidate].value == served.value)
    return "chosen" if is_served else "other"


def marks_by_slice(sources: Sources, evidence: Sequence[Evidence], whole: str) -> tuple[Mark, ...]:
    """One mark per slice of a metric; `whole` names the one without a slice."""
    found = []
    for e in evidence:
        part = slice_of(e)
        ours = part == NO_SLICE or part.startswith("ood")
        spoken = f"model, {whole}" if part == NO_SLICE else f"model, {part}" if ours else part
        found.append(Mark(label=spoken, y=e.id, role="chosen" if ours else "other"))
    return tuple(found)


def curve_of(name: str, step: str, artefact: Artefact, points: list[tuple[float, float]], style: Any = "line") -> Line:
    """A thinned curve of points from a recorded file."""
    every = max(1, math.ceil(len(points) / _MOST_POINTS))
    kept = points[::every]
    if kept[-1] != points[-1]:
        kept.append(points[-1])
    return Line(
        name=name,
        step=step,
        artefact=artefact,
        x=tuple(float(x) for x, _ in kept),
        y=tuple(float(y) for _, y in kept),
        style=style,
    )


def is_number(value: Any) -> bool:
    """Whether a value of a file can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
