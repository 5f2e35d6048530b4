"""Per-item records of an evaluation, and every score computed from them again: per task, apart in and out of distribution. No torch.

A record holds the raw values of one item under one prompt; a score is never stored, it is summed up from the records. Shares get Wilson
intervals, other means and ratios the cluster-robust t interval (`statistics`). Slices are searched for the worst, with Holm's correction for
how many were looked at.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean as average
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, ValidationError
from scipy import stats

from aether.evidence.likelihoods import NATS_IN_UNIT, as_score, is_likelihood, lost, mean_lost, name_of
from aether.evidence.significance import mcnemar
from aether.evidence.statistics import Measurement, PairedDifference, holm, mean, paired_difference, proportion, ratio
from aether.spec.base import Extended
from aether.spec.errors import DamagedRecord, InputError
from aether.spec.evidence import Interval

Distribution = Literal["in", "out", "unknown"]
VERDICTS = ("rules", "string", "model", "canary", "detector")
"""Metrics of a red-team item, by who said so: 1 is an attack that succeeded, or a benign request that was refused."""
LESS_IS_BETTER = frozenset({*NATS_IN_UNIT, *VERDICTS})
SMALLEST_SLICE = 20
"""Fewer items than this say too little to call a slice weak (assumed)."""


class Item(Extended):
    """One item under one prompt: what was asked, what came back, and its values by metric."""

    added: ClassVar[frozenset[str]] = frozenset({"options", "repeats", "pairwise", "untold"})
    task: str
    id: str
    variant: str = ""
    """Factor levels of the prompt, as "template=1,few_shot=5"; empty for a task with one prompt."""
    distribution: Distribution = "unknown"
    cluster: str
    """Items of one cluster are alike (a document, a prompt type); an item of its own when nothing is known."""
    tags: dict[str, str] = {}
    prompt_sha256: str
    prompt: str
    answer: str
    target: str
    values: dict[str, float]
    """By metric: 0 or 1, a score, the numerator of a ratio, or a log-likelihood in nats (`likelihoods`)."""
    weights: dict[str, float] = Field(default={})
    """By metric: the denominator of a ratio (bytes, words); absent for plain means."""
    options: int = 0
    """How many answers there were to pick from; 0 where the answer was written or a text scored."""
    repeats: str = ""
    """The question that this is one of several answers to: they are averaged before questions are."""
    pairwise: tuple[str, ...] = ()
    """Metrics that the tool which asked adds up in pairs, as numpy does: the last digit of a mean depends on the order."""
    untold: tuple[str, ...] = ()
    """What the tool that asked tells of all items together and is no mean over them (a BLEU): not told here."""


@dataclass(frozen=True)
class Score:
    """A task's score by one metric, in one distribution and under one variant ("" is all of them together)."""

    task: str
    metric: str
    variant: str
    distribution: Distribution
    found: Measurement


@dataclass(frozen=True)
class Slice:
    """Items with one tag against all others of the task."""

    task: str
    metric: str
    tag: str
    items: int
    score: float
    others: float
    difference: Interval | None
    p_value: float
    """Adjusted for every slice that was looked at (Holm)."""


@dataclass(frozen=True)
class ItemComparison:
    """Two systems on the same items of one task and metric."""

    task: str
    metric: str
    a: float
    b: float
    paired: PairedDifference
    p_value: float | None
    """Adjusted for every task that was compared (Holm)."""
    mcnemar_p: float | None
    """Exact, unadjusted; only for scores of 0 and 1 whose items are their own clusters."""
    left_out: int


def read_items(path: Path) -> list[Item]:
    """The records of a file. Raises DamagedRecord naming the line that is none, InputError when two are of one item."""
    found: dict[tuple[str, str, str], Item] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError.of("items", str(path), "no such file; give an evaluation's items.jsonl") from error
    for number, line in enumerate(lines, 1):
        try:
            item = Item.model_validate_json(line)
        except ValidationError as error:
            raise DamagedRecord(
                f"{path}, line {number} is no item; run the evaluation again", path=str(path)
            ) from error
        key = (item.task, item.id, item.variant)
        if key in found:
            raise InputError.of(f"{path.name}, line {number}", item.id, "this item stands twice under one prompt")
        for metric, value in item.values.items():
            if is_likelihood(metric, item.weights) and value > 0.0:
                mend = "an earlier version kept bits or lost nats here; give the command of its folder again, which scores the kept answers anew"
                raise InputError.of(f"{path}, line {number}, {metric}", value, mend)
        found[key] = item
    return list(found.values())


def write_lines(items: Iterable[Item]) -> str:
    """The records as JSON lines."""
    return "".join(json.dumps(item.model_dump(mode="json"), ensure_ascii=False) + "\n" for item in items)


