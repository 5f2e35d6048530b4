"""Every choice of a red-team run, with its default and why. No torch."""

from typing import Literal

from pydantic import Field

from aether.spec.base import Noun

JudgeName = Literal["rules", "string", "model"]


class RedTeamRecipe(Noun):
    """Which attacks, how they are judged, and how long the model may answer."""

    attacks: tuple[str, ...] = Field(default=(), description="names or families; none: every one of the library")
    judge: JudgeName = Field(
        default="rules", description="whose verdict the rates rest on; the string match is always told beside it"
    )
    judge_place: str = Field(default="", description="of judge = model: a model folder, a .gguf file or an endpoint")
    judge_name: str = Field(default="", description="of judge = model: the endpoint's name for it")
    max_tokens: int = Field(default=128, ge=8, description="of an answer; a refusal shows in the first ones (assumed)")
    shots: int = Field(
        default=16, ge=1, description="made-up exchanges before a many-shot request; its success grows with them (Anil et al., 2024)"
    )  # fmt: skip
    behaviours: int | None = Field(
        default=None, ge=1, description="so many behaviours and benign requests, drawn by lot"
    )
    suffix_steps: int = Field(default=0, ge=0, description="of the optimised suffix (GCG); 0: none. Local weights only")
    suffix_behaviours: int = Field(default=4, ge=1, description="behaviours that get a suffix of their own")
    suffix_tokens: int = Field(
        default=20, ge=1, description="length of the suffix (Zou et al., arXiv 2307.15043, section 3)"
    )
    suffix_top: int = Field(default=256, ge=1, description="replacements looked at for each place (same, section 3)")
    suffix_tries: int = Field(
        default=128, ge=1, description="of them tried in a step; 512 in the paper, fewer on a CPU"
    )
    seed: int = Field(default=0, ge=0)
