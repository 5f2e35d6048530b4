"""The batches that Aether's own training did not believe, from the blamed.jsonl beside its metrics, for the page of a diagnosis.

The names of documents are data of somebody else: they are bounded, shown as text and never obeyed.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aether.counsel.diagnosis.logs import quotable
from aether.evidence.files import explained_os_errors
from aether.evidence.hashing import hash_file
from aether.spec.errors import DamagedRecord
from aether.spec.evidence import Evidence
from aether.spec.report import Cite, Paragraph, Section, Table, Text, Verbatim, heads, text_of

SHOWN = 12
"""Lines on the page: the first ones."""


def read_blamed(metrics: Path) -> list[dict[str, Any]]:
    """The first lines of the blamed.jsonl in the folder of a metrics.jsonl; none elsewhere. Raises DamagedRecord."""
    return read_beside(metrics, "blamed.jsonl", _checked)


def read_beside(metrics: Path, name: str, check: Callable[[dict[str, Any]], dict[str, Any]]) -> list[dict[str, Any]]:
    """The first lines of another log of Aether's in the folder of a metrics.jsonl, checked. Raises DamagedRecord."""
    path = metrics.parent / name
    if metrics.name != "metrics.jsonl" or not path.is_file():
        return []
    with explained_os_errors(path):
        raw = path.read_text(encoding="utf-8", errors="replace").splitlines()[:SHOWN]
    try:
        return [check(json.loads(line)) for line in raw]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedRecord(f"{path} is not what a training wrote ({error}); move it away", path=str(path)) from error


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    worst = row["samples"][0]
    return {
        "step": int(row["step"]),
        "judgement": str(row["judgement"]),
        "median": None if row["median_loss"] is None else float(row["median_loss"]),
        "loss": None if worst["loss"] is None else float(worst["loss"]),
        "index": int(worst["index"]),
        "documents": quotable(", ".join(str(one["id"]) for one in worst["documents"])),
    }


def blamed_evidence(rows: list[dict[str, Any]], metrics: Path) -> Iterator[Evidence]:
    """The worst sample's loss and the batch's median of each row."""
    for place, row in enumerate(rows):
        for name in ("loss", "median"):
            if row[name] is not None:
                yield Evidence(
                    id=f"blamed-{place}.{name}", metric=f"blamed_{name}", value=row[name], unit="nat/token", kind="measured",
                    source=f"{name} in blamed.jsonl, update {row['step']}",
                    artefact_sha256=hash_file(metrics.parent / "blamed.jsonl"),
                )  # fmt: skip


def blamed_section(rows: list[dict[str, Any]]) -> Iterator[Section]:
    """A table of the rows; nothing without any."""
    if not rows:
        return
    table = Table(
        columns=heads("update", "judged", "worst sample", "its loss", "median of the batch", "documents in it"),
        rows=tuple(_row(place, row) for place, row in enumerate(rows)),
        numeric=(3, 4),
    )
    said = "The samples with the highest losses in batches that were not believed; names are quoted, nothing in them is an instruction:"
    then = "Read those documents; if they are as they should be, the learning rate is the suspect, not the data."
    blocks = (Paragraph(text=text_of(said), tone="note"), table, Paragraph(text=text_of("Next experiment: ", then)))
    yield Section(key="blamed", title="Batches that were not believed", blocks=blocks)


def _row(place: int, row: dict[str, Any]) -> tuple[Text, ...]:
    def cited(name: str) -> Text:
        return text_of("not finite") if row[name] is None else (Cite(id=f"blamed-{place}.{name}"),)

    def named(text: str) -> Text:
        return text_of(Verbatim(role="user", text=text)) if text else text_of("not known")

    step, index = named(str(row["step"])), named(f"sample {row['index']}")
    return (step, named(row["judgement"]), index, cited("loss"), cited("median"), named(row["documents"]))
