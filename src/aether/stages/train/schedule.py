"""Learning rate and momentum as a function of the step. Pure arithmetic; follows MiniCPM's WSD (arXiv 2404.06395)."""

from aether.stages.train.recipe import Optimiser, Schedule


def learning_rate_factor(schedule: Schedule, step: int, steps: int) -> float:
    """The share of the peak rate that update `step` (0 .. steps - 1) uses; above zero except where the decay ends.

    The warm-up reaches 1 at its last step; the decay would reach `final_fraction` at step `steps`.
    """
    assert 0 <= step < steps
    warmup = round(schedule.warmup_fraction * steps)
    if step < warmup:
        return (step + 1) / warmup
    decay = steps - warmup if schedule.kind == "linear" else round(schedule.decay_fraction * steps)
    if decay == 0 or step < steps - decay:
        return 1.0
    left = (steps - step) / decay
    return schedule.final_fraction + (1.0 - schedule.final_fraction) * left


def muon_momentum(optimiser: Optimiser, step: int, steps: int) -> float:
    """Muon's momentum at update `step`: a line from its start to its value, then constant."""
    rising = optimiser.muon_momentum_warmup_fraction * steps
    share = min(1.0, step / rising) if rising else 1.0
    return optimiser.muon_momentum_start + share * (optimiser.muon_momentum - optimiser.muon_momentum_start)
