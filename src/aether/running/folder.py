"""A run's folder: what was asked, what is done, and how long it took, each readable by a person.

<run>/run.json          the manifest: brief, command, status, where each step's output lies
<run>/recipe.json       every step with every choice, once the plan is decided
<run>/plan/plan.json    options, estimates, decision; its record beside it
<run>/steps/<name>      link to that step's output in the store
<run>/ledger.jsonl      every number with its source; `report/` is built from it
<run>/verdicts.json     each target: met, missed or unproven
<run>/sessions/         how long each process worked on this run (a killed one too)
<run>/packages.json     the lock of the environment
<store>/<stage>/<id>    outputs by content; `.store` beside the run folders unless told otherwise
"""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from aether.evidence.files import explained_os_errors, read_json, write_json
from aether.evidence.provenance import packages
from aether.evidence.records import RECORD_NAME, read_record
from aether.running.runner import Finished
from aether.spec.brief import Brief
from aether.spec.errors import DamagedRecord, InputError
from aether.spec.evidence import StepRecord
from aether.spec.recipe import Recipe
from aether.spec.run import RunManifest

_HEARTBEAT_S = 5.0


@dataclass(frozen=True)
class RunFolder:
    """Paths and files of one run. Reads never create anything."""

    path: Path

    @property
    def store(self) -> Path:
        """Where outputs lie, shared by the runs beside this one."""
        return self.path.parent / ".store"

    @property
    def lock(self) -> Path:
        """The file that a working process holds."""
        return self.path / ".lock"

    def manifest(self) -> RunManifest:
        """The run's record. Raises InputError when this is no run folder."""
        file = self.path / "run.json"
        if not file.exists():
            raise InputError.of("run", str(self.path), "no run.json here; `aether runs` lists the runs")
        try:
            return RunManifest.model_validate(read_json(file))
        except ValidationError as error:
            raise DamagedRecord(f"{file} is not a run manifest of this version") from error

    def start(self, brief: Brief, command: tuple[str, ...]) -> RunManifest:
        """The manifest for this brief: the one that is there, or a new one. Raises InputError when another brief owns it."""
        if (self.path / "run.json").exists():
            manifest = self.manifest()
            if manifest.brief != brief:
                raise InputError.of(
                    "out", str(self.path), "this folder holds a run of another brief; choose another with --out"
                )
            return manifest
        with explained_os_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = RunManifest(name=self.path.name, brief=brief, command=command, created_at=now)
        self.save(manifest)
        write_json(self.path / "packages.json", packages())
        return manifest

    def save(self, manifest: RunManifest) -> None:
        """Write the manifest."""
        write_json(self.path / "run.json", manifest.model_dump(mode="json"))

    def note_step(self, name: str, done: Finished) -> None:
        """Write down that a step is done, and link to its output."""
        manifest = self.manifest()
        place = os.path.relpath(done.folder, self.path)
        self.save(manifest.model_copy(update={"steps": manifest.steps | {name: place}}))
        links = self.path / "steps"
        links.mkdir(exist_ok=True)
        fresh = links / f".{name}.{os.getpid()}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.path.relpath(done.folder, links))
        fresh.replace(links / name)

    def output(self, step: str) -> Path:
        """The output folder of a finished step. Raises InputError when it is not finished."""
        place = self.manifest().steps.get(step)
        if place is None:
            raise InputError.of("step", step, f"{self.path} has not finished it; run `aether resume {self.path}`")
        return (self.path / place).resolve()

    def records(self) -> dict[str, StepRecord]:
        """Step name -> record, in the order in which they were done."""
        found: dict[str, StepRecord] = {}
        for step in self.manifest().steps:
            record = read_record(self.output(step))
            if record is None:
                raise DamagedRecord(f"{self.output(step)} has no {RECORD_NAME}; run `aether resume {self.path}`")
            found[step] = record
        return found

    def recipe(self) -> Recipe:
        """Every step with every choice. Raises InputError before the plan is decided."""
        file = self.path / "recipe.json"
        if not file.exists():
            self.manifest()  # says it where there is no run at all
            raise InputError.of("run", str(self.path), "it has no recipe yet; run `aether resume` first")
        return Recipe.model_validate(read_json(file))


def worked_s(run: Path) -> float:
    """Seconds that processes have worked on a run, by their clocks; 0 where none has."""
    return sum(read_json(file)["wall_s"] for file in sorted((run / "sessions").glob("*.json")))


class Clock:
    """How long processes have worked on a run, all of them together; survives a kill to within 5 s."""

    def __init__(self, folder: RunFolder) -> None:
        self._sessions = folder.path / "sessions"
        self._file = self._sessions / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.json"
        self._earlier_s = worked_s(folder.path)
        self._started_s = time.monotonic()
        self._written_s = self._started_s
        self.beat(force=True)

    def elapsed_s(self) -> float:
        """Seconds of work on this run so far, earlier processes included."""
        return self._earlier_s + time.monotonic() - self._started_s

    def beat(self, *, force: bool = False) -> None:
        """Write the time down, at most every 5 s unless forced."""
        now = time.monotonic()
        if force or now - self._written_s >= _HEARTBEAT_S:
            self._written_s = now
            write_json(self._file, {"wall_s": now - self._started_s, "pid": os.getpid()})


def find_runs(root: Path) -> list[RunFolder]:
    """Every run folder directly below `root`, oldest first."""
    found = [RunFolder(file.parent) for file in root.glob("*/run.json")]
    return sorted(found, key=lambda run: (run.manifest().created_at, run.path.name))
