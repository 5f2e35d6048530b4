"""A task's score as a distribution over prompts: its spread over the variants, and the share of it that each factor has. No torch.

Main effects are sums of squares between the levels of a factor over a full grid of variants (Montgomery, Design and Analysis of
Experiments, 2017, chapter 5). Noise is what differences between variants on single items would spread the scores by.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aether.evidence.items import Item, holds_likelihoods, score_of, told_values, weights_of
from aether.evidence.likelihoods import as_score
from aether.evidence.statistics import Floats, Measurement, mean
from aether.spec.errors import InputError


@dataclass(frozen=True)
class Sensitivity:
    """A task's score as a distribution over prompts."""

    task: str
    metric: str
    scores: dict[str, float]
    """By variant."""
    over_prompts: Measurement
    """The mean over prompts (of perplexities the geometric one) with an interval for a prompt that was not tried (items held fixed)."""
    lowest: float
    highest: float
    shares: dict[str, float]
    """Of the variance over prompts: each factor's, what factors do together, and what noise of the items alone would give. Empty where the
    prompts do not differ."""


def sensitivity(items: Sequence[Item], task: str, metric: str) -> Sensitivity:
    """The spread of a task over its prompt variants, on the items that all have. Raises InputError for a task with one prompt."""
    own = [item for item in items if item.task == task and metric in item.values]
    variants = sorted({item.variant for item in own})
    if len(variants) < 2:
        raise InputError.of(
            "variants", len(variants), f"task {task} was asked under one prompt; give templates or few_shot values"
        )
    by_variant = {v: {item.id: item for item in own if item.variant == v} for v in variants}
    shared = sorted(set.intersection(*(set(by_variant[v]) for v in variants)))
    asked = {v: [by_variant[v][name] for name in shared] for v in variants}
    table_VI = np.array([_pulls(asked[v], metric) for v in variants])
    means = table_VI.mean(axis=1)
    whole = float(((means - means.mean()) ** 2).sum())
    over, shares = mean(means), dict[str, float]()
    if whole == 0.0:
        over = replace(over, interval=None, note="the prompts do not differ: nothing is known of the next one")
    else:
        shares = _shares(table_VI, [dict(part.split("=", 1) for part in v.split(",")) for v in variants], whole)
    over = as_score(metric, over) if holds_likelihoods(own, metric) else over
    found = {v: score_of(asked[v], metric).value for v in variants}
    return Sensitivity(task, metric, found, over, min(found.values()), max(found.values()), shares)


def _pulls(items: Sequence[Item], metric: str) -> Floats:
    """Values whose mean is the score: of a ratio, each item's part in it (linearised as in `statistics.ratio`)."""
    y_I, x_I = np.array(told_values(items, metric)), np.array(weights_of(items, metric))
    value = y_I.sum() / x_I.sum()
    return value + (y_I - value * x_I) / x_I.mean()


def _shares(table_VI: Floats, levels: Sequence[dict[str, str]], whole: float) -> dict[str, float]:
    """Of the sum of squares `whole` between variants: each factor's part, the factors' together, and the part that is noise of the items."""
    means = table_VI.mean(axis=1)
    shares = {factor: _between(means, [level.get(factor, "") for level in levels]) / whole for factor in levels[0]}
    rest_VI = table_VI - table_VI.mean(axis=0) - means[:, None] + means.mean()
    count = table_VI.shape[1]
    noise = float((rest_VI**2).sum()) / max(1, (count - 1) * count)
    shares["together"] = max(0.0, 1.0 - sum(shares.values()))
    return shares | {"of which item noise would give": min(1.0, noise / whole)}


def _between(means: Floats, levels: Sequence[str]) -> float:
    names = np.asarray(levels)
    return sum(float((names == name).sum() * (means[names == name].mean() - means.mean()) ** 2) for name in set(levels))
