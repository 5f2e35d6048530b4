"""Metrics that are made of log-likelihoods: items hold nats and what they are spread over, as measured; the unit comes last, as in lm-eval.

So a score is lm-eval's to the last bit (0.4.13, `api/metrics.py`): sums in the order of the items, their quotient, then the unit.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from aether.evidence.statistics import Measurement

NATS_IN_UNIT: Mapping[str, float] = {
    "bits_per_byte": math.log(2),
    "word_perplexity": 1.0,
    "byte_perplexity": 1.0,
    "perplexity": 1.0,
}
"""Metric -> nats in the unit that its means and differences are told in; the metric's weights say that an item holds a log-likelihood."""
UNITS: Mapping[str, str] = {
    "bits_per_byte": "bit/byte",
    "word_perplexity": "nat/word",
    "byte_perplexity": "nat/byte",
    "perplexity": "nat/answer",
}
"""Of means and differences: perplexities are compared as the logarithms that their items hold."""
PERPLEXITIES = frozenset(NATS_IN_UNIT) - {"bits_per_byte"}
"""Their scores are the exponentials of those means."""


def name_of(metric: str) -> str:
    """The metric without the filter of answers that lm-eval names after a comma."""
    return metric.split(",")[0]


def score_unit(metric: str) -> str | None:
    """The unit of a score by the metric: a perplexity is so many likely ways to go on, per word, byte or answer. None for others."""
    unit = UNITS.get(name_of(metric))
    return None if unit is None else unit.replace("nat/", "per ")


def is_likelihood(metric: str, weights: Mapping[str, float]) -> bool:
    """Whether an item with these weights holds a log-likelihood under the metric."""
    return name_of(metric) in NATS_IN_UNIT and metric in weights


def lost(metric: str, nats: float) -> float:
    """A log-likelihood as what is lost by it, in the metric's unit: above zero, less is better."""
    return -nats / NATS_IN_UNIT[name_of(metric)]


def mean_lost(metric: str, found: Measurement) -> Measurement:
    """The same of a mean log-likelihood with its error and limits."""
    span = found.interval
    if span is not None:
        span = span.model_copy(update={"low": lost(metric, span.high), "high": lost(metric, span.low)})
    se = None if found.se is None else -lost(metric, found.se)
    return replace(found, value=lost(metric, found.value), se=se, interval=span)


def as_score(metric: str, found: Measurement) -> Measurement:
    """A mean as the metric's score: of a perplexity the exponential, its error by the delta method."""
    if name_of(metric) not in PERPLEXITIES:
        return found
    value, span = math.exp(found.value), found.interval
    if span is not None:
        span = span.model_copy(update={"low": math.exp(span.low), "high": math.exp(span.high)})
    return replace(found, value=value, se=None if found.se is None else value * found.se, interval=span)
