"""How many processes train, and what each kind of parallelism shares out among them. No heavy import.

The product of the six sizes is the number of processes. What a layout cannot do is refused here in one sentence, before anything
is started. Does not choose a layout.
"""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from aether.models.config import DecoderConfig
from aether.models.config_parts import DecoderParts
from aether.spec.base import Noun
from aether.spec.errors import InputError


class Parallel(Noun):
    """The grid of processes, outermost first: pipeline, replicate, expert, shard, context, tensor."""

    pipeline: int = Field(default=1, ge=1, description="Stages of consecutive layers, 1F1B (arXiv 1806.03377).")
    replicate: int = Field(default=1, ge=1, description="Copies of the sharded model (HSDP): other windows each.")
    expert: int = Field(default=1, ge=1, description="Groups among which a mixture's experts are shared out.")
    shard: int = Field(
        default=1, ge=1, description="Processes that hold a piece of every weight (FSDP2): other windows each."
    )
    context: int = Field(default=1, ge=1, description="Processes among which each window's tokens are shared out.")
    tensor: int = Field(
        default=1, ge=1, description="Processes among which heads and MLP columns are shared out (arXiv 1909.08053), the tokens "
        "between them (sequence parallel, arXiv 2205.05198)."
    )  # fmt: skip
    attention: Literal["ring", "ulysses"] = Field(
        default="ring",
        description="With context: keys go round (Ring Attention, arXiv 2310.01889, in zig-zag order), or heads and tokens change "
        "places (DeepSpeed Ulysses, arXiv 2309.14509).",
    )
    restarts: int = Field(default=2, ge=0, description="Times that a job with a lost process starts again (assumed).")

    elastic: bool = Field(
        default=False,
        description="With another number of processes than the sizes make, as after a loss that nobody replaces: share out windows and weights "
        "among those that are there, with the other axes as they are.",
    )

    @property
    def processes(self) -> int:
        """How many processes the layout takes."""
        return self.pipeline * self.replicate * self.expert * self.shard * self.context * self.tensor

    @property
    def readers(self) -> int:
        """Into how many shares a batch's windows are split."""
        return self.replicate * self.expert * self.shard


def check_model(parallel: Parallel, model: DecoderConfig) -> None:
    """Raise InputError where the layout does not fit the model."""
    for name in ("heads", "kv_heads", "mlp_size"):
        _divides(parallel, "tensor", f"model.{name}", getattr(model, name))
    _divides(parallel, "pipeline", "model.layers", model.layers)
    context, tensor = parallel.context, parallel.tensor
    pieces = context * tensor * (2 if context > 1 and parallel.attention == "ring" else 1)
    if model.context_tokens % pieces:
        mend = f"context x tensor cut it into {pieces} pieces; use a multiple"
        raise InputError.of("model.context_tokens", model.context_tokens, mend)
    if parallel.attention == "ulysses":
        for name in ("heads", "kv_heads"):
            if getattr(model, name) % (tensor * context):
                mend = f"model.{name} = {getattr(model, name)} must be a multiple of tensor x context for ulysses; use ring"
                raise InputError.of("parallel.context", context, mend)
    count = 1 if model.experts is None else model.experts.count
    if count % parallel.expert:
        mend = (
            "the model has no experts; use shard"
            if model.experts is None
            else f"it must divide experts.count = {count}"
        )
        raise InputError.of("parallel.expert", parallel.expert, mend)
    if parallel.processes > 1 and model.experts is not None and model.experts.router == "expert_choice":
        mend = "experts that choose tokens choose among those of one process"
        raise InputError.of("parallel.shard", parallel.shard, mend)
    if parallel.processes > 1 and model.experts is not None and model.experts.capacity_factor is not None:
        mend = "a capacity is of the tokens of one process; leave it out"
        raise InputError.of("model.experts.capacity_factor", model.experts.capacity_factor, mend)
    if parallel.expert > 1 and model.bias:
        raise InputError.of("parallel.expert", parallel.expert, "experts with biases are not shared out; use shard")
    for axis, allowed in _PARTS_THAT_FIT.items():
        if getattr(parallel, axis) > 1:
            _refuse_other_parts(axis, getattr(parallel, axis), model, allowed)


