"""Every choice of the serve stage: how the server batches, what it refuses, the traffic that judges it. No torch."""

from typing import Literal

from pydantic import Field

from aether.spec.base import Noun
from aether.spec.brief import Load

Precision = Literal["auto", "float32", "bfloat16"]


class EngineRecipe(Noun):
    """How requests share one model."""

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
        "token (Sarathi-Serve, arXiv 2403.02310, section 4.2). Its size is measured: benchmarks/records/serving-*.md.",
    )
    dtype: Precision = Field(
        default="auto",
        description="Arithmetic of weights and cache. auto: bfloat16 where the processor multiplies it natively "
        "(2 to 3 times the speed of float32 there from 8 rows on, benchmarks/records/serving-*.md), else float32.",
    )


class ServerSettings(Noun):
    """A server's circumstances: where it listens and how patient it is."""

    engine: EngineRecipe = EngineRecipe()
    host: str = Field(default="127.0.0.1", description="This machine alone, unless told otherwise: there is no login.")
    port: int = Field(default=8000, ge=0, le=65535, description="0 picks a free one.")
    model_name: str | None = Field(default=None, min_length=1, description="As clients name it; default: the folder's.")
    threads: int = Field(default=1, ge=1, description="Processor threads of the model's arithmetic.")
    max_body_bytes: int = Field(default=1_000_000, ge=1024, description="A larger request is answered 413 (assumed).")
    request_timeout_s: float = Field(default=120.0, gt=0, description="A slower request is stopped (assumed).")
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
    warmup_requests: int = Field(
        default=4, ge=1, description="Answered and not counted: first calls allocate (assumed)."
    )
    level: float = Field(default=0.95, gt=0, lt=1, description="Level of every interval.")
    split: Literal["validation", "test", "ood"] = Field(default="test", description="Whose text the prompts come from.")
    stop_at_end: bool = Field(
        default=False,
        description="Whether a request may end early at the end-of-text token. False: every request is the same work.",
    )
