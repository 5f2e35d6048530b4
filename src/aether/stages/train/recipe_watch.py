"""The choices that keep a training run healthy and say how it goes: parts of `TrainRecipe`. No heavy import."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from aether.knowledge.training_alerts import alert_rules
from aether.spec.base import Extended, Noun
from aether.spec.errors import InputError


class Spikes(Extended):
    """When a step is not believed, and the ladder: skip it, cut the learning rates, rewind and pass over the data, stop."""

    added: ClassVar = frozenset({"skips_before_cut", "cut_factor", "recover_steps", "least_rate_share"})

    sigmas: float = Field(
        default=6.0,
        gt=0,
        description="Spreads (1.4826 median absolute deviations) above the median, of losses and of the norms' logarithms; chosen by "
        "measurement (LOG.md, benchmarks/spikes.py).",
    )
    window_steps: int = Field(default=128, ge=8, description="OLMo-core's SkipStepOptimizer: the last 128 steps.")
    skips_before_cut: int = Field(
        default=4,
        ge=1,
        description="Skips among the last window_steps that cut every learning rate: more than healthy runs have (benchmarks/spikes.py).",
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


class Clipping(Noun):
    """What bounds a gradient before the update. The spike guard judges the norm before it."""

    kind: Literal["norm", "group", "value", "agc", "zclip", "off"] = Field(
        default="norm",
        description="Global norm (arXiv 1211.5063); the norm of each layer apart; every entry; adaptive by unit (AGC, "
        "arXiv 2102.06171); by the norm's own history (ZClip, arXiv 2504.02507); or nothing. optimiser.clip_norm is the bound of norm, "
        "group and zclip.",
    )
    value: float = Field(default=0.01, gt=0, description="value: largest absolute entry (assumed).")
    ratio: float = Field(
        default=0.01, gt=0, description="agc: a row's gradient norm over its weight norm (its section 4: 0.01 to 0.16)."
    )
    z_threshold: float = Field(
        default=2.5, gt=0, description="zclip: standard deviations above the mean (its table 1)."
    )
    smoothing: float = Field(default=0.97, gt=0, lt=1, description="zclip: weight of the past (its section 3).")


class LossScale(Noun):
    """Dynamic loss scaling (Micikevicius, arXiv 1710.03740, section 3.2), by the rule and defaults of torch.amp.GradScaler."""

    initial: float = Field(default=65536.0, ge=1, description="The first scale.")
    growth_factor: float = Field(default=2.0, gt=1, description="What growth_steps good updates multiply it by.")
    backoff_factor: float = Field(default=0.5, gt=0, lt=1, description="What an overflow multiplies it by.")
    growth_steps: int = Field(default=2000, ge=1, description="Updates in a row without overflow.")


class Watch(Noun):
    """What is looked at while it trains. Nothing of it changes a weight."""

    cost_share: float = Field(
        default=0.02, ge=0, le=1, description="Share of the updates' time for looks into the layers; 0: none (assumed)."
    )
    thresholds: dict[str, float] = Field(
        default={},
        description="By an alert's key, the threshold in place of the one in knowledge/training_alerts.toml.",
    )

    @field_validator("thresholds")
    @classmethod
    def _known(cls, given: dict[str, float]) -> dict[str, float]:
        known = tuple(rule.key for rule in alert_rules())
        for key in given:
            if key not in known:
                raise InputError.of("watch.thresholds", key, f"no such alert; one of {', '.join(known)}")
        return given
