"""Every choice of a training run, with its default and where the default comes from. No heavy import.

Does not choose sizes or learning rates for a machine: the planner does, by writing one of these.
"""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from aether.models.config import DecoderConfig
from aether.models.config_parts import refuse_uncompiled
from aether.spec.base import Extended, Noun
from aether.spec.errors import InputError
from aether.stages.train.parallel.recipe import Parallel, check_batch, check_model
from aether.stages.train.recipe_watch import Clipping, LossScale, Spikes, Watch


class Schedule(Noun):
    """The learning rate as a share of its peak, over the run."""

    kind: Literal["wsd", "linear"] = Field(
        default="wsd",
        description="Warm-up, stable, decay (MiniCPM, arXiv 2404.06395), or a line to the end right after the warm-up.",
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
        default=0.0, ge=0, le=1, description="Where the fall ends (Bergsma et al., arXiv 2502.15938: to zero)."
    )

    @model_validator(mode="after")
    def _fits(self) -> "Schedule":
        if self.kind == "wsd" and self.warmup_fraction + self.decay_fraction > 1:
            raise InputError.of("schedule.decay_fraction", self.decay_fraction, "warm-up and decay must fit in the run")
        return self


class Optimiser(Noun):
    """Muon for the blocks' matrices, AdamW for the embedding and the gains."""

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


class Initial(Noun):
    """The first weights: normal, with these standard deviations."""

    embedding_std: float = Field(
        default=0.02, gt=0, description="GPT-2's. Measured here, 246k tokens of code: 5.21 nats against 5.32 with 0.5."
    )
    final_gain: float = Field(default=1.0, gt=0, description="The last norm's first gain; 0.15 goes with a std of 0.5.")
    matrix_scale: float = Field(default=0.5, gt=0, description="Times 1 / sqrt(fan-in) (modded-nanogpt: 0.5).")
    zero_out: bool = Field(
        default=True, description="Matrices that write to the stream start at zero (Zhao et al., arXiv 2110.12661)."
    )


class RampStage(Noun):
    """A stretch of smaller batches at the start; every learning rate is scaled by sqrt(batch / batch_sequences)."""

    steps_fraction: float = Field(gt=0, lt=1, description="Share of the steps that this stage takes.")
    sequences: int = Field(ge=1, description="Windows per update in this stage.")


