"""A recipe being carried out: what a stage is given, what it tells while it works, and the verdicts at the end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aether.spec.base import Noun
from aether.spec.brief import Brief, Target
from aether.spec.evidence import Evidence, Interval, Repeats


@dataclass(frozen=True)
class Progress:
    """What a step says while it works. `done` of `total` (in `unit`), the newest numbers, and a word for people."""

    step: str
    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    message: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


Listener = Callable[[Progress], None]


@dataclass(frozen=True)
class StepContext:
    """What a stage's `run(recipe, context)` is given besides its recipe.

    `out` is the folder it fills; it survives a kill, so a stage may keep checkpoints under `out` and go on from them.
    A stage that cannot go on starts by overwriting. The runner writes the record, last.
    `inputs` maps an input name to the finished output folder of the step that made it.
    """

    step: str
    out: Path
    inputs: Mapping[str, Path]
    seed: int
    threads: int
    listener: Listener

    def tell(self, done: float = 0.0, total: float = 0.0, unit: str = "", message: str = "", **numbers: float) -> None:
        """Report progress."""
        self.listener(Progress(self.step, done, total, unit, message, numbers))

    def measured(
        self,
        metric: str,
        value: float,
        unit: str,
        source: str,
        *,
        label: str | None = None,
        interval: Interval | None = None,
        n: int | None = None,
        repeats: Repeats = "exact",
        **conditions: Any,
    ) -> Evidence:
        """A measured number of this step. `label` names a slice: the id is "<step>.<metric>[.<label>]"."""
        return Evidence(
            id=f"{self.step}.{metric}" + (f".{label}" if label else ""),
            metric=metric,
            value=float(value),
            unit=unit,
            kind="measured",
            source=source,
            interval=interval,
            n=n,
            seed=self.seed,
            repeats=repeats,
            conditions=conditions,
        )


class Verdict(Noun):
    """A target against its evidence. `unproven`: nothing was measured, or the interval straddles the bound."""

    target: Target
    status: Literal["met", "missed", "unproven"]
    predicted_id: str | None
    measured_id: str | None
    reason: str


class RunManifest(Noun):
    """The run folder's own record: what was asked, which steps are done and where each one's output lies."""

    schema_version: Literal[1] = 1
    name: str
    brief: Brief
    command: tuple[str, ...]
    created_at: str
    steps: dict[str, str] = {}
    """Step name -> store folder of its output, relative to the store's root."""
    status: Literal["planning", "running", "done", "infeasible", "failed"] = "planning"
