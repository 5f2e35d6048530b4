"""From a predicted loss to the quality metrics of a brief, with what the step from one to the other adds to the interval."""

import math
from collections.abc import Sequence

import numpy as np

from aether.planning.facts import DataFacts, PilotResult
from aether.planning.forecast import Prediction
from aether.planning.intervals import LEVEL
from aether.spec.brief import Brief
from aether.spec.evidence import Interval
from aether.spec.metrics import GATES
from aether.spec.plan import Estimate, Term

SPLIT_SPREAD = 0.04
"""Relative standard deviation between the loss on the validation split, which pilots report, and on the test split's
folders, which the verdict takes (assumed; folders of one library differ by about that)."""

_Z = 1.2816
"""Standard normal quantile of LEVEL = 0.8, two-sided."""


def bits_per_byte(loss_nats: float, bytes_per_token: float) -> float:
    """Nats per token as bits per byte."""
    return loss_nats / math.log(2) / bytes_per_token


def predict_bits_per_byte(loss: Prediction, facts: DataFacts, quality_loss_bound: float) -> Estimate:
    """Bits per byte of the compressed model on the test split: the loss, the split's own bytes per token, compression.

    Compression costs between nothing and the brief's bound; its middle is a quarter of the bound (assumed).
    """
    spread = math.hypot(loss.relative_spread, SPLIT_SPREAD)
    lost = quality_loss_bound / 4
    value = bits_per_byte(loss.value, facts.test_bytes_per_token) * (1 + lost)
    low, high = value * (1 - _Z * spread), value * (1 + _Z * spread) * (1 + quality_loss_bound - lost)
    return Estimate(
        metric="bits_per_byte",
        value=value,
        unit="bit/byte",
        interval=Interval(
            low=low, high=high, level=LEVEL, method="loss interval, split spread and compression combined"
        ),
        kind="computed",
        formula="loss / ln 2 / bytes_per_token * (1 + compression)",
        terms=(
            Term(name="loss", value=loss.value, unit="nat/token", kind="computed", source=loss.interval.method),
            Term(
                name="test_bytes_per_token",
                value=facts.test_bytes_per_token,
                unit="byte/token",
                kind="measured",
                source="data step, test split",
            ),
            Term(
                name="compression",
                value=lost,
                unit="fraction",
                kind="assumed",
                source="a quarter of quality_loss_bound",
            ),
            Term(name="split spread", value=SPLIT_SPREAD, unit="fraction", kind="assumed", source="planning.quality"),
        ),
        binding="loss",
    )


def predict_accuracy(loss: Prediction, pilots: Sequence[PilotResult]) -> Estimate:
    """Next-token accuracy by a straight line through the pilots' (loss, accuracy), when they measured it."""
    points = [(p.loss, p.next_token_accuracy) for p in pilots if p.next_token_accuracy is not None]
    if len({round(x, 6) for x, _ in points}) < 3:
        return unknown(
            "next_token_accuracy", "fraction", "train pilots that measure accuracy, or evaluate a model of this size"
        )
    x_P, y_P = np.array([p[0] for p in points]), np.array([p[1] for p in points])
    slope, intercept = np.polyfit(x_P, y_P, 1)
    misfit = float(np.sqrt(np.mean((slope * x_P + intercept - y_P) ** 2)))
    value = float(np.clip(slope * loss.value + intercept, 0.0, 1.0))
    half = _Z * math.hypot(misfit, abs(slope) * loss.value * math.hypot(loss.relative_spread, SPLIT_SPREAD), 0.01)
    return Estimate(
        metric="next_token_accuracy",
        value=value,
        unit="fraction",
        interval=Interval(
            low=max(0.0, value - half), high=min(1.0, value + half), level=LEVEL, method="line through the pilots"
        ),
        kind="computed",
        formula="slope * loss + intercept",
        terms=(
            Term(name="slope", value=float(slope), unit="1/nat", kind="computed", source=f"{len(points)} pilots"),
            Term(
                name="intercept",
                value=float(intercept),
                unit="fraction",
                kind="computed",
                source=f"{len(points)} pilots",
            ),
        ),
        binding="loss",
    )


def unknown(metric: str, unit: str, protocol: str) -> Estimate:
    """A quantity that nothing supports a number for, with what would settle it."""
    return Estimate(
        metric=metric, value=None, unit=unit, interval=None, kind="assumed", formula="none", protocol=protocol
    )


def unpredicted(brief: Brief) -> tuple[Estimate, ...]:
    """The quality metrics that no relation was fitted for; those of safety where the brief bounds them."""
    gates = [target.metric for target in brief.targets if target.metric in GATES]
    return (
        *(unknown(name, "fraction", "try known attacks on the built model (the evaluate step does)") for name in gates),
        unknown("line_accuracy", "fraction", "complete held-out lines with the built model (the evaluate step does)"),
        unknown("parse_rate", "fraction", "parse held-out completions of the built model (the evaluate step does)"),
    )
