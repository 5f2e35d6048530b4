"""Every choice of a training run, with its default and where the default comes from. No heavy import.

Does not choose sizes or learning rates for a machine: the planner does, by writing one of these.
"""

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from aether.models.config import DecoderConfig
from aether.models.config_parts import refuse_uncompiled
from aether.spec.base import Extended, Noun
from aether.spec.errors import InputError
from aether.stages.train.parallel.recipe import Parallel as Parallel
from aether.stages.train.parallel.recipe import check_batch, check_model
from aether.stages.train.recipe_data import Mixture as Mixture
from aether.stages.train.recipe_optimiser import Optimiser as Optimiser
from aether.stages.train.recipe_optimiser import Schedule as Schedule
from aether.stages.train.recipe_watch import Clipping as Clipping
from aether.stages.train.recipe_watch import LossScale as LossScale
from aether.stages.train.recipe_watch import Spikes as Spikes
from aether.stages.train.recipe_watch import Watch as Watch

_FLOAT8 = frozenset({"fp8", "mxfp8", "float8", "float8_e4m3fn", "float8_e5m2"})
_FLOAT16 = frozenset({"fp16", "half"})


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
            "mixture",
            "clipping",
            "loss_scale",
            "z_loss",
            "watch",
            "profile_steps",
            "texts",
            "texts_sha256",
            "workers",
        }
    )
    circumstance: ClassVar[frozenset[str]] = frozenset({"start", "texts", "workers"})

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
    mixture: Mixture = Field(
        default=Mixture(), description="Corpora by weights, and a curriculum; by default `data` alone."
    )
    texts: str | dict[str, str] | None = Field(
        default=None,
        description='A .jsonl file with {"text": ...} on each line, tokenised while it trains with the tokenizer of `data`, in place of its '
        "training split; with a mixture, files by the names of its sources.",
    )
    texts_sha256: str | dict[str, str] = Field(default="", description="Their content, from `estimate.pin`.")
    workers: int = Field(
        default=1,
        ge=0,
        description="Processes that tokenise texts ahead of the updates; windows are the same with any number.",
    )
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

    @field_validator("precision", mode="before")
    @classmethod
    def _is_trained_in(cls, raw: object) -> object:
        if str(raw) in _FLOAT8:
            mend = "training in float8 was never run here, for want of a GPU that multiplies in it, so Aether has none; use bfloat16"
            raise InputError.of("precision", raw, mend)
        if str(raw) in _FLOAT16:
            raise InputError.of("precision", raw, 'it is named float16 and needs loss_scale = {}; or use "bfloat16"')
        return raw

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
        kind = self.optimiser.kind
        if kind == "schedule_free" and (self.keep_optimiser or self.start_optimiser == "carried"):
            mend = "the exported weights are its average, which its state does not go with; start afresh, or take another kind"
            raise InputError.of("optimiser.kind", kind, mend)
        if self.parallel.processes > 1 and kind not in ("muon", "adamw"):
            raise InputError.of("optimiser.kind", kind, "several processes share out muon and adamw; use one of those")
        return self

    @model_validator(mode="after")
    def _texts_fit(self) -> "TrainRecipe":
        if self.texts is None:
            return self
        names = [source.input for source in self.mixture.sources]
        if isinstance(self.texts, str) == bool(names):
            mend = (
                f"give a file for some of the sources {', '.join(names)}"
                if names
                else "without a mixture give one file"
            )
            raise InputError.of("texts", self.texts, mend)
        unknown = sorted(self.texts_by_source().keys() - set(names or [""]))
        if unknown:
            raise InputError.of("texts", unknown[0], f"no source of the mixture has that name: {', '.join(names)}")
        return self

    def texts_by_source(self) -> dict[str, str]:
        """The files that are tokenised meanwhile, by source; one that is read alone has no name."""
        return {"": self.texts} if isinstance(self.texts, str) else self.texts or {}

    @model_validator(mode="after")
    def _mixture_fits(self) -> "TrainRecipe":
        for phase in self.mixture.phases:
            tokens = phase.context_tokens
            if tokens is not None and self.model.context_tokens % tokens:
                mend = f"it must divide the model's context_tokens = {self.model.context_tokens}"
                raise InputError.of("mixture.phases.context_tokens", tokens, mend)
            if tokens is not None and (
                self.compile != "off" or self.parallel.context > 1 or self.parallel.pipeline > 1
            ):
                mend = 'compiled blocks, pipelines and context parallelism take windows of one length; set compile = "off", parallel.context = 1 and parallel.pipeline = 1'
                raise InputError.of("mixture.phases.context_tokens", tokens, mend)
        return self

    def context_at(self, step: int) -> int:
        """Tokens of the windows that update `step` reads."""
        return self.mixture.context_at(step, self.steps, self.model.context_tokens)

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
