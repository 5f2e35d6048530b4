"""What the commands print for eyes. Every number comes from a record; this only lays it out."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aether.report.tables import TERMINAL_COLUMNS, terminal_table
from aether.spec.evidence import Evidence
from aether.spec.plan import Estimate, Plan
from aether.spec.units import humanize

if TYPE_CHECKING:
    from aether.counsel.browse import Summary
    from aether.counsel.engineer import Outcome
    from aether.evidence.drift import Drift
    from aether.report.compare import Compared
    from aether.report.sources import RunFacts

_COLOURS = {"met": "green", "missed": "red", "unproven": "yellow", "equal": "green", "within tolerance": "green"}
_COLOURS |= {"differs": "red", "missing": "red", "done": "green", "infeasible": "yellow"}


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _state(word: str) -> str:
    return f"[{_COLOURS.get(word, 'default')}]{word}[/]"


def print_verdicts(rows: Iterable[Sequence[str]]) -> None:
    """The table of targets: asked, predicted, measured with its interval, verdict."""
    table = _table(*TERMINAL_COLUMNS)
    for *cells, status in rows:
        table.add_row(*map(escape, cells), _state(status))
    Console().print(table)


def print_outcome(outcome: "Outcome", rows: Iterable[Sequence[str]]) -> None:
    """A finished build: the verdict table, and where to look."""
    console = Console()
    console.print()
    print_verdicts(rows)
    told = {"missed": "not met: the measured interval is on the wrong side", "unproven": "neither met nor missed"}
    for status, meaning in told.items():
        names = [v.target.metric.replace("_", " ") for v in outcome.verdicts if v.status == status]
        if names:
            console.print(f"\n{_state(status)}  {escape(', '.join(names))} ({meaning})", highlight=False)
    if outcome.shut_gates:
        bounds = "; ".join(f"{gate.target}: {gate.reason}" for gate in outcome.shut_gates)
        console.print(f"\nmodel   not released. {escape(bounds)}", highlight=False)
    else:
        console.print(f"\nmodel   {escape(str(outcome.model))}", highlight=False)
    console.print(f"report  {escape(str(outcome.folder / 'report' / 'report.html'))}", highlight=False)


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "unknown"
    text = humanize(estimate.value, estimate.unit)
    if estimate.interval:
        low, high = (humanize(v, estimate.unit) for v in (estimate.interval.low, estimate.interval.high))
        text += f" ({low} to {high})"
    return text


_PLAN_METRICS = ("parameters", "bits_per_byte", "e2e_p99", "serving_memory", "build_time", "build_cost")


def print_plan(plan: Plan) -> None:
    """The options, the decision and why."""
    console = Console()
    table = _table("option", *_PLAN_METRICS, "complexity", "")
    for option in plan.options:
        cells = [_estimate(option.estimate(metric)) for metric in _PLAN_METRICS]
        mark = "[green]decided[/]" if option.name == plan.decided else escape(option.refused_because or "")
        table.add_row(escape(option.name), *map(escape, cells), option.complexity, mark)
    console.print(table)
    console.print(f"\n[bold]{escape(plan.decided)}[/]: {escape(plan.because)}", highlight=False)
    for change in plan.would_change:
        console.print(f"- {escape(change)}", highlight=False)


def _value(evidence: Evidence) -> str:
    text = humanize(evidence.value, evidence.unit, 4)
    if evidence.interval:
        low, high = (humanize(v, evidence.unit, 4) for v in (evidence.interval.low, evidence.interval.high))
        text += f"  [{evidence.interval.level:.0%}: {low} to {high}]"
    return text


def print_run(seen: "RunFacts", chosen: Sequence[Evidence], *, whole: bool) -> None:
    """A run's verdicts and numbers; or, for one number, all that is known of it."""
    console = Console()
    if whole:
        console.print(f"{escape(seen.manifest.name)}  {_state(seen.manifest.status)}\n")
        print_verdicts(terminal_table(seen.verdicts, seen.ledger))
        table = _table("id", "value", "kind", "n", "source")
        for evidence in chosen:
            table.add_row(
                evidence.id, escape(_value(evidence)), evidence.kind, str(evidence.n or ""), escape(evidence.source)
            )
        console.print()
        console.print(table)
        return
    for evidence in chosen:
        for name, value in evidence.model_dump(mode="json").items():
            console.print(f"[bold]{name}[/]  {escape(str(value))}", highlight=False)


def print_runs(found: Sequence["Summary"], root: Path) -> None:
    """One line per run."""
    if not found:
        Console().print(f"no runs in {escape(str(root))}; `aether build BRIEF` makes one", highlight=False)
        return
    table = _table("run", "status", "started", "met", "missed", "unproven")
    for run in found:
        counts = [str(run.verdicts.get(status, 0)) for status in ("met", "missed", "unproven")]
        table.add_row(escape(run.path), _state(run.status), run.created_at[:16].replace("T", " "), *counts)
    Console().print(table)


def print_drifts(drifts: Sequence["Drift"], counts: Mapping[str, int]) -> None:
    """What reproduced and what did not; the equal ones only as a count."""
    console = Console()
    table = _table("number or file", "original", "again", "status", "")
    for drift in drifts:
        if drift.status in ("differs", "missing", "within tolerance") and drift.what == "number":
            table.add_row(
                escape(drift.id), f"{drift.original}", f"{drift.again}", _state(drift.status), escape(drift.note)
            )
        elif drift.status in ("differs", "missing"):
            table.add_row(escape(drift.id), "", "", _state(drift.status), escape(drift.note))
    console.print(table)
    console.print("\n" + ", ".join(f"{count} {status}" for status, count in counts.items()), highlight=False)


def print_comparison(found: "Compared") -> None:
    """Two runs side by side: what was chosen differently is in the report; here, each number."""
    table = _table("number", "a", "b", "b - a", "conclusion")
    for row in found.rows:
        table.add_row(*map(escape, row))
    Console().print(table)
