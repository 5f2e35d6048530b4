"""Predictions, options, refusals and the decision: what is written down before the money is spent."""

from typing import Literal

from pydantic import Field

from aether.spec.base import Noun
from aether.spec.brief import Target
from aether.spec.evidence import Evidence, Interval, Kind
from aether.spec.recipe import Recipe


class Term(Noun):
    """One term of an estimate's arithmetic, with where its number came from."""

    name: str
    value: float
    unit: str
    kind: Kind
    source: str


class Estimate(Noun):
    """A predicted quantity. `value` is None when nothing supports a number; `protocol` then says what would settle it."""

    metric: str
    value: float | None
    unit: str
    interval: Interval | None
    kind: Kind
    formula: str
    terms: tuple[Term, ...] = ()
    binding: str | None = None
    """The resource or term that decides the value."""
    protocol: str | None = None

    def as_evidence(self, step: str) -> Evidence:
        """The prediction as a record that a report can cite. Only for an estimate that has a value."""
        assert self.value is not None
        return Evidence(
            id=f"{step}.predicted.{self.metric}",
            metric=self.metric,
            value=self.value,
            unit=self.unit,
            kind=self.kind,
            source=self.formula,
            interval=self.interval,
            repeats="machine",
        )


class Refusal(Noun):
    """Why a target cannot be met: the bound, what it would take, and the nearest target that can be met."""

    target: Target
    verdict: Literal["impossible", "out_of_reach"]
    """`impossible`: a hard bound of the machine; `out_of_reach`: the model's prediction with its interval."""
    binding: str
    arithmetic: str
    """One line with the numbers filled in."""
    terms: tuple[Term, ...]
    best: float
    """The best value within reach, in the target's canonical unit."""
    nearest: str
    """The nearest feasible brief in one sentence."""


class Option(Noun):
    """A complete way to meet the brief, with its estimates and its trade-offs."""

    name: str
    summary: str
    recipe: Recipe
    estimates: tuple[Estimate, ...]
    complexity: Literal["low", "medium", "high"] = "low"
    refused_because: str | None = None
    """Why this option was pruned; None while it is in the running."""

    def estimate(self, metric: str) -> Estimate | None:
        """The estimate of `metric`, if this option has one."""
        return next((e for e in self.estimates if e.metric == metric), None)


class Plan(Noun):
    """Options ranked, one decided, why, and what would change the decision."""

    options: tuple[Option, ...] = Field(min_length=1)
    decided: str
    """The name of the option that is carried out."""
    because: str
    would_change: tuple[str, ...] = ()

    @property
    def decision(self) -> Option:
        """The decided option."""
        return next(o for o in self.options if o.name == self.decided)
