"""A target against an estimate: met, at risk or missed, by the ends of its 80 % interval, which are 90 % each for themselves."""

from collections.abc import Iterable, Mapping

from aether.spec.brief import Target
from aether.spec.fleet import FleetOption, Standing
from aether.spec.plan import Estimate


def standing_of(target: Target, estimate: Estimate | None) -> Standing:
    """One target. What is not known is at risk."""
    if estimate is None or estimate.value is None:
        return "at_risk"
    ends = (estimate.interval.low, estimate.interval.high) if estimate.interval else (estimate.value, estimate.value)
    good, bad = ends if target.comparison == "<=" else ends[::-1]
    if target.is_met_by(bad):
        return "met"
    return "at_risk" if target.is_met_by(good) else "missed"


def worst(targets: Iterable[Target], estimates: Mapping[str, Estimate]) -> Standing:
    """All targets at once."""
    found = {standing_of(target, estimates.get(target.metric)) for target in targets}
    return "missed" if "missed" in found else "at_risk" if "at_risk" in found else "met"


def likely(targets: Iterable[Target], estimates: Mapping[str, Estimate]) -> bool:
    """Whether no predicted value misses its target."""
    pairs = ((target, estimates.get(target.metric)) for target in targets)
    return all(e is None or e.value is None or target.is_met_by(e.value) for target, e in pairs)


def certain_end(target: Target, estimate: Estimate) -> float:
    """The value that is kept at 90 %."""
    assert estimate.value is not None
    if estimate.interval is None:
        return estimate.value
    return estimate.interval.high if target.comparison == "<=" else estimate.interval.low


def is_known(option: FleetOption) -> bool:
    """Whether what its number format loses is known."""
    loss = option.estimate("quality_loss")
    return loss is not None and loss.value is not None