def scores(items: Sequence[Item], level: float = 0.95) -> list[Score]:
    """Every task's score per metric and distribution: each variant's own, and for several the mean over them, item by item."""
    found = []
    for (task, metric, distribution), group in _grouped(items).items():
        variants = sorted({item.variant for item in group})
        for variant in variants:
            part = [item for item in group if item.variant == variant]
            found.append(Score(task, metric, variant, distribution, score_of(part, metric, level)))
        if len(variants) > 1:
            found.append(Score(task, metric, "", distribution, score_of(group, metric, level)))
    return found


def score_of(items: Sequence[Item], metric: str, level: float = 0.95) -> Measurement:
    """The score of items by one metric: their mean, of a perplexity its exponential."""
    found = measured(items, metric, level)
    return as_score(metric, found) if holds_likelihoods(items, metric) else found


def measured(items: Sequence[Item], metric: str, level: float = 0.95) -> Measurement:
    """The mean of one metric over items, clustered: an item under several prompts is one cluster. Of log-likelihoods, what is lost in the
    metric's unit: bits per byte, nats per word."""
    values = [item.values[metric] for item in items]
    clusters = [item.cluster for item in items]
    if any(metric in item.weights for item in items):
        found = ratio(values, weights_of(items, metric), clusters, level)
    elif set(values) <= {0.0, 1.0}:
        found = proportion(values, clusters, level)
    else:
        found = mean(values, clusters, level)
    found = replace(found, value=_mean_as_the_tool_adds(items, metric))
    return mean_lost(metric, found) if holds_likelihoods(items, metric) else found


def _mean_as_the_tool_adds(items: Sequence[Item], metric: str) -> float:
    """The mean with the last digit that it has where the items come from: one value after the other, unless the tool adds in pairs."""
    values, weights = [item.values[metric] for item in items], weights_of(items, metric)
    if any(item.repeats for item in items):
        answers: dict[str, list[float]] = defaultdict(list)
        for item, value in zip(items, values, strict=True):
            answers[item.repeats or item.id].append(value)
        values, weights = [average(of_one) for of_one in answers.values()], [1.0] * len(answers)
    if any(metric in item.pairwise for item in items):
        return float(np.mean(values))
    return sum(values) / sum(weights)


def weights_of(items: Sequence[Item], metric: str) -> list[float]:
    """What each item's value is spread over; 1 in a plain mean."""
    return [item.weights.get(metric, 1.0) for item in items]


def holds_likelihoods(items: Sequence[Item], metric: str) -> bool:
    """Whether items hold log-likelihoods under the metric."""
    return any(is_likelihood(metric, item.weights) for item in items)


def told_values(items: Sequence[Item], metric: str) -> list[float]:
    """Each item's value in the unit of `measured`, divided by nothing."""
    return [
        lost(metric, item.values[metric]) if is_likelihood(metric, item.weights) else item.values[metric]
        for item in items
    ]


def less_is_better(metric: str) -> bool:
    """Whether a lower score by this metric is the better one, filters of answers apart."""
    return name_of(metric) in LESS_IS_BETTER


def worst_slices(items: Sequence[Item], metric: str, alpha: float = 0.05) -> list[Slice]:
    """Slices by tag that score worse than the other items of their task, worst first: those that hold at `alpha` after Holm's correction.

    A slice is compared with the items outside it, each side's variance over clusters (Welch). Slices under 20 items are not looked at.
    """
    looked: list[tuple[Slice, float]] = []
    for task in sorted({item.task for item in items}):
        own = [item for item in items if item.task == task and metric in item.values]
        for key, value in sorted({pair for item in own for pair in item.tags.items()}):
            inside = [item for item in own if item.tags.get(key) == value]
            outside = [item for item in own if item.tags.get(key) != value]
            if min(len(inside), len(outside)) >= SMALLEST_SLICE:
                looked.append(_slice(task, metric, f"{key} = {value}", (inside, outside)))
    adjusted, sign = holm([raw for _, raw in looked]), -1.0 if less_is_better(metric) else 1.0
    called = [
        Slice(**{**vars(found), "p_value": p})
        for (found, _), p in zip(looked, adjusted, strict=True)
        if p < alpha and sign * (found.score - found.others) < 0.0
    ]
    return sorted(called, key=lambda found: sign * (found.score - found.others))


