"""The choices that keep a training run healthy and say how it goes: parts of `TrainRecipe`. No heavy import."""

from typing import ClassVar

from pydantic import Field

from aether.spec.base import Extended


class Spikes(Extended):
    """When a step is not believed, and the ladder: skip it, cut the learning rates, rewind and pass over the data, stop."""

    added: ClassVar = frozenset({"skips_before_cut", "cut_factor", "recover_steps", "least_rate_share"})

    sigmas: float = Field(default=6.0, gt=0, description="OLMo-core's SkipStepOptimizer: 6 standard deviations.")
    window_steps: int = Field(default=128, ge=8, description="OLMo-core's SkipStepOptimizer: the last 128 steps.")
    skips_before_cut: int = Field(
        default=3, ge=1, description="Skips among the last window_steps that cut every learning rate (assumed)."
    )
    cut_factor: float = Field(default=0.5, gt=0, lt=1, description="What a cut multiplies every rate by (assumed).")
    recover_steps: int = Field(
        default=100, ge=1, description="Accepted steps over which one cut is undone, by equal factors (assumed)."
    )
    least_rate_share: float = Field(
        default=0.125, ge=0, le=1, description="A cut that would go below this share of the schedule rewinds instead."
    )
    skips_before_rewind: int = Field(
        default=5, ge=1, description="Skips in a row that mean the weights broke (assumed)."
    )
    snapshot_every_steps: int = Field(default=100, ge=1, description="Steps between the states to rewind to (assumed).")
    rewinds: int = Field(default=3, ge=0, description="Rewinds after which the run stops with a sentence (assumed).")
