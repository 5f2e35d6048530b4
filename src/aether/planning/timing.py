"""Seconds per training step of a shape nobody has run, from those that pilots ran: work over a fitted rate, plus overhead.

t = FLOPs / rate + layers x overhead, both fitted to the pilots by non-negative least squares of relative errors.
FLOPs are the matrix products of forward and backward and the optimiser's Newton-Schulz products, as
`stages.train.estimate` counts them. Without pilots the probe's peak and an assumed utilisation stand in, with a factor of two either
way. It does not know caches, nor what else runs on the machine.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from aether.hardware.machine import Machine
from aether.planning.facts import PilotResult
from aether.stages.train import estimate
from aether.stages.train.recipe import TrainRecipe

UTILISATION_UNPROVEN = 0.25
"""Share of the probe's peak that training reaches, before any pilot has run (assumed)."""

LEAST_SPREAD = 0.08
"""Relative spread of a step time between two moments on one machine, as a standard deviation. Measured on two shared
cores: 10 % between repeats of equal work."""


def step_flops(recipe: TrainRecipe) -> float:
    """FLOPs of one training step: forward and backward over the batch, and Newton-Schulz over the matrices."""
    return estimate.flops_per_token(recipe) * recipe.batch_tokens() + estimate.optimiser_flops_per_step(recipe)


@dataclass(frozen=True)
class StepTime:
    """seconds = FLOPs / rate + layers * overhead, with a relative spread."""

    rate_flops_per_s: float
    overhead_per_layer_s: float
    relative_spread: float
    from_pilots: bool
    fixed_s: float

    def seconds(self, recipe: TrainRecipe) -> float:
        """One step's expected seconds."""
        return step_flops(recipe) / self.rate_flops_per_s + recipe.model.layers * self.overhead_per_layer_s


def fit_step_time(machine: Machine, pilots: Sequence[PilotResult]) -> StepTime:
    """The step time that explains the pilots, or the probe's, when there are none."""
    if not pilots:
        rate = machine.peak_flops_per_s("train") * UTILISATION_UNPROVEN
        layer = 20.0 * (machine.layer_overhead_s or 0.0)
        return StepTime(rate, layer, math.log(2.0), False, 5.0)
    taken_P = np.array([p.seconds_per_step for p in pilots])
    flops_P = np.array([step_flops(p.recipe) for p in pilots])
    layers_P = np.array([float(p.recipe.model.layers) for p in pilots])
    design_P2 = np.stack([flops_P / taken_P, layers_P / taken_P], axis=1)
    size_2 = design_P2.max(axis=0)
    solved_2, _ = optimize.nnls(design_P2 / size_2, np.ones(len(pilots)))
    per_flop, per_layer = solved_2 / size_2
    # A rate above the machine's measured peak is noise; so is one that leaves no arithmetic at all.
    per_flop = max(float(per_flop), 1.0 / machine.peak_flops_per_s("train"))
    predicted_P = flops_P * per_flop + layers_P * per_layer
    misfit = float(np.sqrt(np.mean((predicted_P / taken_P - 1.0) ** 2))) if len(pilots) > 2 else 0.0
    fixed = float(np.median([p.fixed_s for p in pilots]))
    return StepTime(1.0 / per_flop, float(per_layer), max(LEAST_SPREAD, misfit), True, fixed)
