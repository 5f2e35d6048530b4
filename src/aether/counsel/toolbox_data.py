"""The data in the replies of `counsel.toolbox`, and the short text beside it. Cuts what is long for a reader with little room:
whole plans and reports lie in files, whose names are given."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from aether.counsel.doctor import Finding as HealthFinding
from aether.counsel.reply import Reply
from aether.counsel.results import Result
from aether.evidence.preference_study import StudyDesign
from aether.planning.scaling.report import FitReport
from aether.report.compare import Compared
from aether.report.fleet import markdown, said
from aether.report.page import page_evidence, page_markdown
from aether.report.sources import RunFacts
from aether.report.tables import terminal_table
from aether.spec.answer import Answer, Page, Reference, Status
from aether.spec.base import Noun
from aether.spec.evidence import Evidence
from aether.spec.fleet import FleetPlan
from aether.spec.plan import Estimate
from aether.spec.review import Finding
from aether.spec.run import Verdict

OPTIONS = 8
"""Options of a plan that a reply holds."""
FINDINGS = 100
"""Findings of a review that a reply holds; it says how many there are."""
_STEP = "answer"


class Asked(Noun):
    """An answer, with the handle that goes on from it."""

    session: str
    status: Status
    understood: dict[str, str]
    """Field -> value, as it was read."""
    unread: tuple[str, ...]
    contradictions: tuple[str, ...]
    references: tuple[Reference, ...]


def asked(session: str, answer: Answer) -> Reply[Asked]:
    """The reply to `ask`."""
    request = answer.request
    return Reply[Asked](
        status="done" if answer.status == "answered" else answer.status,
        text=page_markdown(answer.page),
        questions=answer.questions,
        evidence=page_evidence(answer.page),
        data=Asked(
            session=session,
            status=answer.status,
            understood={read.field: read.value for read in request.reads},
            unread=request.unread,
            contradictions=request.contradictions,
            references=answer.page.references,
        ),
    )


class Row(Noun):
    """An option in one line."""

    name: str
    standing: str
    complexity: str
    estimates: dict[str, str]
    """Metric -> value with its interval."""


class Planned(Noun):
    """A plan without its setups, which lie in plan.json."""

    decided: str
    because: str
    would_change: tuple[str, ...]
    options: tuple[Row, ...]
    options_in_all: int
    files: tuple[str, ...]


def planned(plan: FleetPlan, files: Sequence[str], notes: Sequence[str]) -> Reply[Planned]:
    """The reply to `plan`. Its evidence is that of the decided option."""
    rows = tuple(
        Row(
            name=option.name,
            standing=option.standing,
            complexity=option.complexity,
            estimates={estimate.metric: said(estimate) for estimate in option.estimates},
        )
        for option in plan.options[:OPTIONS]
    )
    shown = plan.model_copy(update={"options": plan.options[:OPTIONS]})
    return Reply[Planned](
        status="done",
        text=markdown(shown, (), files, notes),
        evidence=tuple(e for option in shown.options[:1] for e in estimated_evidence(option.estimates)),
        data=Planned(
            decided=plan.decided,
            because=plan.because,
            would_change=plan.would_change,
            options=rows,
            options_in_all=len(plan.options),
            files=tuple(files),
        ),
    )


class Estimated(Noun):
    """Estimates with all their terms."""

    subject: str
    estimates: tuple[Estimate, ...]
    notes: tuple[str, ...]


def estimated(subject: str, estimates: Sequence[Estimate], notes: Sequence[str]) -> Reply[Estimated]:
    """The reply to `estimate` and `simulate`."""
    lines = [f"**{subject}** (80 % intervals)", ""]
    lines += [f"- {e.metric.replace('_', ' ')}: {said(e)}; {e.kind}; binding: {e.binding or 'none'}" for e in estimates]
    lines += [f"- {note}" for note in notes]
    data = Estimated(subject=subject, estimates=tuple(estimates), notes=tuple(notes))
    return Reply[Estimated](status="done", text="\n".join(lines), evidence=estimated_evidence(estimates), data=data)


def estimated_evidence(estimates: Sequence[Estimate]) -> tuple[Evidence, ...]:
    found = {e.metric: e.as_evidence(_STEP) for e in estimates if e.value is not None}
    return tuple(found.values())


class Fitted(Noun):
    """A fitted law."""

    report: FitReport


def fitted(report: FitReport) -> Reply[Fitted]:
    """The reply to `fit_scaling`."""
    lines = [f"{report.points} points; relative residual {report.residual_rms:.2%} (root mean square)"]
    for row in report.coefficients:
        ends = "" if row.interval is None else f" ({row.interval.low:.4g} to {row.interval.high:.4g}, 95 %)"
        lines.append(f"- {row.name} = {row.value:.4g}{ends}: {row.meaning}")
    lines += [
        f"- loss at {p.parameters:.3g} parameters, {p.tokens:.3g} tokens: {said(p.loss)}" for p in report.predictions
    ]
    lines += [f"- warning: {warning}" for warning in report.warnings]
    return Reply[Fitted](
        status="done", text="\n".join(lines), data=Fitted(report=report), evidence=report.as_evidence(_STEP)
    )


class Explained(Noun):
    """A page's sources, and what on it is old."""

    references: tuple[Reference, ...]
    stale: tuple[str, ...]


def explained(page: Page) -> Reply[Explained]:
    """The reply to `explain` and `diagnose`."""
    data = Explained(references=page.references, stale=page.stale)
    return Reply[Explained](status="done", text=page_markdown(page), evidence=page_evidence(page), data=data)


