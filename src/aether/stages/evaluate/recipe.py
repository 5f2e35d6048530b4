"""Every choice of an evaluation, with its default and why. No torch.

Does not choose the model or the data: those are the step's inputs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from aether.evidence.hashing import hash_file, hash_value
from aether.spec.base import Extended, Noun
from aether.spec.errors import InputError

JudgeName = Literal["rules", "string", "model"]


class RedTeamRecipe(Extended):
    """Which attacks, how they are judged, and how long the model may answer."""

    added: ClassVar[frozenset[str]] = frozenset({"requests_sha256", "tool_messages"})
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
    tool_messages: bool = Field(
        default=False, description="orders also in messages of a tool, for models and endpoints that take such messages"
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
    requests_sha256: str = Field(
        default="", description="of the files that a build's requests are read from; empty: the set that comes along"
    )


class EvaluateRecipe(Noun):
    """What is measured, on how much, and against which baselines. Caps are part of the result and are reported."""

    circumstance: ClassVar[frozenset[str]] = frozenset({"harmful_file", "benign_file"})
    harmful_file: str | None = Field(default=None, description="of a red team; its content is in `requests_sha256`")
    benign_file: str | None = Field(default=None, description="the same, for over-refusal")
    modality: Literal["code", "text"] = Field(
        default="code", description="code: Python, so that lines and parsing mean something; text: those are left out"
    )
    test_bytes: int = Field(
        default=1_000_000, ge=1, description="about so many bytes of whole test documents, drawn at random (seeded)"
    )
    ood_bytes: int = Field(default=200_000, ge=1, description="the same for the out-of-distribution split")
    stride_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="window step as a share of the context: at 0.5 a scored token has at least half a context before it "
        "(past a document's start) at twice the work; Press et al., arXiv 2012.15832, section 3",
    )
    batch_tokens: int = Field(
        default=4096, ge=1, description="tokens in one forward pass; measured flat on CPU above 4k"
    )
    cluster: Literal["file", "folder"] = Field(
        default="folder", description="what is drawn independently: files of one folder are alike, so folders"
    )
    level: float = Field(default=0.95, gt=0, lt=1, description="confidence level of every interval")
    lines: int = Field(
        default=300, ge=0, description="lines to complete; 300 independent ones give +-5.7 points at most"
    )
    lines_per_document: int = Field(
        default=4, ge=1, description="so that many files, hence many folders, share the sample"
    )
    line_min_bytes: int = Field(default=12, ge=2, description="a shorter line (`else:`, `)`) is trivial; assumed")
    line_rest_min_bytes: int = Field(default=4, ge=1, description="least that is left to complete; assumed")
    line_max_tokens: int = Field(default=48, ge=1, description="a rest that is longer is not sampled")
    programs: int = Field(default=150, ge=0, description="prefixes to complete for the parse rate")
    program_max_tokens: int = Field(
        default=64, ge=8, description="tokens generated for each; the true text is cut alike"
    )
    generation_batch: int = Field(default=64, ge=1, description="sequences that are decoded together")
    baselines: tuple[Literal["xz", "zstd", "zstd_train", "5gram"], ...] = Field(
        default=("xz", "zstd", "zstd_train", "5gram"), description="what the model is held against, on the same bytes"
    )
    ngram_cap_tokens: int = Field(
        default=12_000_000, ge=1, description="training tokens of the 5-gram model; about 1 s and 100 MB per million"
    )
    zstd_prior_cap_bytes: int = Field(
        default=8_000_000, ge=1, description="last training bytes that zstd may refer to; the level-19 index is slow"
    )
    red_team: RedTeamRecipe | None = Field(
        default=None, description="known attacks on the model; asked for by a target on one of the metrics of safety"
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="of the forward passes; bfloat16 moves bits per byte in the third digit"
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="where the forward passes run")


def requests_hash(files: Sequence[str | None]) -> str:
    """What stands for the files of harmful and of benign requests in a recipe; empty where there is none. Raises InputError for a missing one."""
    given = [file for file in files if file is not None]
    for file in given:
        if not Path(file).is_file():
            raise InputError.of("red_team", file, "no such file; give a .csv, .jsonl or .json file of requests")
    return hash_value([None if file is None else hash_file(Path(file)) for file in files]) if given else ""
