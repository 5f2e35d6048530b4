"""Seconds per training step of a shape nobody has run, from those that pilots ran: work over a fitted rate, plus overhead.

t = FLOPs / rate + tokens x c + layers x d, fitted to the pilots by non-negative least squares of relative errors; small
models spend more on a token's softmax and norms than on its products. A pilot that was disturbed is left out, by name.
FLOPs are the matrix products of forward and backward and the optimiser's Newton-Schulz products, as
`stages.train.estimate` counts them. Without pilots a processor's update is counted and the probe's rates stand in (`planning.unproven`); of an
accelerator its peak and an assumed utilisation, with a factor of two either way. It does not know caches, nor what else runs on the machine.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from aether.hardware.machine import Machine
from aether.planning.facts import PilotResult
from aether.planning.unproven import ProbedStepTime
from aether.stages.train import estimate
from aether.stages.train.recipe import TrainRecipe

_UTILISATION_UNPROVEN = 0.35
"""Share of its peak that training reaches on an accelerator, before any pilot has run (assumed)."""

_DISTURBED = 6.0
"""A pilot that does this many times less work per second than the best one was disturbed; shapes of the ladder and batches
of the pilots differ by less (measured: at most 3 between one window of width 64 and many of width 128)."""

LEAST_SPREAD = 0.12
"""Relative spread of a step time between two moments on one machine, as a standard deviation. Measured on two shared
cores: 10 % between repeats of equal work within minutes; whole builds took 0.91 to 1.13 of the predicted time."""


def step_flops(recipe: TrainRecipe) -> float:
    """FLOPs of one training step: forward and backward over the batch, and Newton-Schulz over the matrices."""
    return estimate.flops_per_token(recipe) * recipe.batch_tokens() + estimate.optimiser_flops_per_step(recipe)


@dataclass(frozen=True)
class StepTime:
    """seconds = FLOPs / rate + tokens x per-token + layers x per-layer, with a relative spread.

    `left_out` names the pilots that were too slow to be believed, and by what factor.
    """

    rate_flops_per_s: float
    per_token_s: float
    overhead_per_layer_s: float
    relative_spread: float
    fixed_s: float
    left_out: tuple[str, ...] = ()

    def seconds(self, recipe: TrainRecipe) -> float:
        """One step's expected seconds."""
        work_s = step_flops(recipe) / self.rate_flops_per_s + recipe.batch_tokens() * self.per_token_s
        return (work_s + recipe.model.layers * self.overhead_per_layer_s) * estimate.step_share(recipe)


def unproven_step_time(machine: Machine) -> StepTime | ProbedStepTime:
    """The step time that the probe, or the data sheet, says before any pilot."""
    if machine.accelerator is None:
        return ProbedStepTime(machine)
    layer = 20.0 * (machine.layer_overhead_s or 0.0)
    rate = machine.peak_flops_per_s("train") * _UTILISATION_UNPROVEN
    return StepTime(rate, 0.0, layer, math.log(2.0), 5.0)


def fit_step_time(machine: Machine, pilots: Sequence[PilotResult]) -> StepTime | ProbedStepTime:
    """The step time that explains the pilots, or the probe's, when there are none."""
    peak = machine.peak_flops_per_s("train")
    if not pilots:
        return unproven_step_time(machine)
    believed, left_out = _believed(pilots)
    taken_P = np.array([p.seconds_per_step for p in believed])
    flops_P = np.array([step_flops(p.recipe) for p in believed])
    tokens_P = np.array([float(p.recipe.batch_tokens()) for p in believed])
    layers_P = np.array([float(p.recipe.model.layers) for p in believed])
    # Arithmetic at the peak is the least that the FLOPs cost; the rest is shared out by least squares.
    least_P = flops_P / peak
    design_P3 = np.stack([flops_P, tokens_P, layers_P], axis=1) / taken_P[:, None]
    size_3 = design_P3.max(axis=0)
    solved_3, _ = optimize.nnls(design_P3 / size_3, np.maximum(0.0, 1.0 - least_P / taken_P))
    per_flop, per_token, per_layer = (float(x) for x in solved_3 / size_3)
    predicted_P = least_P + flops_P * per_flop + tokens_P * per_token + layers_P * per_layer
    misfit = float(np.sqrt(np.mean((predicted_P / taken_P - 1.0) ** 2)))
    spread = max(LEAST_SPREAD, misfit) * (1.0 + len(left_out))
    fixed = float(np.median([p.fixed_s for p in believed]))
    return StepTime(1.0 / (1.0 / peak + per_flop), per_token, per_layer, spread, fixed, left_out)


def _believed(pilots: Sequence[PilotResult]) -> tuple[list[PilotResult], tuple[str, ...]]:
    """The pilots whose rate of work is not far below the best one's: a slower one shared the machine with something."""
    rates = [step_flops(p.recipe) / p.seconds_per_step for p in pilots]
    best = max(rates)
    kept = [p for p, rate in zip(pilots, rates, strict=True) if rate * _DISTURBED >= best]
    left = tuple(
        f"{p.name} ({best / rate:.0f} times slower)"
        for p, rate in zip(pilots, rates, strict=True)
        if rate * _DISTURBED < best
    )
    return kept, left
