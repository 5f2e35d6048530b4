"""Carry a run's record out again, in a fresh store, and compare every number."""

from dataclasses import dataclass
from pathlib import Path

from aether.evidence.drift import Drift, compare_records
from aether.evidence.extras import need
from aether.evidence.files import write_json
from aether.running.folder import RunFolder
from aether.running.lock import exclusive
from aether.running.runner import Runner
from aether.spec.run import Listener


@dataclass(frozen=True)
class Reproduction:
    """What was found: one Drift per number or artefact of the original."""

    original: Path
    again: Path
    drifts: tuple[Drift, ...]

    def count(self, status: str) -> int:
        """How many numbers have this status."""
        return sum(drift.status == status for drift in self.drifts)


def reproduce(original: RunFolder, again: Path, listener: Listener) -> Reproduction:
    """Every step of the recorded recipe, from nothing, in `again`; nothing of the original is reused.

    The decision is taken from the record: the plan is not made again, since a plan depends on how fast the machine was.
    Raises InputError when the original has no recipe, or when its data has changed.
    """
    brief = original.manifest().brief
    need("train", "compress", "serve")
    recipe, records = original.recipe(), original.records()
    folder = RunFolder(again)
    with exclusive(folder.lock, again):
        folder.start(brief, original.manifest().command)
        runner = Runner(again / ".store", listener)
        for step in recipe.steps:
            folder.note_step(step.name, runner.run_step(step))
        write_json(again / "recipe.json", recipe.model_dump(mode="json"))
        named = {step.name for step in recipe.steps}
        drifts = compare_records({k: v for k, v in records.items() if k in named}, folder.records())
        write_json(again / "reproduction.json", [drift.model_dump(mode="json") for drift in drifts])
        folder.save(folder.manifest().model_copy(update={"status": "done"}))
    return Reproduction(original.path, again, drifts)
