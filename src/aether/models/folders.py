"""A model folder by content: where it is at a place, and what it is. No torch."""

from pathlib import Path

from aether.evidence.hashing import hash_file, hash_value
from aether.spec.errors import InputError

OPTIMISER_NAME = "optimiser.safetensors"
"""In a model folder: the optimiser's state, for a run that carries it on."""
_FILES = ("config.json", "model.safetensors", "tokenizer.json", OPTIMISER_NAME)


def model_folder(place: Path, field: str = "start") -> Path:
    """The model folder at `place`: itself, or the `model` in a step's output. Raises InputError when there is none."""
    for folder in (place, place / "model"):
        if (folder / "config.json").is_file():
            return folder
    raise InputError.of(field, str(place), "no config.json there; give a model folder or the output of a step")


def model_hash(folder: Path) -> str:
    """What a model is, by content: its config, weights, tokenizer and optimiser."""
    return hash_value({name: hash_file(folder / name) for name in _FILES if (folder / name).is_file()})
