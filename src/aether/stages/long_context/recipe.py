"""Every choice of the check of a longer context, with its default and its source. No heavy import."""

from pydantic import Field, field_validator

from aether.spec.base import Noun
from aether.spec.errors import InputError


class PassKey(Noun):
    """A number hidden in held-out text and asked for at its end (Mohtashami and Jaggi, arXiv 2305.16300, section 4.2)."""

    needle: str = Field(
        default="\n\nPASS_KEY = {key}\n\n",
        description="What is hidden; in code, since the demo model reads nothing else.",
    )
    question: str = Field(
        default="\n\nassert PASS_KEY == ", description="The end of the text; the key is what should follow."
    )
    digits: int = Field(default=5, ge=2, le=9, description="Of a key (the paper: 5).")
    choices: int = Field(
        default=5,
        ge=2,
        description="Keys among which the likeliest is taken: a small model that cannot say a key may still prefer it.",
    )
    depths: tuple[float, ...] = Field(
        default=(0.1, 0.5, 0.9), min_length=1, description="Share of the text before the needle."
    )
    trials: int = Field(default=10, ge=1, description="Of each depth and length (assumed).")

    @field_validator("needle")
    @classmethod
    def _has_a_place(cls, raw: str) -> str:
        if raw.count("{key}") != 1:
            raise InputError.of("pass_key.needle", raw, "it must have {key} once")
        return raw

    @field_validator("depths")
    @classmethod
    def _within(cls, raw: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 <= depth <= 1 for depth in raw):
            raise InputError.of("pass_key.depths", raw, "shares between 0 and 1")
        return raw


class LongContextRecipe(Noun):
    """A model before its extension (input `before`) against the one after it (input `after`), on the test split of `data`."""

    documents: int = Field(
        default=32, ge=4, description="Long documents, one window of the longer context each (assumed)."
    )
    held_bytes: int = Field(default=200_000, ge=1, description="Of the test split, for the short context (assumed).")
    pass_key: PassKey = PassKey()
