"""A target of the brief against its evidence: met, missed or unproven. The one map from a metric to what measures it.

A bound is proven only by the whole interval: one that straddles the bound proves neither side. Follows the usual
reading of a confidence interval as a two-sided test; it does not correct for the number of targets.
"""

from collections.abc import Mapping
from typing import Literal

from aether.evidence.ledger import Ledger
from aether.spec.brief import Brief, Target
from aether.spec.evidence import Evidence, Interval
from aether.spec.metrics import METRICS
from aether.spec.plan import Plan
from aether.spec.run import Verdict
from aether.spec.units import humanize

MEASURED_BY: dict[str, str] = {name: f"{metric.stage}.{name}" for name, metric in METRICS.items()}
"""Metric -> id of the evidence that judges it: the in-distribution test split, and the load that the brief states."""


def predictions(plan: Plan) -> tuple[Evidence, ...]:
    """The decided option's estimates as evidence, `plan.predicted.<metric>`. Those without a value are left to `protocol`."""
    return tuple(e.as_evidence("plan") for e in plan.decision.estimates if e.value is not None)


def predicted_ids(ledger: Ledger) -> dict[str, str]:
    """Metric -> id of its prediction, for every prediction in the ledger."""
    return {e.metric: e.id for e in ledger if e.id == f"plan.predicted.{e.metric}"}


def judge(brief: Brief, ledger: Ledger, predicted: Mapping[str, str] | None = None) -> tuple[Verdict, ...]:
    """One verdict per target, in the brief's order. `predicted` maps a metric to the id of its prediction; by default
    those of the plan that the ledger holds."""
    predicted = predicted_ids(ledger) if predicted is None else predicted
    return tuple(_judge_one(target, ledger, predicted.get(target.metric)) for target in brief.targets)


def _judge_one(target: Target, ledger: Ledger, predicted_id: str | None) -> Verdict:
    measured_id = MEASURED_BY[target.metric]
    evidence = ledger.get(measured_id)
    if evidence is None:
        reason = "Nothing was measured: this run has no record of it."
        return Verdict(target=target, status="unproven", predicted_id=predicted_id, measured_id=None, reason=reason)
    assert evidence.unit == target.unit, f"{measured_id} is in {evidence.unit}, its target in {target.unit}"
    status, reason = decide(target, evidence)
    return Verdict(target=target, status=status, predicted_id=predicted_id, measured_id=measured_id, reason=reason)


def decide(target: Target, evidence: Evidence) -> tuple[Literal["met", "missed", "unproven"], str]:
    """Whether the evidence meets the bound, and why; with an interval only the whole of it decides."""
    bound = humanize(target.value, target.unit)
    interval = evidence.interval
    if interval is None and target.metric.endswith(("_p50", "_p99")):
        value = humanize(evidence.value, evidence.unit)
        return "unproven", f"The value is {value}, but too little was measured to bound it."
    if interval is None:
        value = humanize(evidence.value, evidence.unit, digits_apart(evidence.value, target.value))
        return _point(target, evidence.value, f"{value} against a bound of {bound}")
    sides = {target.is_met_by(interval.low), target.is_met_by(interval.high)}
    between = _between(interval, evidence.unit)
    if sides == {True}:
        return "met", f"The whole interval, {between}, is on the right side of {bound}."
    if sides == {False}:
        return "missed", f"The whole interval, {between}, is on the wrong side of {bound}."
    lean = "right" if target.is_met_by(evidence.value) else "wrong"
    return "unproven", f"The interval, {between}, straddles {bound}; the value itself is on the {lean} side."


def _point(target: Target, value: float, against: str) -> tuple[Literal["met", "missed"], str]:
    if target.is_met_by(value):
        return "met", f"The value is {against}."
    return "missed", f"The value is {against}: on the wrong side."


def _between(interval: Interval, unit: str) -> str:
    digits = digits_apart(interval.low, interval.high)
    return f"{humanize(interval.low, unit, digits)} to {humanize(interval.high, unit, digits)}"


def digits_apart(a: float, b: float, least: int = 3, most: int = 6) -> int:
    """The fewest significant digits, at least `least`, at which two values print differently."""
    return next((d for d in range(least, most) if a == b or f"{a:.{d}g}" != f"{b:.{d}g}"), most)
