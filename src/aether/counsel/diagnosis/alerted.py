"""The alerts that Aether's own training gave while it ran, from the alerts.jsonl beside its metrics, for the page of a diagnosis."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aether.counsel.diagnosis.blamed import read_beside
from aether.evidence.hashing import hash_file
from aether.knowledge.training_alerts import alert_rules
from aether.spec.evidence import Evidence
from aether.spec.report import Cite, Section, Table, Verbatim, heads, text_of

_NAME = "alerts.jsonl"


def read_alerts(metrics: Path) -> list[dict[str, Any]]:
    """The first alerts; none elsewhere. Raises DamagedRecord."""
    return read_beside(metrics, _NAME, _checked)


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    rule = {rule.key: rule for rule in alert_rules()}[row["key"]]
    return {"step": int(row["step"]), "rule": rule, "value": float(row["value"]), "threshold": float(row["threshold"])}


def alert_evidence(rows: list[dict[str, Any]], metrics: Path) -> Iterator[Evidence]:
    """Value and threshold of each alert."""
    for place, row in enumerate(rows):
        for name in ("value", "threshold"):
            yield Evidence(
                id=f"alert-{place}.{name}", metric=f"alert_{name}", value=row[name], unit="ratio", kind="measured",
                source=f"{name} in {_NAME}, update {row['step']}", artefact_sha256=hash_file(metrics.parent / _NAME),
            )  # fmt: skip


def alert_section(rows: list[dict[str, Any]]) -> Iterator[Section]:
    """A table of the alerts; nothing without any."""
    if not rows:
        return
    cells = tuple(
        (
            text_of(Verbatim(role="name", text=f"update {row['step']}")),
            text_of(row["rule"].title),
            (Cite(id=f"alert-{place}.value"),),
            (Cite(id=f"alert-{place}.threshold"),),
            text_of(row["rule"].advice),
        )
        for place, row in enumerate(rows)
    )
    columns = heads("at", "alert", "value", "threshold", "what to try")
    yield Section(
        key="alerts", title="Alerts while it trained", blocks=(Table(columns=columns, rows=cells, numeric=(2, 3)),)
    )