class TrainRecipe(Extended):
    """One training run. Its tokens are steps x batch_sequences x context, fixed before it starts."""

    added: ClassVar[frozenset[str]] = frozenset(
        {
            "parallel",
            "start",
            "start_sha256",
            "start_optimiser",
            "keep_optimiser",
            "clipping",
            "loss_scale",
            "z_loss",
            "watch",
            "profile_steps",
        }
    )
    circumstance: ClassVar[frozenset[str]] = frozenset({"start"})

    model: DecoderConfig
    steps: int = Field(ge=1, description="Updates; the planner fixes them from the budget.")
    batch_sequences: int = Field(default=16, ge=1, description="Windows per update (its largest, with a ramp).")
    ramp: tuple[RampStage, ...] = Field(
        default=(),
        description="Smaller batches first: about 0.02 nats better at equal compute (measured here), off by default.",
    )
    micro_batch_sequences: int | None = Field(
        default=None, ge=1, description="Windows per forward pass, for memory; None: the whole batch. Must divide it."
    )
    schedule: Schedule = Schedule()
    optimiser: Optimiser = Optimiser()
    initial: Initial = Initial()
    spikes: Spikes = Spikes()
    clipping: Clipping = Clipping()
    z_loss: float = Field(
        default=0.0,
        ge=0,
        description="Times the squared log of the softmax's sum, per token (PaLM, arXiv 2204.02311: 1e-4).",
    )
    precision: Literal["bfloat16", "float32", "float16"] = Field(
        default="bfloat16",
        description="Of activations and products; weights and optimiser state are float32 (Micikevicius, arXiv 1710.03740). "
        "float16 needs loss_scale.",
    )
    watch: Watch = Watch()
    profile_steps: tuple[int, int] | None = Field(
        default=None,
        description="First and last update, from one, that a profiler's trace is written of; None: no trace.",
    )
    loss_scale: LossScale | None = Field(default=None, description="Of float16, and of nothing else.")
    compile: Literal["off", "blocks"] = Field(
        default="off",
        description="Blocks through torch.compile in the updates: faster steps after seconds of compiling, other rounding. "
        "The planner chooses it for runs that are long enough.",
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="One processor or one GPU.")
    checkpoint_every_s: float = Field(default=20.0, gt=0, description="Wall time; no result depends on it (assumed).")
    validation_bytes: int = Field(
        default=100_000, ge=1, description="About this much of the validation split is scored at the end (assumed)."
    )
    parallel: Parallel = Field(default=Parallel(), description="The grid of processes; by default one.")
    start: str | None = Field(
        default=None,
        description="A model folder to go on from; None: the step's input `start`, and without one the seed's weights.",
    )
    start_sha256: str = Field(default="", description="Its content, from `estimate.pin`: other weights, another run.")
    start_optimiser: Literal["fresh", "carried"] = Field(
        default="fresh",
        description="State of the optimiser: zero under a schedule that warms up again (Ibrahim et al., arXiv 2403.08763), or that "
        "of the start, which was trained with keep_optimiser.",
    )
    keep_optimiser: bool = Field(
        default=False, description="Leave model/optimiser.safetensors for a run that carries on."
    )
    peak_flops_per_s: float | None = Field(
        default=None, gt=0, description="The machine's measured matrix rate; utilisation is told when it is known."
    )

    @model_validator(mode="after")
    def _scaled_where_half(self) -> "TrainRecipe":
        half = self.precision == "float16"
        if half and self.loss_scale is None:
            mend = "without loss scaling it loses small gradients; set loss_scale = {}, or use bfloat16"
            raise InputError.of("precision", self.precision, mend)
        if not half and self.loss_scale is not None:
            raise InputError.of("loss_scale", self.loss_scale.initial, "only float16 needs one; leave it out")
        if half and (self.compile != "off" or self.parallel.processes > 1):
            raise InputError.of("precision", self.precision, "one process with plain blocks trains in it; use bfloat16")
        if self.parallel.processes > 1 and self.clipping.kind in ("group", "agc"):
            raise InputError.of("clipping.kind", self.clipping.kind, "one process can; use norm, value or zclip")
        return self

    @model_validator(mode="after")
    def _profile_fits(self) -> "TrainRecipe":
        if self.profile_steps is not None and not 1 <= self.profile_steps[0] <= self.profile_steps[1] <= self.steps:
            mend = f"first and last update, between 1 and steps = {self.steps}"
            raise InputError.of("profile_steps", self.profile_steps, mend)
        return self

    @model_validator(mode="after")
    def _parts_can_be_trained(self) -> "TrainRecipe":
        if self.compile != "off":
            refuse_uncompiled(self.model, self.compile)
        if self.initial.zero_out and self.model.norm_place != "pre":
            mend = f'under norm_place = "{self.model.norm_place}" a zero output has a gradient of 1 / sqrt(norm_eps); set it to false'
            raise InputError.of("initial.zero_out", True, mend)
        return self

    @model_validator(mode="after")
    def _parallel_fits(self) -> "TrainRecipe":
        check_model(self.parallel, self.model)
        for sequences in (self.batch_sequences, *(stage.sequences for stage in self.ramp)):
            check_batch(self.parallel, sequences, self.micro_batch_sequences)
        if self.parallel.processes > 1 and self.compile != "off":
            raise InputError.of("compile", self.compile, 'several processes run plain blocks; set compile = "off"')
        if self.parallel.processes > 1 and (self.keep_optimiser or self.start_optimiser == "carried"):
            mend = "the optimiser's state is kept and carried by one process; use a fresh one, or one process"
            raise InputError.of("parallel.processes", self.parallel.processes, mend)
        return self

    @model_validator(mode="after")
    def _fits(self) -> "TrainRecipe":
        if sum(stage.steps_fraction for stage in self.ramp) > 1:
            raise InputError.of(
                "ramp", [s.steps_fraction for s in self.ramp], "the stages' shares must add up to 1 at most"
            )
        for stage in self.ramp:
            if stage.sequences > self.batch_sequences:
                raise InputError.of(
                    "ramp.sequences", stage.sequences, f"at most batch_sequences = {self.batch_sequences}"
                )
        micro = self.micro_batch_sequences
        for sequences in (self.batch_sequences, *(stage.sequences for stage in self.ramp)):
            if sequences % (micro or sequences):
                raise InputError.of("micro_batch_sequences", micro, f"it must divide every batch, also {sequences}")
        return self

    def stages(self) -> tuple[tuple[int, int], ...]:
        """(first step after the stage, windows per update) of each stretch of one batch size, to the last step."""
        found, end, share = [], 0, 0.0
        for stage in self.ramp:
            share += stage.steps_fraction
            if (until := round(share * self.steps)) > end:
                found.append((until, stage.sequences))
                end = until
        return (*found, (self.steps, self.batch_sequences)) if end < self.steps else tuple(found)

    def sequences_at(self, step: int) -> int:
        """Windows of update `step` (0 .. steps - 1)."""
        return next(sequences for until, sequences in self.stages() if step < until)

    def tokens_until(self, step: int) -> int:
        """Tokens of the first `step` updates."""
        total, begin = 0, 0
        for until, sequences in self.stages():
            total += (min(step, until) - begin) * sequences if step > begin else 0
            begin = until
        return total * self.model.context_tokens

    def batch_tokens(self) -> int:
        """Tokens of the largest update."""
        return self.batch_sequences * self.model.context_tokens

    def tokens(self) -> int:
        """Tokens of the whole run."""
        return self.tokens_until(self.steps)
