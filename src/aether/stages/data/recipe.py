"""Every choice of the data stage, with its default and where the default comes from. No heavy import.

Does not find or read anything: `sources.pin` fills `manifest_sha256`, `run` does the work.
"""

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from aether.spec.base import Extended, Noun
from aether.spec.errors import InputError

END_OF_TEXT = "<|endoftext|>"
"""The one special token, id 0: it opens every document, and predicting it ends one."""


class Filters(Noun):
    """Thresholds of the filters; a document beyond one is rejected with the reason of that name."""

    min_bytes: int = Field(default=64, ge=1, description="Shorter documents teach little (assumed).")
    max_bytes: int = Field(
        default=1_048_576, ge=1024, description="Also the bound on one document in memory (assumed; The Stack: 1 MB)."
    )
    max_line_characters: int = Field(
        default=1000, ge=80, description="Code only. Codex, arXiv 2107.03374, section 3.1: longest line 1000."
    )
    mean_line_characters: float = Field(
        default=100.0, gt=0, description="Code only. Codex, arXiv 2107.03374, section 3.1: mean line 100."
    )
    min_alphabetic_share: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Tables of data. StarCoder, arXiv 2305.06161, section 3.2: 0.25 of characters.",
    )
    max_literal_share: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="Code only: share of lines that hold nothing but literals and commas. Chosen by reading what it "
        "removes from the standard library: codec tables, Unicode test vectors.",
    )
    max_duplicate_share: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="Share of characters in repeated lines of 20 or more characters. Gopher, arXiv 2112.11446, table A1 "
        "has 0.20 for prose; code repeats itself more (assumed, by reading what it removes).",
    )
    min_compressed_ratio: float = Field(
        default=0.09, ge=0, lt=1, description="zlib level 1 size over size; below it, a pattern repeated (assumed)."
    )
    generated_head_lines: int = Field(default=12, ge=1, description="Where a generator signs its output (assumed).")
    generated_markers: tuple[str, ...] = Field(
        default=(
            r"do not (edit|modify)",
            r"@generated\b",
            r"\bauto-?(matically)?[ -]?generated\b",
            r"\b(this|the) (file|module|code|script|table)s? (is|was|has been|are|were) generated\b",
            r"^\W*generated (by|from)\b",
            r"\bgenerated (from|by) ['\"\w./-]+ (with|using|by|via) ",
        ),
        description="Regular expressions, any case, against the first lines. Linguist's `generated.rb` has the same idea.",
    )


class NearDuplicates(Noun):
    """MinHash of token shingles, banded, each candidate checked by its exact Jaccard similarity."""

    threshold: float = Field(
        default=0.7, gt=0, le=1, description="Jaccard at which a later document is a copy. StarCoder, 2305.06161: 0.7."
    )
    shingle_tokens: int = Field(default=5, ge=1, description="StarCoder, arXiv 2305.06161, appendix: 5-grams.")
    permutations: int = Field(default=128, ge=16, description="Standard error of an estimate at most 0.044.")
    bands: int = Field(
        default=32, ge=1, description="4 rows each: a pair at Jaccard 0.7 is a candidate with 1-(1-0.7^4)^32 = 0.9998."
    )
    seed: int = Field(default=1, ge=0, description="Seed of the permutations.")

    @model_validator(mode="after")
    def _divides(self) -> "NearDuplicates":
        if self.permutations % self.bands:
            raise InputError.of(
                "near_duplicates.bands", self.bands, f"it must divide permutations = {self.permutations}"
            )
        return self


class Split(Noun):
    """Shares of the kept bytes that are held out, by group."""

    validation: float = Field(default=0.03, gt=0, lt=0.5, description="Of bytes, for the loss curve (assumed).")
    test: float = Field(
        default=0.04, gt=0, lt=0.5, description="Of bytes; about 90 files of the demo corpus (assumed)."
    )
    group_max_share: float = Field(
        default=0.005,
        gt=0,
        le=1,
        description="A folder with more of the bytes than this is opened into its parts, so that many folders share "
        "the test split: an interval over few of them is wide (chosen: eight groups of the largest size).",
    )
    seed: int = Field(default=0, ge=0, description="Of the order in which groups are dealt out.")


