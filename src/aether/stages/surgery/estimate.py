"""Fixing by content what an operation reads. Pure files, no torch; the time of an operation is that of scoring its texts twice."""

from pathlib import Path

from aether.evidence.hashing import hash_file
from aether.models.folders import model_folder, model_hash
from aether.spec.errors import InputError
from aether.stages.surgery.recipe import SurgeryRecipe


def pin(recipe: SurgeryRecipe) -> SurgeryRecipe:
    """The recipe with its model and its texts fixed by content. Raises InputError when they are not there."""
    changes = {}
    if recipe.model is not None:
        folder = model_folder(Path(recipe.model).expanduser().resolve(), "model")
        changes |= {"model": str(folder), "model_sha256": model_hash(folder)}
    if recipe.texts is not None:
        texts = Path(recipe.texts).expanduser().resolve()
        if not texts.is_file():
            raise InputError.of("texts", str(texts), "no such file; give a .jsonl or a text file")
        changes |= {"texts": str(texts), "texts_sha256": hash_file(texts)}
    return recipe.model_copy(update=changes)
