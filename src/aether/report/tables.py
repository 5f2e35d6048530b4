"""The verdicts as plain rows, for a terminal or a message. No colour, no width: the surface decides those."""

from aether.evidence.ledger import Ledger
from aether.report.wording import interval_text, value_text
from aether.spec.run import Verdict
from aether.spec.units import humanize

TERMINAL_COLUMNS = ("target", "asked", "predicted", "measured", "verdict")


def terminal_table(verdicts: tuple[Verdict, ...], ledger: Ledger) -> list[tuple[str, str, str, str, str]]:
    """One row per target under TERMINAL_COLUMNS. Raises UnsourcedNumber for a verdict whose evidence is not there."""
    rows = []
    for verdict in verdicts:
        target = verdict.target
        asked = f"{'≤' if target.comparison == '<=' else '≥'} {humanize(target.value, target.unit)}"
        said = (_said(ledger, verdict.predicted_id), _said(ledger, verdict.measured_id))
        rows.append((target.metric.replace("_", " "), asked, *said, verdict.status))
    return rows


def _said(ledger: Ledger, evidence_id: str | None) -> str:
    if evidence_id is None:
        return "—"
    evidence = ledger[evidence_id]
    between = interval_text(evidence)
    return f"{value_text(evidence)} ({between})" if between else value_text(evidence)
