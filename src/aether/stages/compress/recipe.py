"""Every choice of compression, with its default and why. No torch.

Weight-only, without calibration data. Does not choose what is served: the smallest candidate that passes the quality
test is kept, and which one that is, is a result.
"""

from typing import Literal

from pydantic import Field, model_validator

from aether.spec.base import Noun
from aether.spec.errors import InputError


class Candidate(Noun):
    """One way to store the weights."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    kind: Literal["float32", "bfloat16", "integer"]
    bits: Literal[4, 8] | None = None
    group_size: int | None = Field(default=None, ge=1, description="columns that share a scale; None: the whole row")

    @model_validator(mode="after")
    def _complete(self) -> "Candidate":
        if (self.kind == "integer") != (self.bits is not None):
            raise InputError.of("candidates.bits", self.bits, "give 4 or 8 for an integer candidate, and only for one")
        if self.group_size is not None and self.kind != "integer":
            raise InputError.of("candidates.group_size", self.group_size, "only an integer candidate has groups")
        return self


_DEFAULT = (
    Candidate(name="float32", kind="float32"),
    Candidate(name="bfloat16", kind="bfloat16"),
    Candidate(name="int8", kind="integer", bits=8),
    Candidate(name="int4", kind="integer", bits=4, group_size=32),
)


class CompressRecipe(Noun):
    """Which candidates are tried, on what they are judged, and how much worse they may be."""

    candidates: tuple[Candidate, ...] = Field(
        default=_DEFAULT,
        min_length=1,
        description="float32 is the model as trained; 32 columns share a 4-bit scale because small layers have few columns",
    )
    quality_loss_bound: float = Field(
        default=0.01, ge=0, le=1, description="the brief's: largest relative rise of bits per byte, upper limit inside"
    )
    level: float = Field(default=0.95, gt=0, lt=1, description="confidence level of the non-inferiority interval")
    validation_documents: int = Field(
        default=96,
        ge=2,
        description="documents drawn (seeded) from validation; many short pieces bound a paired difference "
        "better than few whole files at the same cost",
    )
    context_windows: int = Field(
        default=1, ge=1, description="length of the piece taken from each document, in contexts"
    )
    cluster: Literal["file", "folder"] = Field(default="folder", description="what is drawn independently")
    batch_tokens: int = Field(default=4096, ge=1, description="tokens in one forward pass")
    logit_tolerance: float = Field(
        default=1e-3,
        gt=0,
        description="largest difference of logits between our loader and transformers, in float32; assumed",
    )
    speed_tokens: int = Field(default=64, ge=8, description="tokens decoded one at a time to time each candidate")

    @model_validator(mode="after")
    def _has_a_fallback(self) -> "CompressRecipe":
        names = [candidate.name for candidate in self.candidates]
        if len(set(names)) != len(names):
            raise InputError.of("candidates", names, "give each candidate its own name")
        if not any(candidate.kind == "float32" for candidate in self.candidates):
            raise InputError.of("candidates", names, "keep the float32 one: it stands when no other passes")
        return self
