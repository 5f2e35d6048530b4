"""Every choice of the serve stage: how the server batches, what it refuses, the traffic that judges it. No torch."""

from typing import Literal

from pydantic import Field, model_validator

from aether.spec.base import Noun
from aether.spec.brief import Load, Target
from aether.spec.errors import InputError
from aether.stages.serve.guard.settings import GuardSettings

Precision = Literal["auto", "float32", "bfloat16", "float16"]
EngineName = Literal["auto", "packed", "llama.cpp"]

TRIAL_OPEN_S = 0.8
"""Arrivals of one candidate's trial. Assumed: 16 requests of the demo's load."""
TRIAL_CLOSED_S = 0.6
"""The closed loop of one candidate's trial. Assumed."""
TRIAL_LONGEST_S = 3.0
"""A trial's request that takes longer counts as failed. Assumed."""


class EngineRecipe(Noun):
    """How requests share one model, and what computes it."""

    engine: EngineName = Field(
        default="auto",
        description="packed: our own decoder; llama.cpp: through xllamacpp. auto: the serve stage measures both and "
        "records the better one; a server that is told nothing takes packed.",
    )
    slots: int = Field(
        default=32, ge=1, le=1024, description="Requests decoded together, each with a cache row (assumed; see docs)."
    )
    max_queue: int = Field(
        default=64, ge=0, description="Requests that may wait for a slot; the next one is answered 429 (assumed)."
    )
    chunk_tokens: int = Field(
        default=128,
        ge=8,
        description="Most prompt tokens in a step that also decodes: bounds how long a prompt delays the others' next "
        "token (Sarathi-Serve, arXiv 2403.02310, section 4.2). Its size is measured: benchmarks/records/serving-*.md. "
        "Our own engine reads so many times more as requests wait for each one that decodes.",
    )
    dtype: Precision = Field(
        default="auto",
        description="Arithmetic of weights and cache. auto: the serve stage measures the types too; a server that is "
        "told nothing takes bfloat16 for packed where the processor multiplies it natively, else float32, and float16 for "
        "llama.cpp, which alone has it.",
    )

    @model_validator(mode="after")
    def _can_compute(self) -> "EngineRecipe":
        if self.engine == "packed" and self.dtype == "float16":
            raise InputError.of("engine.dtype", self.dtype, "packed computes in float32 or bfloat16")
        return self


class ServerSettings(Noun):
    """A server's circumstances: where it listens and how patient it is."""

    engine: EngineRecipe = EngineRecipe()
    host: str = Field(
        default="127.0.0.1",
        description="This machine alone, unless told otherwise: without `guard.keys` there is no login.",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="0 picks a free one.")
    model_name: str | None = Field(default=None, min_length=1, description="As clients name it; default: the folder's.")
    threads: int = Field(default=1, ge=1, description="Processor threads of the model's arithmetic.")
    max_body_bytes: int = Field(default=1_000_000, ge=1024, description="A larger request is answered 413 (assumed).")
    request_timeout_s: float = Field(default=120.0, gt=0, description="A slower request is stopped (assumed).")
    guard: GuardSettings = GuardSettings()
    drain_s: float = Field(default=20.0, ge=0, description="How long running requests may finish after SIGTERM.")


class Saturation(Noun):
    """The closed-loop phase: each client sends its next request when the last one is answered."""

    clients: int = Field(
        default=16, ge=1, le=512, description="Enough to keep a small machine's server busy (assumed)."
    )
    seconds: float = Field(default=6.0, gt=0, description="How long it is measured, after the clients are all started.")


class ServeRecipe(Noun):
    """The serve stage: a server for the model, and the traffic that it is measured under."""

    engine: EngineRecipe = EngineRecipe()
    load: Load = Field(default=Load(), description="Open-loop Poisson arrivals: the brief's own traffic.")
    saturation: Saturation = Saturation()
    targets: tuple[Target, ...] = Field(
        default=(), description="The brief's targets that this stage measures: an engine that meets more goes first."
    )
    warmup_requests: int = Field(
        default=4, ge=1, description="Answered and not counted: first calls allocate (assumed)."
    )
    level: float = Field(default=0.95, gt=0, lt=1, description="Level of every interval.")
    split: Literal["validation", "test", "ood"] = Field(default="test", description="Whose text the prompts come from.")
    stop_at_end: bool = Field(
        default=False,
        description="Whether a request may end early at the end-of-text token. False: every request is the same work.",
    )