class Contamination(Noun):
    """Overlap of training documents with held-out ones, in n-grams of tokens."""

    ngram_tokens: int = Field(default=13, ge=2, description="GPT-3, arXiv 2005.14165, appendix C: 13-grams.")
    overlap: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="A training document goes when it shares this part of the smaller one's n-grams with one held-out "
        "document. One 13-gram is not enough in code, where a licence line is longer (assumed).",
    )
    common_documents: int = Field(
        default=10, ge=1, description="n-grams in more training documents than this are phrases: GPT-3, appendix C."
    )
    max_ngrams: int = Field(
        default=16_000_000,
        ge=1000,
        description="Bound on memory, 20 bytes each. Beyond it, 1 n-gram in 2, 4, ... is looked at on both sides.",
    )


class DataRecipe(Extended):
    """Everything that defines the curated corpus: the input by content, each threshold, each seed."""

    added: ClassVar[frozenset[str]] = frozenset({"tokenizer", "tokenizer_sha256"})
    circumstance: ClassVar[frozenset[str]] = frozenset({"tokenizer"})

    sources: tuple[str, ...] = Field(min_length=1, description="See `spec.brief.Data`.")
    out_of_distribution: tuple[str, ...] = Field(default=(), description="Kept apart as the split `ood`.")
    text_field: str = Field(default="text", description="Column of JSONL and Parquet rows that holds the text.")
    group_field: str | None = Field(default=None, description="Column whose equal values must stay in one split.")
    include: tuple[str, ...] = Field(default=("*",), description="Globs on name or path; python: sources take *.py.")
    exclude_folders: tuple[str, ...] = Field(
        default=(
            *(".git", ".hg", ".svn", ".tox", ".nox", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache"),
            *("__pycache__", "node_modules", "site-packages", "dist-packages"),
        ),
        description="Folder names that are not entered: tools' own files and installed packages, not the person's text.",
    )
    modality: Literal["code", "text"] = Field(default="code", description="Decides which filters apply.")
    manifest_sha256: str = Field(
        default="",
        description="Identity of the input's content, from `sources.manifest`: a changed file, a changed step.",
    )
    filters: Filters = Filters()
    near_duplicates: NearDuplicates = NearDuplicates()
    split: Split = Split()
    contamination: Contamination = Contamination()
    bytes_max: int | None = Field(
        default=None, ge=1, description="Keep a seeded sample of documents up to these bytes; None keeps all."
    )
    ood_bytes_max: int | None = Field(
        default=1_000_000, ge=1, description="The same for out_of_distribution: a held-out set needs no more (assumed)."
    )
    piece_bytes: int = Field(
        default=65_536, ge=1024, description="Text modality: a longer file is cut into pieces near this size (assumed)."
    )
    vocab_size: int = Field(
        default=4096,
        ge=257,
        le=2**20,
        description="Small models pay for a large embedding (assumed; the planner's dial).",
    )
    tokenizer: str | None = Field(
        default=None,
        description="A folder with tokenizer.json to read the text with (a model to go on from); None: the step's input `tokenizer`, "
        "and without one it is learnt.",
    )
    tokenizer_sha256: str = Field(default="", description="Its content, from `estimate.pin`.")
    tokenizer_sample_bytes: int = Field(
        default=8_000_000,
        ge=1,
        description="Training text the BPE merges are learnt from. Measured on the standard library, held-out bytes per "
        "token: 2 MB 3.38, 8 MB 3.46, all 26 MB 3.52 for three times the training time.",
    )

    @field_validator("sources", "out_of_distribution", "include", mode="before")
    @classmethod
    def _one_or_many(cls, raw: object) -> object:
        return (raw,) if isinstance(raw, str) else raw
