"""Every choice of an operation on a trained model, with its default and its source. No heavy import."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from aether.spec.base import Noun
from aether.spec.errors import InputError

OPERATIONS: dict[str, tuple[str, ...]] = {
    "extend-vocabulary": ("tokens",),
    "depth-up-scale": ("layers",),
    "drop-layers": ("layers",),
    "drop-heads": ("kv_heads",),
    "widen": ("hidden_size", "mlp_size"),
}
"""Operation -> its fields: all of them, but for `widen`, which needs one at least."""


class SurgeryRecipe(Noun):
    """One operation on one model. The sizes are those of the model after it."""

    circumstance: ClassVar[frozenset[str]] = frozenset({"model", "texts"})

    operation: Literal["extend-vocabulary", "depth-up-scale", "drop-layers", "drop-heads", "widen"] = Field(
        description="SOLAR, arXiv 2312.15166 (depth-up-scale); Gromov et al., arXiv 2403.17887 (drop-layers); Michel et al., "
        "arXiv 1905.10650 (drop-heads); Net2Net, arXiv 1511.05641, and LEMON, arXiv 2310.07999 (widen)."
    )
    tokens: tuple[str, ...] = Field(default=(), description="New entries of the vocabulary.")
    rows: Literal["pieces", "mean"] = Field(
        default="pieces",
        description="Where a new row comes from: the mean of the rows of the pieces that the text has now, or of all rows (Hewitt, 2021).",
    )
    layers: int | None = Field(default=None, ge=1)
    kv_heads: int | None = Field(
        default=None, ge=1, description="Groups of heads that stay; a group is kept or goes whole."
    )
    hidden_size: int | None = Field(default=None, ge=1, description="A multiple of the model's.")
    mlp_size: int | None = Field(default=None, ge=1)
    model: str | None = Field(default=None, description="A model folder; None: the step's input `model`.")
    model_sha256: str = Field(default="", description="Its content, from `estimate.pin`.")
    texts: str | None = Field(
        default=None,
        description="A .jsonl (field `text`) or a text file to judge on; None: validation texts of the input `data`.",
    )
    texts_sha256: str = ""
    held_bytes: int = Field(
        default=100_000, ge=1, description="About this much text is scored before and after (assumed)."
    )
    calibration_windows: int = Field(
        default=64,
        ge=1,
        description="Windows of text that layers and heads are judged on; none of them is scored (assumed).",
    )

    @model_validator(mode="after")
    def _own_fields(self) -> "SurgeryRecipe":
        mine = OPERATIONS[self.operation]
        for name in {field for fields in OPERATIONS.values() for field in fields}:
            given = getattr(self, name) not in (None, ())
            if given and name not in mine:
                raise InputError.of(
                    name, getattr(self, name), f"{self.operation} has no such field; it has {', '.join(mine)}"
                )
        if all(getattr(self, name) in (None, ()) for name in mine):
            raise InputError.of(mine[0], None, f"{self.operation} needs it" + (" or mlp_size" if len(mine) > 1 else ""))
        return self
