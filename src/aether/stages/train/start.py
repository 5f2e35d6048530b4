"""Continued training: the weights of a model folder as the first ones of a run, checked against the recipe and the data.

The folder is one that Aether or transformers wrote, of any class of docs/parts.md. Only two things of its shape may change: the
context, and how rotary positions are scaled for it. Does not change a vocabulary or a shape: that is the surgery stage.
"""

from pathlib import Path
from typing import Any

import torch

from aether.evidence.files import read_json
from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder
from aether.models.folders import OPTIMISER_NAME, model_folder, model_hash
from aether.models.weights import WEIGHTS_NAME, model_of, read_config, read_tensors, write_tensors
from aether.spec.base import Noun
from aether.spec.errors import InputError
from aether.stages.train.optimisers.optimisers import Optimisers
from aether.stages.train.recipe import TrainRecipe

_TRAINING_ONLY = ("balance_loss", "z_loss")
"""Choices of a mixture's training, which not every config.json keeps."""


def resolve(recipe: TrainRecipe, given: Path | None) -> TrainRecipe:
    """The recipe with its start's folder and content, from the recipe or from the step's input `given`; checked.

    Raises InputError when both say one, when the content is not the pinned one, and when the shapes differ.
    """
    if recipe.start is None and given is None:
        return recipe
    if recipe.start is not None and given is not None:
        raise InputError.of("start", recipe.start, "the step has an input `start` too; leave one of them out")
    folder = model_folder(given or Path(str(recipe.start)))
    found = model_hash(folder)
    if recipe.start is not None and recipe.start_sha256 != found:
        mend = f"{folder} holds {found[:16]}...; pin the recipe again (`aether build` does) to use it as it is"
        raise InputError.of("start_sha256", recipe.start_sha256, mend)
    _check_shape(recipe.model, read_config(folder), folder)
    return recipe.model_copy(update={"start": str(folder), "start_sha256": found})


def _check_shape(wanted: DecoderConfig, held: DecoderConfig, folder: Path) -> None:
    for name in DecoderConfig.model_fields:
        ours, theirs = getattr(wanted, name), getattr(held, name)
        if name in ("context_tokens", "rope_scaling") or _plain(ours) == _plain(theirs):
            continue
        raise InputError.of(
            f"model.{name}", _plain(ours), f"{folder} has {_plain(theirs)}; write that, or change the model"
        )
    longer = wanted.context_tokens > held.context_tokens
    learned = wanted.positions == "learned" and wanted.context_tokens != held.context_tokens
    rotary = wanted.positions == "rope" and longer and wanted.rope_scaling == held.rope_scaling
    if learned or rotary:
        mend = f"{folder} has {held.context_tokens}; " + (
            'set model.rope_scaling (kind = "yarn") to go beyond it' if rotary else "learnt positions are as many"
        )
        raise InputError.of("model.context_tokens", wanted.context_tokens, mend)
    scaling = wanted.rope_scaling
    if scaling is not None and scaling != held.rope_scaling:
        first = held.context_tokens if held.rope_scaling is None else held.rope_scaling.original_context_tokens
        if scaling.original_context_tokens != first:
            mend = f"{folder} was first trained on {first}; write that number"
            raise InputError.of("model.rope_scaling.original_context_tokens", scaling.original_context_tokens, mend)
    if scaling is None and held.rope_scaling is not None:
        mend = f"{folder} has {_plain(held.rope_scaling)}; write that"
        raise InputError.of("model.rope_scaling", None, mend)


def _plain(value: Any) -> Any:
    """A value as JSON, without what only training reads."""
    if not isinstance(value, Noun):
        return value
    return {name: one for name, one in value.model_dump(mode="json").items() if name not in _TRAINING_ONLY}


def check_tokenizer(folder: Path, data_folder: Path) -> None:
    """Raise InputError unless the start and the data read text alike: same entries, merges and rules of splitting."""
    ours, theirs = folder / "tokenizer.json", data_folder / "tokenizer" / "tokenizer.json"
    if not ours.is_file():
        raise InputError.of("start", str(folder), "it has no tokenizer.json to compare with the data's; put it there")
    mine, other = (_reading(read_json(path)) for path in (ours, theirs))
    for part in mine.keys() | other.keys():
        if mine.get(part) != other.get(part):
            mend = f"its tokenizer and that of {data_folder} differ in {part}; make the data with the start's tokenizer"
            raise InputError.of("start", str(folder), mend)


def _reading(raw: dict[str, Any]) -> dict[str, Any]:
    """What a tokenizer.json does to a text, whichever version of the library wrote it."""
    model = raw.get("model", {})
    merges = [tuple(m.split(" ", 1)) if isinstance(m, str) else tuple(m) for m in model.get("merges", [])]
    added = sorted((one["id"], one["content"]) for one in raw.get("added_tokens", []))
    rules = {part: raw.get(part) for part in ("normalizer", "pre_tokenizer")}
    return rules | {"vocab": model.get("vocab"), "merges": merges, "added_tokens": added}


def fill(model: Decoder, recipe: TrainRecipe) -> None:
    """Give `model` the weights of the recipe's start. Raises InputError where names or shapes differ, DamagedRecord."""
    assert recipe.start is not None
    held = model_of(recipe.model, read_tensors(Path(recipe.start) / WEIGHTS_NAME))
    gains = [n for n, p in held.named_parameters() if p.ndim == 1 and n.startswith("blocks.") and n.endswith("gain")]
    own = dict(held.named_parameters())
    if not recipe.optimiser.learn_block_gains and any(bool((own[name] != 1).any()) for name in gains):
        raise InputError.of("optimiser.learn_block_gains", False, "the start's gains are not one; set it to true")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(own[name])


def keep(optimisers: Optimisers, folder: Path) -> None:
    """Leave the optimiser's state in the model folder."""
    write_tensors(folder / OPTIMISER_NAME, {name: t.cpu().contiguous() for name, t in optimisers.tensors().items()})


def carry(optimisers: Optimisers, recipe: TrainRecipe) -> None:
    """Take over the optimiser's state of the start. Raises InputError when it has none, or that of another optimiser."""
    assert recipe.start is not None
    path = Path(recipe.start) / OPTIMISER_NAME
    if not path.is_file():
        raise InputError.of(
            "start_optimiser", "carried", f"{path} is missing; train the start with keep_optimiser = true"
        )
    held, own = read_tensors(path), optimisers.tensors()
    wrong = sorted(
        n for n in held.keys() | own.keys() if n not in held or n not in own or held[n].shape != own[n].shape
    )
    if wrong:
        mend = f"{path} is the state of another optimiser or shape (first difference: {wrong[0]}); use fresh"
        raise InputError.of("start_optimiser", "carried", mend)
    optimisers.load(held)
