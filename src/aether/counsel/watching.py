"""A run as it goes on: status, the curve of its training so far, how far it is, predicted against measured.

Reads what the run writes; a training under way is the newest metrics file of the store that changed since the run began.
"""

import json
import time
from datetime import datetime
from pathlib import Path

from aether.counsel.keeping import KeptPlan, run_facts
from aether.report.tables import terminal_table
from aether.running.folder import RunFolder
from aether.running.jobs import report_of
from aether.spec.base import Noun
from aether.spec.errors import AetherError

POINTS = 400
"""Points of a curve that are given; more are thinned."""
_FRESH_S = 120.0
"""A metrics file that has not changed for this long is not being written (assumed)."""


class Curve(Noun):
    """Loss by step, thinned."""

    steps: tuple[int, ...] = ()
    losses: tuple[float, ...] = ()
    last_step: int = 0
    total_steps: int | None = None
    steps_per_s: float | None = None

    @property
    def eta_s(self) -> float | None:
        """Seconds until the last step at the speed so far; None where it is not known."""
        if not self.total_steps or not self.steps_per_s:
            return None
        return max(0.0, (self.total_steps - self.last_step) / self.steps_per_s)


class Watched(Noun):
    """What is shown of a run."""

    name: str
    status: str
    created_at: str
    steps: tuple[str, ...]
    """Steps that are done, in order."""
    is_live: bool
    curve: Curve
    rows: tuple[tuple[str, str, str, str, str], ...]
    """Target, asked, predicted, measured, verdict."""
    has_report: bool
    trouble: str = ""


def watch(run: Path) -> Watched:
    """The state of a run. Raises InputError when it is none."""
    folder = RunFolder(run)
    manifest = folder.manifest()
    rows: tuple[tuple[str, str, str, str, str], ...] = ()
    trouble = ""
    try:
        facts = run_facts(folder)
        rows = tuple(terminal_table(facts.verdicts, facts.ledger))
    except AetherError as error:
        trouble = str(error)
    file = metrics_file(folder)
    fresh = file is not None and time.time() - file.stat().st_mtime < _FRESH_S
    live = manifest.status in ("planning", "running") and (fresh or report_of(run).state == "running")
    return Watched(
        name=run.name,
        status=manifest.status,
        created_at=manifest.created_at,
        steps=tuple(manifest.steps),
        is_live=live,
        curve=curve_of(file, _total_steps(run)) if file else Curve(),
        rows=rows,
        has_report=(run / "report" / "report.html").is_file(),
        trouble=trouble,
    )


def metrics_file(folder: RunFolder) -> Path | None:
    """The metrics of the run's training: of the finished step, or of the one under way."""
    place = folder.manifest().steps.get("train")
    if place is not None:
        file = (folder.path / place).resolve() / "metrics.jsonl"
        return file if file.is_file() else None
    began = datetime.fromisoformat(folder.manifest().created_at).timestamp()
    found = [f for f in folder.store.glob("train/*/metrics.jsonl") if f.stat().st_mtime >= began]
    return max(found, key=lambda f: f.stat().st_mtime, default=None)


def curve_of(file: Path, total_steps: int | None = None) -> Curve:
    """The loss by step; the last line may be half written. Of a step that is told again, the last line counts."""
    losses: dict[int, float] = {}
    times: list[float] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if isinstance(row.get("loss"), int | float):
            losses[int(row["step"])] = float(row["loss"])
            if isinstance(row.get("step_s"), int | float):
                times.append(float(row["step_s"]))
    steps = sorted(losses)
    every = max(1, len(steps) // POINTS)
    kept = steps[::every] + ([steps[-1]] if steps and (len(steps) - 1) % every else [])
    recent = times[-50:]
    speed = len(recent) / sum(recent) if recent and sum(recent) > 0 else None
    return Curve(
        steps=tuple(kept), losses=tuple(losses[s] for s in kept), last_step=steps[-1] if steps else 0, total_steps=total_steps, steps_per_s=speed,
    )  # fmt: skip


def _total_steps(run: Path) -> int | None:
    kept = KeptPlan.read(run)
    if kept is None:
        return None
    for step in kept.plan.decision.recipe.steps:
        if step.stage == "train" and isinstance(step.config.get("steps"), int):
            return step.config["steps"]
    return None
