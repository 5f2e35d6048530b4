"""What a run keeps besides its steps: the plan, the facts that a report speaks of, and the model folder with its card."""

import shutil
from pathlib import Path

from pydantic import ValidationError

from aether.evidence.files import read_json, write_atomically, write_json
from aether.evidence.ledger import LEDGER_NAME, Ledger
from aether.report.sources import RunFacts
from aether.running.folder import RunFolder
from aether.running.guarding import drop_guard, keep_guard
from aether.spec.base import Noun
from aether.spec.errors import DamagedRecord
from aether.spec.plan import Plan
from aether.spec.run import Verdict

PLAN_NAME = "plan.json"
VERDICTS_NAME = "verdicts.json"


class KeptPlan(Noun):
    """A plan and the hash of what it was made from. It stands as long as that does not change: a plan also depends on
    how fast the machine was, so one that was made again could choose another model."""

    made_from: str
    plan: Plan

    @classmethod
    def read(cls, run: Path) -> "KeptPlan | None":
        """The run's plan, if it has one. Raises DamagedRecord when the file is not a plan."""
        file = run / PLAN_NAME
        if not file.exists():
            return None
        try:
            return cls.model_validate(read_json(file))
        except ValidationError as error:
            raise DamagedRecord(f"{file} is not a plan of this version; delete it and run `aether resume`") from error

    def write(self, run: Path) -> None:
        """Keep the plan in the run's folder."""
        write_json(run / PLAN_NAME, self.model_dump(mode="json"))


def run_facts(folder: RunFolder) -> RunFacts:
    """Everything that is on disk about a run, finished or not. Raises DamagedRecord for what is not as recorded."""
    manifest, records, kept = folder.manifest(), folder.records(), KeptPlan.read(folder.path)
    ledger_file, verdicts_file = folder.path / LEDGER_NAME, folder.path / VERDICTS_NAME
    ledger = Ledger.read(ledger_file) if ledger_file.exists() else Ledger.of(records)
    verdicts = read_json(verdicts_file) if verdicts_file.exists() else []
    return RunFacts(
        manifest=manifest,
        plan=kept.plan if kept else None,
        records=records,
        verdicts=tuple(Verdict.model_validate(raw) for raw in verdicts),
        ledger=ledger,
        folders={step: folder.output(step) for step in records},
    )


def release_model(run: Path, built: Path, card: Path, guard: Path | None = None) -> Path:
    """`<run>/model`: the built Hugging Face folder with the card that holds the measured numbers, replaced as a whole; with the defences that its
    gates were judged behind, where there are any. Raises InputError for defences that have changed since."""
    if guard is not None:
        # First: a run that is cut off here must not be served bare.
        keep_guard(guard, run)
    fresh, place, old = run / ".model.new", run / "model", run / ".model.old"
    for folder in (fresh, old):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(built, fresh)
    write_atomically(fresh / "README.md", card.read_text(encoding="utf-8"))
    if place.exists():
        place.rename(old)
    fresh.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    return place


def withdraw_model(run: Path) -> None:
    """No `<run>/model`, nor its defences: a gate is shut. What was built stays where its step left it, for whoever looks into why."""
    shutil.rmtree(run / "model", ignore_errors=True)
    drop_guard(run)
