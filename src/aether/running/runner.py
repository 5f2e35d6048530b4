"""Carries out steps: reuse what has a record, redo what has none, write each record last.

A step's output lives in `<store>/<stage>/<fingerprint>`, addressed by what it was made from; a run folder only points
there, so two runs that share data or a model share its folder. A step that was cut has no record: its folder, with the
checkpoints in it, is given to the stage again.
"""

import resource
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from aether.evidence.files import explained_os_errors
from aether.evidence.hashing import artefacts_of, hash_artefacts
from aether.evidence.provenance import provenance
from aether.evidence.records import RECORD_NAME, fingerprint, read_record, verify, write_record
from aether.running.doors import code_hash, load_run, read_recipe
from aether.running.lock import exclusive
from aether.spec.base import Noun
from aether.spec.errors import InputError
from aether.spec.evidence import StepRecord
from aether.spec.recipe import Recipe, Step
from aether.spec.run import Listener, Progress, StepContext
from aether.stages import STAGES, Stage

_TEMPORARY = ("checkpoint", "tmp")


@dataclass(frozen=True)
class Finished:
    """A step with a record: where its output lies, and whether it was made now or found."""

    folder: Path
    record: StepRecord
    reused: bool


@dataclass
class Runner:
    """Runs steps into a store. `finished` grows as steps are done; later steps find their inputs in it."""

    store: Path
    listener: Listener
    stages: Mapping[str, Stage] = field(default_factory=lambda: STAGES)
    finished: dict[str, Finished] = field(default_factory=dict)

    def run(self, recipe: Recipe) -> Mapping[str, Finished]:
        """Every step of the recipe, in order."""
        for step in recipe.steps:
            self.run_step(step)
        return self.finished

    def run_step(self, step: Step) -> Finished:
        """One step: found by its fingerprint, or made now. Raises what the stage raises, and DamagedRecord."""
        if step.stage not in self.stages:
            raise InputError.of("stage", step.stage, f"use one of {', '.join(self.stages)}")
        stage = self.stages[step.stage]
        recipe = read_recipe(step.stage, stage, step.config)
        step = step.model_copy(update={"config": recipe.model_dump(mode="json")})
        hashes = {name: self.finished[made_by].record.output_sha256 for name, made_by in step.inputs.items()}
        identity = fingerprint(step, recipe, hashes | {"code": code_hash(stage)})
        folder = self.store / step.stage / identity[:16]
        with exclusive(folder.with_name(f".{folder.name}.lock"), folder, wait=True):
            found = read_record(folder)
            if found is not None and found.fingerprint == identity:
                verify(folder, found)
                done = Finished(folder, found, reused=True)
                self.listener(Progress(step.name, 1, 1, message="reused"))
            else:
                done = Finished(folder, self._make(step, recipe, folder, identity, hashes), reused=False)
        self.finished[step.name] = done
        return done

    def _make(self, step: Step, recipe: Noun, folder: Path, identity: str, hashes: dict[str, str]) -> StepRecord:
        run = load_run(self.stages[step.stage])
        with explained_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        inputs = {name: self.finished[made_by].folder for name, made_by in step.inputs.items()}
        context = StepContext(step.name, folder, inputs, step.seed, step.threads, self.listener)
        started_at, started_s, cpu_s = _now(), time.perf_counter(), _cpu_seconds()
        context.tell(message="started")
        with explained_os_errors(folder):
            evidence = run(recipe, context)
            for name in _TEMPORARY:
                shutil.rmtree(folder / name, ignore_errors=True)
            artefacts = artefacts_of(folder, skip=(RECORD_NAME,))
        record = StepRecord(
            step=step.name,
            stage=step.stage,
            fingerprint=identity,
            config=step.config,
            inputs=hashes,
            seed=step.seed,
            threads=step.threads,
            artefacts=artefacts,
            output_sha256=hash_artefacts(artefacts),
            evidence=evidence,
            started_at=started_at,
            wall_s=time.perf_counter() - started_s,
            cpu_s=_cpu_seconds() - cpu_s,
            provenance=provenance(),
        )
        write_record(folder, record)
        context.tell(1, 1, message="done")
        return record


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _cpu_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
