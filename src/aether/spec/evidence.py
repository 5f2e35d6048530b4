"""One number with where it came from. Nothing that Aether says may be a bare number."""

from typing import Literal

from pydantic import Field, model_validator

from aether.spec.base import Noun

Kind = Literal["measured", "computed", "cited", "assumed"]
Repeats = Literal["exact", "machine"]
"""How `reproduce` compares: `exact` must be equal bit for bit; `machine` depends on the machine's speed or load."""


class Interval(Noun):
    """A range with its level: 0.95 means that 95% of such intervals hold the true value (by `method`)."""

    low: float
    high: float
    level: float = Field(default=0.95, gt=0, lt=1)
    method: str

    @model_validator(mode="after")
    def _ordered(self) -> "Interval":
        assert self.low <= self.high, f"interval {self.low}..{self.high} is the wrong way round"
        return self


class Evidence(Noun):
    """A measured, computed, cited or assumed number. `id` is unique in a run: "<step>.<metric>" or "<step>.<metric>.<slice>"."""

    id: str = Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_:-]+)+$")
    metric: str
    value: float
    unit: str
    kind: Kind
    source: str = Field(min_length=1)
    """Measured: what was run on what. Computed: the formula. Cited: the address. Assumed: by whom and why."""
    interval: Interval | None = None
    n: int | None = Field(default=None, ge=1)
    """How many independent units (files, requests, ...) the number rests on."""
    seed: int | None = None
    artefact_sha256: str | None = None
    repeats: Repeats = "exact"
    conditions: dict[str, str | int | float | bool] = {}


class Artefact(Noun):
    """A file that a step left, by content."""

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)


class Provenance(Noun):
    """The circumstances of a step: enough to run it again elsewhere. No environment variables, so no secrets."""

    aether_version: str
    commit: str | None
    dirty: bool | None
    python: str
    platform: str
    cpu: str
    cores: int
    memory_bytes: int
    accelerator: str | None
    packages_sha256: str
    command: tuple[str, ...]


class StepRecord(Noun):
    """What a step was, did and found. Written last, beside its output: where there is no record, nothing was done."""

    schema_version: Literal[1] = 1
    step: str
    stage: str
    fingerprint: str
    config: dict
    inputs: dict[str, str]
    """Input name -> content hash of that step's output."""
    seed: int
    threads: int
    artefacts: tuple[Artefact, ...]
    output_sha256: str
    evidence: tuple[Evidence, ...]
    started_at: str
    wall_s: float
    cpu_s: float
    provenance: Provenance