_BY_TOKENS = {
    "positions",
    "rope_fraction",
    "rope_scaling",
    "norm",
    "norm_place",
    "qk_norm",
    "activation",
    "scale_embedding",
}
_RECURRENT = {"mixer", "mixer_pattern", "recurrence"}
_PARTS_THAT_FIT = {"tensor": _BY_TOKENS, "context": _BY_TOKENS | {"experts"} | _RECURRENT, "pipeline": set()}
"""Parts that may be exchanged under each axis; every other one is refused."""
_BUT_NOT = {("tensor", "positions", "alibi"), ("context", "positions", "alibi"), ("tensor", "qk_norm", "full")}
"""ALiBi's slopes and norms over a whole projection are of all heads."""


def _refuse_other_parts(axis: str, size: int, model: DecoderParts, allowed: set[str]) -> None:
    for name, value in model.exchanged():
        if name not in allowed or (axis, name, str(value)) in _BUT_NOT:
            shown = value.model_dump() if isinstance(value, Noun) else value
            raise InputError.of(f"parallel.{axis}", size, f"model.{name} = {shown} is not cut that way; use shard")


def _divides(parallel: Parallel, axis: str, name: str, value: int) -> None:
    size = getattr(parallel, axis)
    if value % size:
        raise InputError.of(f"parallel.{axis}", size, f"it must divide {name} = {value}")


def share(windows: int, shares: int, place: int) -> range:
    """The windows of share `place` of so many as even shares: of one of 8 among 3, two or three."""
    return range(windows * place // shares, windows * (place + 1) // shares)


def passes(sequences: int, readers: int, micro: int | None) -> int:
    """Into how many passes every process cuts its share of a batch: so few as hold the largest share, `micro` windows at most in each."""
    largest = -(-sequences // readers)
    return -(-largest // (micro or largest))


def largest_pass(sequences: int, readers: int, micro: int | None) -> int:
    """The most windows that a process has in a pass."""
    return -(-sequences // (readers * passes(sequences, readers, micro)))


def check_batch(parallel: Parallel, sequences: int, micro: int | None) -> None:
    """Raise InputError where a batch of `sequences` windows, `micro` per pass, cannot be shared out."""
    readers, least = parallel.readers, sequences // parallel.readers
    if not least:
        mend = f"replicate x expert x shard = {readers} processes need a window each"
        raise InputError.of("batch_sequences", sequences, mend)
    count = passes(sequences, readers, micro)
    if least < count:
        mend = f"of {sequences} windows over {readers} processes some would have none in a pass; use 2"
        raise InputError.of("micro_batch_sequences", micro, mend)
    if parallel.pipeline == 1:
        return
    if sequences % (readers * count):
        mend = f"passes of a pipeline are of one size, and {readers} shares of {count} passes must divide every batch"
        raise InputError.of("batch_sequences", sequences, mend)
    if count < parallel.pipeline:
        mend = f"a pipeline of {parallel.pipeline} stages needs as many passes per update; the {least} windows make {count}"
        raise InputError.of("micro_batch_sequences", micro, mend)


def fitted(parallel: Parallel, world: int, batches: Iterable[int], micro: int | None) -> Parallel:
    """The layout over `world` processes: itself, or an elastic one with so many shards that the product is `world`.

    Raises InputError where the axes that stay do not divide `world`, or there are more shards than windows.
    """
    if parallel.processes == world or not parallel.elastic:
        return parallel
    kept = parallel.model_copy(update={"replicate": 1, "shard": 1})
    if world % kept.processes:
        mend = (
            f"{world} processes are left, and pipeline x expert x context x tensor = {kept.processes} must divide them"
        )
        raise InputError.of("parallel.elastic", True, mend)
    found = kept.model_copy(update={"shard": world // kept.processes})
    for sequences in batches:
        check_batch(found, sequences, micro)
    return found


def check_world(parallel: Parallel, world: int) -> None:
    """Raise InputError unless `world` processes are what the layout takes."""
    if parallel.processes != world:
        mend = f"torchrun started {world}; start as many as the product of the sizes"
        raise InputError.of("parallel", parallel.processes, mend)
