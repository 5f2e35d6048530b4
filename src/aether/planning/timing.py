"""Seconds per training step of a shape nobody has run: what is counted of it, each part scaled by what the pilots took.

A step's parts are counted from its recipe and the machine (`planning.unproven`). Before any pilot they stand as they are. Pilots scale
them: all alike where pilots can't tell them apart, as batches of one size can't tell a token's work from a layer's calls, and each by
itself as far as they can. That is ridge regression of relative errors towards the common factor; the prior's spread is
that of the counted time, so a step unlike the pilots' has a wider interval. A pilot that was disturbed is left out, by name.
It does not know what else runs on the machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from aether.hardware.machine import Machine
from aether.planning.facts import PilotResult
from aether.planning.unproven import Counted, counted_on
from aether.stages.train import estimate
from aether.stages.train.recipe import TrainRecipe

_DISTURBED = 6.0
"""A pilot that takes this many times what the best one says of it was disturbed; the shares that
pilots took of what is counted lie far closer (`docs/planning.md`)."""

LEAST_SPREAD = 0.12
"""Relative spread of a step time between two moments on one machine, as a standard deviation. Measured on two shared
cores: 10 % between repeats of equal work within minutes; whole builds took 0.91 to 1.13 of the predicted time."""

_FIXED_S = 5.0
"""Seconds of a training besides its steps, before any pilot (assumed)."""


@dataclass(frozen=True)
class StepTime:
    """seconds = sum over the counted parts of scale x part, and no less than the arithmetic at the machine's peak.

    `scales_K` and their `covariance_KK` are those of the K parts, `noise` is the relative spread between two moments, as standard deviations.
    `left_out` names the pilots that were too slow to be believed, and by what factor.
    """

    counted: Counted
    scales_K: np.ndarray
    covariance_KK: np.ndarray
    noise: float
    fixed_s: float
    left_out: tuple[str, ...] = ()

    def seconds(self, recipe: TrainRecipe) -> float:
        """One step's expected seconds."""
        return self._plain_s(recipe) * estimate.step_share(recipe)

    def spread(self, recipe: TrainRecipe) -> float:
        """Relative standard deviation of a step's seconds."""
        parts_K = np.array(self.counted.seconds(recipe))
        unsure_s = float(np.sqrt(parts_K @ self.covariance_KK @ parts_K))
        return float(np.hypot(self.noise, unsure_s / self._plain_s(recipe)))

    def _plain_s(self, recipe: TrainRecipe) -> float:
        """Not compiled."""
        scaled_s = float(np.array(self.counted.seconds(recipe)) @ self.scales_K)
        return max(scaled_s, estimate.flops_per_step(recipe) / self.counted.machine.peak_flops_per_s("train"))


def counted_step_time(machine: Machine) -> StepTime:
    """The step time that the probe, or the data sheet, says before any pilot."""
    counted = counted_on(machine)
    parts = len(counted.names)
    return StepTime(counted, np.ones(parts), np.zeros((parts, parts)), counted.relative_spread, _FIXED_S)


def fit_step_time(machine: Machine, pilots: Sequence[PilotResult]) -> StepTime:
    """The step time that explains the pilots, or what is counted, when there are none."""
    plain = counted_step_time(machine)
    if not pilots:
        return plain
    factors = [p.seconds_per_step / plain.seconds(p.recipe) for p in pilots]
    slow = {p.name: factor / min(factors) for p, factor in zip(pilots, factors, strict=True)}
    believed = [p for p in pilots if slow[p.name] < _DISTURBED]
    left_out = tuple(f"{name} ({times:.0f} times slower)" for name, times in slow.items() if times >= _DISTURBED)
    scales_K, covariance_KK, misfit = _scaled(plain.counted, believed)
    noise = max(LEAST_SPREAD, misfit) * (1.0 + len(left_out))
    fixed_s = float(np.median([p.fixed_s for p in believed]))
    return StepTime(plain.counted, scales_K, covariance_KK, noise, fixed_s, left_out)


def _scaled(counted: Counted, pilots: Sequence[PilotResult]) -> tuple[np.ndarray, np.ndarray, float]:
    """The parts' scales, their covariance, and the root of the mean squared relative error that stays."""
    taken_P = np.array([p.seconds_per_step for p in pilots])
    shares_PK = np.array([counted.seconds(p.recipe) for p in pilots]) / taken_P[:, None]
    common = float(np.median(1.0 / shares_PK.sum(axis=1)))
    # A row for each pilot over its noise, then one for each part: its scale over the common one, over the prior's spread.
    prior_KK = np.eye(shares_PK.shape[1]) / (common * counted.relative_spread)
    design = np.concatenate([shares_PK / LEAST_SPREAD, prior_KK])
    wanted = np.concatenate([np.full(len(pilots), 1.0 / LEAST_SPREAD), common * prior_KK.sum(axis=1)])
    scales_K, _ = optimize.nnls(design, wanted)
    misfit = float(np.sqrt(np.mean((shares_PK @ scales_K - 1.0) ** 2)))
    return scales_K, np.linalg.inv(design.T @ design), misfit
