"""The choices of a run's schedule and optimiser, with their defaults and sources. No heavy import.

What each optimiser computes stands in `stages.train.optimisers`; which one wins where, in docs/optimisers.md.
"""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from aether.spec.base import Extended, Noun
from aether.spec.errors import InputError

WeightKind = Literal["embedding", "matrices", "routers", "gains", "biases"]
"""Tables of vectors, matrices of the blocks, matrices that choose experts, gains of norms, and all that is neither (biases, DyT's
scales, sinks, kernels of convolutions)."""
DEFAULT_LR = {"adamw": 0.003, "lion": 0.0003, "adafactor": 0.03, "soap": 0.003, "schedule_free": 0.003}
"""Peak rate of a kind where the recipe names none (assumed)."""


class Schedule(Noun):
    """The learning rate as a share of its peak, over the run."""

    kind: Literal["wsd", "linear", "cosine", "inverse_sqrt"] = Field(
        default="wsd",
        description="Warm-up, stable, decay (MiniCPM, arXiv 2404.06395); or right after the warm-up a line to the end, half a cosine "
        "(SGDR, arXiv 1608.03983, without restarts), or 1 / sqrt(step) (Transformer, arXiv 1706.03762, section 5.3).",
    )
    warmup_fraction: float = Field(
        default=0.02, ge=0, le=0.5, description="Share of the steps that rise from zero (assumed; Muon needs little)."
    )
    decay_fraction: float = Field(
        default=0.6,
        ge=0,
        le=1,
        description="wsd: share of the steps that fall (0.2 to 0.7 are near in modded-nanogpt).",
    )
    final_fraction: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Where the fall ends (Bergsma et al., arXiv 2502.15938: to zero); inverse_sqrt has no end.",
    )

    @model_validator(mode="after")
    def _fits(self) -> "Schedule":
        if self.kind == "wsd" and self.warmup_fraction + self.decay_fraction > 1:
            raise InputError.of("schedule.decay_fraction", self.decay_fraction, "warm-up and decay must fit in the run")
        if self.kind == "inverse_sqrt" and self.final_fraction:
            mend = "inverse_sqrt falls as 1 / sqrt(step) and ends nowhere; set it to 0"
            raise InputError.of("schedule.final_fraction", self.final_fraction, mend)
        return self


class WeightGroup(Noun):
    """Weights with a rate or a decay of their own: those of a kind, those whose name matches, or those that are both."""

    kind: WeightKind | None = Field(default=None, description="Kind of weight.")
    pattern: str | None = Field(default=None, description="Of the weight's name, as for files: blocks.0.*, *.down.")
    lr: float | None = Field(default=None, ge=0, le=10, description="Peak rate; None: as without the group.")
    weight_decay: float | None = Field(default=None, ge=0, description="Decoupled; None: as without the group.")

    @model_validator(mode="after")
    def _says_something(self) -> "WeightGroup":
        if self.kind is None and self.pattern is None:
            raise InputError.of("optimiser.groups", self.model_dump(), "say which weights: set kind or pattern")
        if self.lr is None and self.weight_decay is None:
            raise InputError.of("optimiser.groups", self.model_dump(), "say what they get: set lr or weight_decay")
        return self