class Reviewed(Noun):
    """Findings, and how many there are in all."""

    findings: tuple[Finding, ...]
    found: int


def reviewed(findings: tuple[Finding, ...], root: Path) -> Reply[Reviewed]:
    """The reply to `review`."""
    lines = [f"{len(findings)} findings" if findings else "no findings"]
    for finding in findings[:FINDINGS]:
        place = _relative(finding.path, root)
        lines.append(
            f"- {place}:{finding.line}: {finding.rule} ({finding.severity}) {finding.message} Why: {finding.why}"
        )
    data = Reviewed(findings=findings[:FINDINGS], found=len(findings))
    return Reply[Reviewed](status="done", text="\n".join(lines), data=data)


class RunLine(Noun):
    """A run in one line."""

    run: str
    status: str
    created_at: str
    verdicts: dict[str, int]


class Runs(Noun):
    """The runs of a folder, oldest first."""

    runs: tuple[RunLine, ...]


def runs(summaries: Sequence, root: Path) -> Reply[Runs]:
    """The reply to `list_runs`."""
    found = tuple(
        RunLine(run=_relative(s.path, root), status=s.status, created_at=s.created_at, verdicts=s.verdicts)
        for s in summaries
    )
    lines = [
        f"- {r.run}: {r.status}, {r.created_at}"
        + "".join(f", {count} {status}" for status, count in r.verdicts.items() if count)
        for r in found
    ] or ["no runs here"]
    return Reply[Runs](status="done", text="\n".join(lines), data=Runs(runs=found))


class ResultLine(Noun):
    """A folder of results in one line."""

    folder: str
    kind: str
    is_finished: bool


class Results(Noun):
    """Folders of results, by name."""

    results: tuple[ResultLine, ...]


def results(found: Iterable[Result], root: Path) -> Reply[Results]:
    """The reply to `list_results`."""
    rows = tuple(
        ResultLine(folder=_relative(str(one.folder), root), kind=one.kind, is_finished=one.is_finished) for one in found
    )
    lines = [f"- {r.folder}: {r.kind}" + ("" if r.is_finished else ", not finished") for r in rows] or [
        "no results here"
    ]
    return Reply[Results](status="done", text="\n".join(lines), data=Results(results=rows))


class StudyPlanned(Noun):
    """What a study can show, before anyone votes."""

    votes: int
    largest_load: int
    smallest_detectable: float
    careless_pass: float
    power: float | None
    """Of the difference that was asked about."""


def study_planned(page: Page, design: StudyDesign, difference: float | None) -> Reply[StudyPlanned]:
    """The reply to `lay_out_study`."""
    data = StudyPlanned(
        votes=design.votes,
        largest_load=design.largest_load,
        smallest_detectable=design.smallest_detectable,
        careless_pass=design.careless_pass,
        power=None if difference is None else design.power_for(difference),
    )
    return Reply[StudyPlanned](status="done", text=page_markdown(page), evidence=page_evidence(page), data=data)


class Shown(Noun):
    """A run's verdicts."""

    verdicts: tuple[Verdict, ...]


def shown(facts: RunFacts, *, whole: bool) -> Reply[Shown]:
    """The reply to `show_run`. Its evidence is what the verdicts stand on, or the whole ledger."""
    rows = terminal_table(facts.verdicts, facts.ledger)
    judged = {number for v in facts.verdicts for number in (v.predicted_id, v.measured_id)}
    evidence = tuple(e for e in facts.ledger if whole or not judged or e.id in judged)
    lines = [" | ".join(row) for row in rows] or [f"not judged yet; status {facts.manifest.status}"]
    data = Shown(verdicts=facts.verdicts)
    if left := len(tuple(facts.ledger)) - len(evidence):
        lines.append(f"{left} more numbers are on record; every=true gives them.")
    return Reply[Shown](status="done", text="\n".join(lines), evidence=evidence, data=data)


class Difference(Noun):
    """One number of both runs."""

    number: str
    a: str
    b: str
    difference: str
    conclusion: str


class Differences(Noun):
    """Two runs compared."""

    rows: tuple[Difference, ...]


def differences(found: Compared) -> Reply[Differences]:
    """The reply to `compare_runs`."""
    rows = tuple(Difference(number=n, a=a, b=b, difference=d, conclusion=c) for n, a, b, d, c in found.rows)
    lines = [f"- {r.number}: {r.a} and {r.b}; difference {r.difference}: {r.conclusion}" for r in rows]
    evidence = tuple(found.sources.ledger)
    return Reply[Differences](status="done", text="\n".join(lines), evidence=evidence, data=Differences(rows=rows))


class HealthLine(Noun):
    """One thing that was looked at."""

    name: str
    health: str
    detail: str
    mend: str


class Health(Noun):
    """What works here."""

    findings: tuple[HealthLine, ...]


def health(found: Sequence[HealthFinding]) -> Reply[Health]:
    """The reply to `doctor`."""
    lines = [f"- {f.name}: {f.health}: {f.detail}" + (f"; mend: `{f.mend}`" if f.mend else "") for f in found]
    rows = tuple(HealthLine(name=f.name, health=f.health, detail=f.detail, mend=f.mend) for f in found)
    return Reply[Health](status="done", text="\n".join(lines), data=Health(findings=rows))


def _relative(path: str, root: Path) -> str:
    found = Path(path)
    return str(found.relative_to(root)) if found.is_absolute() and found.is_relative_to(root) else path