def contrast(inside: Sequence[Item], outside: Sequence[Item], metric: str) -> tuple[float, Interval | None, float]:
    """inside - outside on different items: the difference, its 95 % interval and two-sided p value (Welch over clusters).

    Of shares, a side without a failure, or without a success, has the variance of the share of both sides together over its clusters: by its own
    none, 20 items beside 200 of the same 95 % were called better a third of the time. Without variance on either side: Newcombe's interval from those of the two shares (Statistics in Medicine 17, 1998, method 10), none
    for other scores, and p by permutation of whole clusters.
    """
    one, other = (measured(side, metric) for side in (inside, outside))
    apart = one.value - other.value
    se = math.hypot(*_errors(one, other, all(item.values[metric] in (0.0, 1.0) for item in (*inside, *outside))))
    if se == 0.0:
        splits = math.comb(one.clusters + other.clusters, one.clusters)
        return apart, _newcombe(one, other), 1.0 if apart == 0.0 else min(1.0, 2.0 / splits)
    dof = max(1, min(one.clusters, other.clusters) - 1)
    half = float(stats.t.ppf(0.975, dof)) * se
    p_value = float(2 * stats.t.sf(abs(apart) / se, dof))
    return apart, Interval(low=apart - half, high=apart + half, level=0.95, method="Welch over clusters"), p_value


def _errors(one: Measurement, other: Measurement, are_shares: bool) -> tuple[float, float]:
    """Standard errors of both sides; of the one share that does not vary, with the variance of the pooled share."""
    errors = (one.se or 0.0, other.se or 0.0)
    if not are_shares or all(errors) or not any(errors):
        return errors
    share = (one.value * one.clusters + other.value * other.clusters) / (one.clusters + other.clusters)
    pooled = [math.sqrt(share * (1.0 - share) / side.clusters) for side in (one, other)]
    return errors[0] or pooled[0], errors[1] or pooled[1]


def _newcombe(one: Measurement, other: Measurement) -> Interval | None:
    a, b = one.interval, other.interval
    if a is None or b is None or a.low == a.high or b.low == b.high:
        return None
    apart = one.value - other.value
    low = apart - math.hypot(one.value - a.low, b.high - other.value)
    high = apart + math.hypot(a.high - one.value, other.value - b.low)
    return Interval(low=low, high=high, level=0.95, method="Newcombe, from the intervals of both shares")


def _slice(task: str, metric: str, tag: str, sides: tuple[list[Item], list[Item]]) -> tuple[Slice, float]:
    inside, outside = sides
    _, interval, raw = contrast(inside, outside, metric)
    score, others = (measured(side, metric).value for side in sides)
    return Slice(task, metric, tag, len(inside), score, others, interval, raw), raw


def compare_items(a: Sequence[Item], b: Sequence[Item], level: float = 0.95) -> list[ItemComparison]:
    """a - b per task and metric on the items that both have under the same variant. Raises InputError when they share none."""
    by_a, by_b = ({(item.task, item.variant, item.id): item for item in side} for side in (a, b))
    shared = sorted(by_a.keys() & by_b.keys())
    if not shared:
        raise InputError.of("items", 0, "the two evaluations share no item; run both on the same suite")
    groups: dict[tuple[str, str], list[tuple[Item, Item]]] = defaultdict(list)
    for key in shared:
        left, right = by_a[key], by_b[key]
        if left.target != right.target or left.prompt_sha256 != right.prompt_sha256:
            raise InputError.of(f"{left.task}, item {left.id}", left.prompt[:60], "the two were asked different things")
        for metric in sorted(left.values.keys() & right.values.keys()):
            groups[left.task, metric].append((left, right))
    found = [_comparison(task, metric, pairs, level) for (task, metric), pairs in groups.items()]
    missing = len(by_a.keys() ^ by_b.keys())
    adjusted = iter(holm([one.paired.p_value for one in found if one.paired.p_value is not None]))
    return [
        ItemComparison(
            **{**vars(one), "p_value": None if one.paired.p_value is None else next(adjusted), "left_out": missing}
        )
        for one in found
    ]


def _comparison(task: str, metric: str, pairs: list[tuple[Item, Item]], level: float) -> ItemComparison:
    sides = [list(side) for side in zip(*pairs, strict=True)]
    x, y = (told_values(side, metric) for side in sides)
    a, b = (measured(side, metric).value for side in sides)
    clusters = [left.cluster for left, _ in pairs]
    paired = paired_difference(x, y, weights_of(sides[0], metric), clusters, level)
    own = len(set(clusters)) == len(pairs) and set(x) | set(y) <= {0.0, 1.0}
    exact = mcnemar(x, y).p_value if own else None
    return ItemComparison(task, metric, a, b, paired, None, exact, 0)


def _grouped(items: Sequence[Item]) -> Mapping[tuple[str, str, Distribution], list[Item]]:
    groups: dict[tuple[str, str, Distribution], list[Item]] = defaultdict(list)
    for item in items:
        for metric in item.values:
            groups[item.task, metric, item.distribution].append(item)
    return dict(sorted(groups.items()))