class Optimiser(Extended):
    """By default Muon for the blocks' matrices and AdamW for the rest. A field named after a kind is read by that kind alone."""

    added: ClassVar[frozenset[str]] = frozenset(
        {"kind", "lr", "weight_decay", "lion_beta2", "soap_every_steps", "groups", "base_width"}
    )

    kind: Literal["muon", "adamw", "lion", "adafactor", "soap", "schedule_free"] = Field(
        default="muon",
        description="Muon, or SOAP (arXiv 2409.11321), for the blocks' matrices with AdamW for the rest; or one rule for all: AdamW "
        "(arXiv 1711.05101), Lion (arXiv 2302.06675), Adafactor (arXiv 1804.04235), schedule-free AdamW (arXiv 2405.15682), which "
        "averages where others decay: of the schedule it takes the warm-up.",
    )
    lr: float | None = Field(
        default=None,
        gt=0,
        le=10,
        description="Peak rate of every kind but muon; None: the kind's default (DEFAULT_LR).",
    )
    weight_decay: float = Field(
        default=0.0, ge=0, description="Decoupled, of matrices, routers and embedding, for every kind but muon."
    )
    lion_beta2: float = Field(default=0.99, ge=0, lt=1, description="Lion's momentum (arXiv 2302.06675: 0.99).")
    soap_every_steps: int = Field(
        default=10, ge=1, description="Updates between SOAP's new bases (arXiv 2409.11321: 10)."
    )
    groups: tuple[WeightGroup, ...] = Field(
        default=(), description="Rates and decays of their own; a weight takes from the first group that matches it."
    )
    base_width: int | None = Field(
        default=None,
        gt=0,
        description="hidden_size at which the rates were tuned: they are carried to this model's (muP, arXiv 2203.03466, table 8); heads stay "
        "of one size, and every other size grows with it.",
    )
    muon_lr: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Times sqrt(max(1, rows / columns)). Measured here: 0.01 to 0.02 best on code (246k tokens, batches of "
        "2048), 0.035 to 0.05 on single characters (540k tokens, batches of 1536).",
    )
    muon_momentum: float = Field(
        default=0.9, ge=0, lt=1, description="Nesterov. Measured here: 0.04 nats better than 0.95 in runs of 350 steps."
    )
    muon_momentum_start: float = Field(
        default=0.8, ge=0, lt=1, description="Where the momentum's warm-up begins (measured here with the value above)."
    )
    muon_momentum_warmup_fraction: float = Field(
        default=0.15, ge=0, le=1, description="Share of the steps in which the momentum rises (modded-nanogpt: 300)."
    )
    muon_weight_decay: float = Field(
        default=0.0, ge=0, description="Decoupled. Short runs see few epochs and gain nothing (assumed)."
    )
    newton_schulz: Literal["polar-express", "quintic"] = Field(
        default="polar-express",
        description="Polynomials: Polar Express (Amsel et al., arXiv 2505.16932), or torch.optim.Muon's fixed one.",
    )
    newton_schulz_steps: int = Field(default=5, ge=1, le=7, description="Both papers use 5.")
    embedding_lr: float = Field(
        default=0.03,
        ge=0,
        le=1,
        description="AdamW's rate for the tied embedding (measured here: 0.01 to 0.03 are near).",
    )
    gain_lr: float = Field(default=0.03, ge=0, le=1, description="AdamW's rate for the norms' gains.")
    learn_block_gains: bool = Field(
        default=False, description="The gains before and within the blocks stay at 1: faster, no loss measured here."
    )
    beta1: float = Field(default=0.9, ge=0, lt=1, description="AdamW (arXiv 1711.05101), as GPT-3 (arXiv 2005.14165).")
    beta2: float = Field(default=0.95, ge=0, lt=1, description="AdamW, as GPT-3 (arXiv 2005.14165), appendix B.")
    epsilon: float = Field(default=1e-8, gt=0, description="AdamW, as in its paper.")
    embedding_weight_decay: float = Field(default=0.0, ge=0, description="Decoupled; gains never decay.")
    clip_norm: float = Field(default=1.0, gt=0, description="Global gradient norm, as GPT-3 (arXiv 2005.14165).")

    @model_validator(mode="after")
    def _fits(self) -> "Optimiser":
        if self.kind == "muon":
            if self.lr is not None:
                mend = "muon has muon_lr, embedding_lr and gain_lr; set those, or another kind"
                raise InputError.of("optimiser.lr", self.lr, mend)
            if self.weight_decay:
                mend = "muon has muon_weight_decay and embedding_weight_decay; set those, or another kind"
                raise InputError.of("optimiser.weight_decay", self.weight_decay, mend)
        if self.kind == "schedule_free" and self.beta1 == 0:
            raise InputError.of("optimiser.beta1", 0.0, "schedule_free finds its average by dividing by it; above 0")
        return self

    @property
    def matrix_lr(self) -> float:
        """The peak rate of the blocks' matrices, before groups and base_width."""
        if self.kind == "muon":
            return self.muon_lr
        return self.lr if self.lr is not None else DEFAULT_LR[self.kind]

    @property
    def lr_field(self) -> str:
        """The field that sets `matrix_lr`."""
        return "muon_lr" if self.kind == "muon" else "lr"
