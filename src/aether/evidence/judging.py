"""A judge (a classifier, a rule, a language model) held against people, and rates corrected for its errors. No torch.

Sensitivity and specificity with Wilson intervals, and Cohen's kappa. A rate that the judge saw is corrected as Rogan and Gladen (1978) do,
with the limits of Lang and Reiczigel, Preventive Veterinary Medicine 113 (2014), which carry the uncertainty of both error rates and stay
valid at 0 and 100 %. Where people labelled a random part of the same items, prediction-powered inference (Angelopoulos et al.,
arXiv 2311.01453, PPI++) needs no such assumption about the errors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from aether.evidence.agreement import RESAMPLES, Agreement, cohen_kappa
from aether.evidence.statistics import Measurement, exact_proportion
from aether.spec.errors import InputError
from aether.spec.evidence import Interval


@dataclass(frozen=True)
class Calibration:
    """How a judge's yes and no compare with people's on the same items."""

    true_yes: int
    missed: int
    """People say yes, the judge no."""
    true_no: int
    false_yes: int
    kappa: Agreement

    @property
    def sensitivity(self) -> float:
        """The share of people's yes that the judge sees."""
        return self.true_yes / (self.true_yes + self.missed)

    @property
    def specificity(self) -> float:
        """The share of people's no that the judge leaves alone."""
        return self.true_no / (self.true_no + self.false_yes)

    @property
    def is_informative(self) -> bool:
        """Whether the judge is better than a coin beyond its own noise: else no rate can be corrected with it."""
        yes, no = self.true_yes + self.missed, self.true_no + self.false_yes
        se = math.sqrt(self.sensitivity * (1 - self.sensitivity) / yes + self.specificity * (1 - self.specificity) / no)
        return self.sensitivity + self.specificity - 1.0 > 1.96 * se

    @property
    def reversed(self) -> "Calibration":
        """The same judge asked the other way round: its no is the yes."""
        return Calibration(self.true_no, self.false_yes, self.true_yes, self.missed, self.kappa)


def calibrate(judge: Sequence[bool], people: Sequence[bool], seed: int = 0, resamples: int = RESAMPLES) -> Calibration:
    """The judge's verdicts against people's. Raises InputError when people said only yes or only no."""
    x, y = np.asarray(judge, bool), np.asarray(people, bool)
    if x.shape != y.shape or not bool(y.any()) or bool(y.all()):
        raise InputError.of(
            "human labels", f"{int(y.sum())} yes of {len(y)}", "label items of both kinds, one label per verdict"
        )
    kappa = cohen_kappa(x.tolist(), y.tolist(), seed=seed, resamples=resamples)
    return Calibration(int((x & y).sum()), int((~x & y).sum()), int((~x & ~y).sum()), int((x & ~y).sum()), kappa)


def corrected_rate(yes: float, n: float, judged: Calibration, level: float = 0.95) -> Measurement:
    """The true share of yes among n items of which the judge saw `yes`. Raises InputError for a judge no better than chance.

    Where items are alike, give the effective n (`statistics.effective_trials`) and the yes that keep their share.
    """
    if not 0 <= yes <= n or n == 0:
        raise InputError.of("yes", (yes, n), "give between none and all of at least one item")
    if not judged.is_informative:
        seen = f"sensitivity {judged.sensitivity:.2f}, specificity {judged.specificity:.2f}"
        raise InputError.of(
            "judge", seen, "it is not shown to be better than chance; use another judge or label by hand"
        )
    strength = judged.sensitivity + judged.specificity - 1.0
    value = min(1.0, max(0.0, (yes / n + judged.specificity - 1.0) / strength))
    units = max(1, round(n))
    return Measurement(
        value, None, _lang_reiczigel(yes, n, judged, level), units, units, "corrected for the judge's errors"
    )


def _lang_reiczigel(yes: float, n: float, judged: Calibration, level: float) -> Interval:
    z = float(stats.norm.ppf(0.5 + level / 2))
    positives, negatives = judged.true_yes + judged.missed, judged.true_no + judged.false_yes
    seen = (yes + z * z / 2) / (n + z * z)
    sensitivity, specificity = (judged.true_yes + 1) / (positives + 2), (judged.true_no + 1) / (negatives + 2)
    strength = sensitivity + specificity - 1.0
    rate = (seen + specificity - 1.0) / strength
    of_sensitivity = sensitivity * (1 - sensitivity) / positives
    of_specificity = specificity * (1 - specificity) / negatives
    shift = 2 * z * z * (rate * of_sensitivity - (1 - rate) * of_specificity)
    variance = seen * (1 - seen) / (n + z * z) + rate**2 * of_sensitivity + (1 - rate) ** 2 * of_specificity
    half = z * math.sqrt(variance) / abs(strength)
    low, high = rate + shift - half, rate + shift + half
    # Fewer yes than the judge's own false alarms would give (or more than it can see) put the rate outside 0 to 1 and the limits with it.
    # What holds whatever the errors: no more true yes than seen ones over the sensitivity, no more true no than seen ones over the specificity.
    seen_exactly = exact_proportion(yes, n, level).interval
    assert seen_exactly is not None
    if rate < 0.0:
        high = max(high, seen_exactly.high / sensitivity)
    if rate > 1.0:
        low = min(low, 1.0 - (1.0 - seen_exactly.low) / specificity)
    low, high = (min(1.0, max(0.0, end)) for end in (low, high))
    return Interval(low=low, high=high, level=level, method="Lang-Reiczigel")


def prediction_powered_mean(
    people: ArrayLike, judge_there: ArrayLike, judge_elsewhere: ArrayLike, level: float = 0.95
) -> Measurement:
    """The mean of people's scores over all items, from those that people scored (a random part) and the judge's on every item.

    `people` and `judge_there` (n,) are of the same items, `judge_elsewhere` (N,) of the rest. Never less precise than people alone, for
    many items: the weight on the judge is the one that makes the variance least (PPI++, example 6.1).
    """
    y, there, elsewhere = (np.asarray(part, np.float64) for part in (people, judge_there, judge_elsewhere))
    n, rest = len(y), len(elsewhere)
    if len(there) != n or n < 2 or rest < 2:
        raise InputError.of(
            "scores", (n, len(there), rest), "give at least two of each, the judge's on the items of people"
        )
    both = float(np.concatenate([there, elsewhere]).var(ddof=1))
    weight = float(np.cov(y, there)[0, 1]) / (both * (1.0 + n / rest)) if both > 0 else 0.0
    weight = min(1.0, max(0.0, weight))
    value = float(y.mean()) + weight * (float(elsewhere.mean()) - float(there.mean()))
    se = math.sqrt(weight**2 * float(elsewhere.var(ddof=1)) / rest + float((y - weight * there).var(ddof=1)) / n)
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * se
    interval = Interval(low=value - half, high=value + half, level=level, method="prediction-powered, t")
    return Measurement(value, se, interval, n + rest, n, f"weight {weight:.2f} on the judge")
