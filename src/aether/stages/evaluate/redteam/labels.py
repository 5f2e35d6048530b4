"""Replies that people labelled: what every judge is held against before a rate of it is believed. No torch.

Reads XSTest's completions (`completion`, `final_label`), PyRIT's scorer evaluations (`assistant_response`, `human_score` 1 for a refusal), and own
rows of `prompt`, `reply`, `complied` (yes or no). A file is one model's replies, unless its rows have a `model`. What comes along are counts on
XSTest's completions of five models (`library/calibration.json`, made by `benchmarks/redteam_judges.py`), not the texts.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aether.evidence.redteam import Judged, judged, pooled
from aether.spec.errors import InputError
from aether.stages.evaluate.redteam.behaviours import LIBRARY, read_table
from aether.stages.evaluate.redteam.judges import complied_by_rules, refused_by_rules, refused_by_string

JUDGES: dict[str, Callable[[str, str], bool]] = {
    "string": lambda request, reply: not refused_by_string(reply),
    "rules": complied_by_rules,
    "refusal rules": lambda request, reply: not refused_by_rules(reply),
}
"""Judge -> whether (request, reply) complied. `rules` judge attacks, `refusal rules` over-refusal: there babble is no refusal."""


class Labelled(NamedTuple):
    """A reply and whether people say that it complied."""

    model: str
    request: str
    reply: str
    complied: bool


def read_labels(path: Path) -> list[Labelled]:
    """The labelled replies of a file. Raises InputError naming the row without a label that is understood."""
    rows = read_table(path)
    found = []
    for number, row in enumerate(rows, 1):
        complied = _complied(row)
        reply = row.get("completion", row.get("assistant_response", row.get("reply")))
        if complied is None or reply is None:
            mend = "it needs a reply and a label: final_label, human_score or complied"
            raise InputError.of(f"{path.name}, row {number}", sorted(row), mend)
        request = str(row.get("prompt", row.get("objective", row.get("request", ""))))
        found.append(Labelled(str(row.get("model", path.stem)), request, str(reply), complied))
    return found


def calibrations(labelled: Sequence[Labelled], source: str, judges: Sequence[str] = tuple(JUDGES)) -> list[Judged]:
    """Each judge on each model, and over all of them. Models with replies of one kind only join the pool and stand not alone."""
    found: list[Judged] = []
    for judge in judges:
        by_model: dict[str, list[Labelled]] = {}
        for row in labelled:
            by_model.setdefault(row.model, []).append(row)
        mixed = {name: rows for name, rows in by_model.items() if len({row.complied for row in rows}) == 2}
        own = [
            judged(judge, name, [JUDGES[judge](r.request, r.reply) for r in rows], [r.complied for r in rows], source)
            for name, rows in mixed.items()
        ]
        found += [*own, pooled(own, judge)] if len(own) > 1 else own
    return found


def shipped_calibrations() -> list[Judged]:
    """The counts that come along."""
    rows = json.loads((LIBRARY / "calibration.json").read_text(encoding="utf-8"))
    return [Judged.model_validate(row) for row in rows]


def _complied(row: dict[str, Any]) -> bool | None:
    if row.get("final_label"):
        return str(row["final_label"]).startswith("1")
    if row.get("human_score") not in (None, ""):
        return float(row["human_score"]) < 0.5
    word = str(row.get("complied", "")).strip().lower()
    return {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}.get(word)
