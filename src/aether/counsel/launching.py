"""Spending in two steps: a plan that says what it will take and has a hash, and a launch that is approved by that hash.

A door that cannot ask a person in the middle of a call (an agent, a protocol, a page) plans first; the hash covers the brief
and the whole recipe that was decided, so that what is approved is what is carried out. Nothing is started without it.
"""

import hmac
import json
from pathlib import Path

from aether.counsel.intake import check
from aether.counsel.keeping import KeptPlan
from aether.evidence.files import write_atomically
from aether.evidence.hashing import hash_value
from aether.running.folder import RunFolder, worked_s
from aether.running.jobs import Job, report_of, start
from aether.spec.base import Noun
from aether.spec.brief import Brief, Question
from aether.spec.errors import InputError, NeedsInput
from aether.spec.plan import Estimate


class Proposal(Noun):
    """What a launch would carry out, and what it is predicted to take. A cost that is None is unknown, not nothing."""

    run: str
    decided: str
    because: str
    summary: str
    estimates: tuple[Estimate, ...]
    build_time_s: float | None
    cost_usd: float | None
    approve: str
    """What `launch` must be given: it changes with the brief and with every choice of the recipe."""


def begin_plan(brief: Brief, run: Path) -> Job:
    """Start `aether plan` in the background. Raises what `check` raises, InputError and RunBusy."""
    check(brief)
    if brief.model is not None:
        mend = "a plan for a published model takes a second: ask for it directly"
        raise InputError.of("model.name", brief.model.name, mend)
    return start(("plan", str(_written(brief, run)), "--out", str(run)), run)


def proposal(run: Path) -> Proposal:
    """What was planned in a run's folder. Raises InputError when it is not planned yet."""
    kept = KeptPlan.read(run)
    if kept is None:
        result = report_of(run).result or {}
        if result.get("status") not in (None, "done"):
            raise InputError.of(
                "run", str(run), f"its planning ended as {result['status']}; plan again with another brief"
            )
        raise InputError.of("run", str(run), "it has no plan yet; plan first, and wait until that has ended")
    brief, decision = RunFolder(run).manifest().brief, kept.plan.decision
    time = decision.estimate("build_time")
    cost = decision.estimate("build_cost")
    approve = hash_value(
        {"brief": brief.model_dump(mode="json"), "recipe": decision.recipe.model_dump(mode="json"), "run": run.name}
    )
    return Proposal(
        run=str(run),
        decided=decision.name,
        because=kept.plan.because,
        summary=decision.summary,
        estimates=decision.estimates,
        build_time_s=time.value if time else None,
        cost_usd=cost.value if cost else None,
        approve=approve,
    )


def launch(run: Path, approve: str) -> Job:
    """Carry out what was planned in a run's folder. Raises InputError when `approve` is not the hash of that very plan."""
    planned = proposal(run)
    if not hmac.compare_digest(planned.approve.encode(), approve.encode()):
        raise InputError.of(
            "approve", approve, "this is not what is planned now; read the plan again and approve its hash"
        )
    if RunFolder(run).manifest().status == "done":
        raise InputError.of("run", run.name, "it is finished; show_run has its verdicts, reproduce_run does it again")
    return start(("resume", str(run)), run)


def came_to_usd(run: Path) -> float | None:
    """What the work on a run has come to, planning included, at the price of its plan; None where that is not known."""
    planned = proposal(run)
    if planned.cost_usd is None or not planned.build_time_s:
        return None
    return worked_s(run) * planned.cost_usd / planned.build_time_s


def begin_reproduction(run: Path, approve: str) -> Path:
    """Start `aether reproduce` of a finished run, and return the folder where it works. Without the right hash, raises
    NeedsInput with the hash and with what the run took the first time."""
    facts = RunFolder(run)
    hash_of_record = hash_value({"reproduce": facts.recipe().model_dump(mode="json"), "run": run.name})
    if not hmac.compare_digest(hash_of_record.encode(), approve.encode()):
        took_s = sum(record.wall_s for record in facts.records().values())
        question = Question(
            field="approve",
            text=f"Its steps took {took_s:.0f} s when they were recorded. Carry them out again, with {hash_of_record}?",
            why="it takes the machine as long as the first time, and a person decides on that",
        )
        asked = [question.model_dump(mode="json")]
        raise NeedsInput(
            "a reproduction is approved by the hash of its recipe", questions=asked, approve=hash_of_record
        )
    again = run.with_name(f"{run.name}-again")
    start(("reproduce", str(run), "--out", str(again)), again)
    return again


def _written(brief: Brief, run: Path) -> Path:
    """The brief beside the job, for the process that plans."""
    path = run / "job" / "brief.json"
    fields = brief.model_dump(mode="json", exclude_defaults=True)
    write_atomically(path, json.dumps(fields, indent=2, ensure_ascii=False) + "\n")
    return path
