"""The replies of tools that start, stop or watch work: how it stands, and what a launch would carry out."""

from pathlib import Path

from aether.counsel.keeping import KeptPlan
from aether.counsel.launching import Proposal, proposal
from aether.counsel.reply import Reply
from aether.counsel.results import answers_kept
from aether.counsel.toolbox_data import estimated_evidence
from aether.report.fleet import said
from aether.running.folder import RunFolder
from aether.running.jobs import JobReport, JobState, report_of
from aether.spec.base import Noun


class Proposed(Noun):
    """What a launch would carry out. A time or a cost that is None is unknown; the estimates' terms lie in plan.json."""

    decided: str
    because: str
    summary: str
    build_time_s: float | None
    cost_usd: float | None
    approve: str
    """The hash that a launch needs."""


class RunState(Noun):
    """How the work in a run's folder stands."""

    run: str
    state: JobState
    result_status: str | None
    """The status in the result of what has ended; None while it works, and for what was killed."""
    proposal: Proposed | None
    """What a launch would carry out, once it is planned."""
    answers: int | None = None
    """Of work that asks a model: how many answers are kept so far."""


def run_state(run: Path) -> Reply[RunState]:
    """The reply of the tools that start, stop or watch work."""
    job = report_of(run)
    result = job.result or {}
    is_done = (run / "run.json").exists() and RunFolder(run).manifest().status == "done"
    has_plan = job.state != "running" and not is_done and KeptPlan.read(run) is not None
    planned = proposal(run) if has_plan else None
    answers = answers_kept(run)
    data = RunState(
        run=run.name, state=job.state, result_status=result.get("status"), proposal=_proposed(planned), answers=answers
    )
    status = {"running": "running", "none": "done", "ended": "done"}[job.state]
    lines = [f"{run.name}: {_standing(job, run)}" + (f", result: {result['status']}" if "status" in result else "")]
    lines += [] if answers is None else [f"Answers kept: {answers}"]
    if "message" in result:
        lines.append(str(result["message"]))
    if planned is not None:
        cost = "unknown (the brief has no price)" if planned.cost_usd is None else f"{planned.cost_usd:.2f} USD"
        lines += [f"Decided: {planned.decided}. {planned.because}", f"Predicted cost: {cost}"]
        known = [e for e in planned.estimates if e.value is not None]
        unknown = [e.metric.replace("_", " ") for e in planned.estimates if e.value is None]
        lines += [f"- {e.metric.replace('_', ' ')}: {said(e)} ({e.kind})" for e in known]
        lines += [f"Not predicted: {', '.join(unknown)}."] if unknown else []
        lines.append(f"To carry it out, a person approves {planned.approve}")
    if is_done and job.state != "running":
        lines.append("It is finished: show_run has its verdicts and numbers.")
    if job.state == "ended" and not result:
        lines += ["It ended without a result.", job.said[-500:]]
    evidence = estimated_evidence(planned.estimates) if planned else ()
    return Reply[RunState](status=status, text="\n".join(lines), evidence=evidence, data=data)


def _proposed(planned: Proposal | None) -> Proposed | None:
    if planned is None:
        return None
    return Proposed.model_validate({name: getattr(planned, name) for name in Proposed.model_fields})


def _standing(job: JobReport, run: Path) -> str:
    if job.state == "none":
        return "nothing was started here; plan_build starts a plan"
    if job.state == "ended":
        return "ended"
    done = list(RunFolder(run).manifest().steps) if (run / "run.json").exists() else []
    return f"running; steps done: {', '.join(done) or 'none yet'}"
