"""What planning takes from finished steps: the data's size, and what each pilot reached and cost. Reads records' files only."""

import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from aether.models.config import DecoderConfig
from aether.spec.base import Noun
from aether.spec.errors import DamagedRecord
from aether.stages.train.recipe import TrainRecipe


class DataFacts(Noun):
    """The curated data, as far as a plan depends on it."""

    vocab_size: int = Field(gt=1)
    bytes_per_token: float = Field(gt=0)
    """Of the training split."""
    test_bytes_per_token: float = Field(gt=0)
    train_tokens: int = Field(ge=1)
    validation_tokens: int = Field(ge=1)
    test_tokens: int = Field(ge=1)
    tokenizer_bytes: int = Field(default=0, ge=0)

    @classmethod
    def read(cls, folder: Path) -> "DataFacts":
        """The facts in a data step's output. Raises DamagedRecord when its summary is not readable."""
        raw = _json(folder / "data.json")
        try:
            splits = raw["splits"]
            test = splits["test"]
            tokenizer = folder / "tokenizer"
            return cls(
                vocab_size=raw["vocab_size"],
                bytes_per_token=raw["bytes_per_token"],
                test_bytes_per_token=test["bytes"] / max(1, test["tokens"])
                if test["bytes"]
                else raw["bytes_per_token"],
                train_tokens=splits["train"]["tokens"],
                validation_tokens=splits["validation"]["tokens"],
                test_tokens=test["tokens"],
                tokenizer_bytes=sum(f.stat().st_size for f in tokenizer.iterdir()) if tokenizer.is_dir() else 0,
            )
        except (KeyError, TypeError, ValidationError) as error:
            raise DamagedRecord(
                f"{folder / 'data.json'} is not a data summary of this version; delete {folder}"
            ) from error


class PilotResult(Noun):
    """One finished short run."""

    name: str
    recipe: TrainRecipe
    loss: float = Field(gt=0)
    """Validation loss at the end, nats per token."""
    seconds_per_step: float = Field(gt=0)
    fixed_s: float = Field(default=0.0, ge=0)
    """Wall seconds of the run that were not steps: loading, evaluation, saving."""
    memory_bytes: int = Field(gt=0)
    next_token_accuracy: float | None = None

    @classmethod
    def read(cls, name: str, folder: Path, config: dict[str, Any], wall_s: float) -> "PilotResult":
        """The pilot in a train step's output; `config` and `wall_s` are its record's. Raises DamagedRecord."""
        raw = _json(folder / "train.json")
        try:
            recipe = TrainRecipe.model_validate(config)
            return cls(
                name=name,
                recipe=recipe,
                loss=raw["validation"]["loss"],
                seconds_per_step=raw["updates_s"] / recipe.steps,
                fixed_s=max(0.0, wall_s - raw["updates_s"]),
                memory_bytes=int(raw["peak_memory_bytes"]),
                next_token_accuracy=raw["validation"].get("next_token_accuracy"),
            )
        except (KeyError, TypeError, ValidationError) as error:
            raise DamagedRecord(
                f"{folder / 'train.json'} is not a training summary of this version; delete {folder}"
            ) from error

    @property
    def decoder(self) -> DecoderConfig:
        """The shape that was trained."""
        return self.recipe.model


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedRecord(f"{path} cannot be read; delete {path.parent} and run again") from error
