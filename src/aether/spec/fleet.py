"""A plan for a model at the scale of a cluster: options that no other beats, one decision, what was left out and why.

Beside `plan`, whose options carry the recipe of a build on this machine; here an option carries the setup of a deployment
or of a training run that some other tool executes. A brief that cannot be met has `Shortfall`s and `Nearby` briefs.
"""

from typing import Any, Literal

from pydantic import Field

from aether.spec.base import Noun
from aether.spec.brief import Target
from aether.spec.plan import Estimate, Term

Task = Literal["serve", "pretrain", "finetune"]
Standing = Literal["met", "at_risk", "missed"]
"""Of all targets at once. `met`: the bad end of every 80 % interval is on the right side, which is 90 % for each target;
`at_risk`: a value or a bad end is not; `missed`: even the good end of one is not."""


class FleetOption(Noun):
    """One way to meet the brief, with everything that another tool needs to carry it out."""

    name: str
    model: str
    device: str
    devices: int = Field(ge=1)
    replicas: int = Field(ge=1)
    layout: str
    """Degrees of parallelism, in the words of the engines."""
    precision: str
    software: str
    batch: str
    """Limits of the batch, or its size."""
    setup: dict[str, Any]
    """Every field of the setup that the estimates were made for."""
    estimates: tuple[Estimate, ...]
    complexity: Literal["low", "medium", "high"]
    standing: Standing
    likely: bool
    """Whether no target is missed by the predicted values themselves, whatever their intervals."""

    def estimate(self, metric: str) -> Estimate | None:
        """The estimate of `metric`, if this option has one."""
        return next((e for e in self.estimates if e.metric == metric), None)


class Shortfall(Noun):
    """What keeps a brief from being met, and by how much."""

    subject: str
    """The metric of the target, or what there is too little of."""
    verdict: Literal["impossible", "out_of_reach"]
    """`impossible`: below a bound of the data sheet, whatever the software; `out_of_reach`: the model's own prediction says
    so at 90 %."""
    binding: str
    asked: float
    best: float
    unit: str
    factor: float = Field(ge=1)
    """How many times the best is away from what was asked."""
    arithmetic: str
    terms: tuple[Term, ...] = ()


class Nearby(Noun):
    """A brief near the one that cannot be met, which the same search found feasible."""

    axis: Literal["target", "load", "precision", "model", "count", "hardware", "tokens", "several"]
    change: str
    settings: tuple[str, ...]
    """What `--set` takes to get there."""
    decided: str
    """The option that the search decides there."""


class LeftOut(Noun):
    """Layouts that were not offered for one reason."""

    reason: str
    meaning: str
    count: int
    example: str


class FleetPlan(Noun):
    """The whole answer to a brief that can be met."""

    schema_version: Literal[1] = 1
    targets: tuple[Target, ...]
    """What the brief asks."""
    models: tuple[str, ...] = Field(min_length=1)
    """Those that the brief would take."""
    task: Task
    options: tuple[FleetOption, ...] = Field(min_length=1)
    """The decision first. No option is beaten by another in quality, speed, memory, cost and complexity at once."""
    decided: str
    because: str
    would_change: tuple[str, ...]
    unknown: tuple[Estimate, ...]
    """What has no number, each with the protocol that would settle it."""
    considered: int
    left_out: tuple[LeftOut, ...]

    @property
    def decision(self) -> FleetOption:
        """The decided option."""
        return next(option for option in self.options if option.name == self.decided)
