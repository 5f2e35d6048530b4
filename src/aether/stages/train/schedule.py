"""Learning rate and momentum as a function of the step. Pure arithmetic; the sources stand at `Schedule.kind`."""

import math

from aether.stages.train.recipe_optimiser import Optimiser, Schedule


def learning_rate_factor(schedule: Schedule, step: int, steps: int) -> float:
    """The share of the peak rate that update `step` (0 .. steps - 1) uses; above zero except where the decay ends.

    The warm-up reaches 1 at its last step; the decay would reach `final_fraction` at step `steps`. After the warm-up, cosine and
    inverse_sqrt are transformers' schedules of those names, the latter with the warm-up as its time scale.
    """
    assert 0 <= step < steps
    warmup = round(schedule.warmup_fraction * steps)
    if step < warmup:
        return (step + 1) / warmup
    if schedule.kind == "inverse_sqrt":
        return math.sqrt(max(1, warmup) / max(1, step))
    decay = round(schedule.decay_fraction * steps) if schedule.kind == "wsd" else steps - warmup
    if decay == 0 or step < steps - decay:
        return 1.0
    left = (steps - step) / decay
    if schedule.kind == "cosine":
        left = 0.5 * (1.0 - math.cos(math.pi * left))
    return schedule.final_fraction + (1.0 - schedule.final_fraction) * left


def warmup_factor(schedule: Schedule, step: int, steps: int) -> float:
    """The share of the peak rate with the warm-up alone, for an optimiser that averages instead of decaying."""
    assert 0 <= step < steps
    return min(1.0, (step + 1) / max(1, round(schedule.warmup_fraction * steps)))


def muon_momentum(optimiser: Optimiser, step: int, steps: int) -> float:
    """Muon's momentum at update `step`: a line from its start to its value, then constant."""
    rising = optimiser.muon_momentum_warmup_fraction * steps
    share = min(1.0, step / rising) if rising else 1.0
    return optimiser.muon_momentum_start + share * (optimiser.muon_momentum - optimiser.muon_momentum_start)
