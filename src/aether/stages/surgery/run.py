"""The surgery stage: a model folder in, the changed model's folder out, held-out texts under both."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from aether.evidence.change import before_and_after
from aether.evidence.files import write_json
from aether.evidence.hashing import hash_file
from aether.models.folders import model_folder, model_hash
from aether.models.weights import WEIGHTS_NAME
from aether.spec.errors import InputError
from aether.spec.evidence import Evidence
from aether.spec.run import StepContext
from aether.stages.surgery.heads import drop_heads
from aether.stages.surgery.layers import depth_up_scale, drop_layers
from aether.stages.surgery.opened import Opened, close, open_model
from aether.stages.surgery.recipe import SurgeryRecipe
from aether.stages.surgery.texts import Text, divided, opening_id, read_texts, scores, windows
from aether.stages.surgery.vocabulary import extend_vocabulary
from aether.stages.surgery.width import widen


def run(recipe: SurgeryRecipe, context: StepContext) -> tuple[Evidence, ...]:
    """Operate, write model/ and surgery.json, and score the held texts before and after.

    Inputs: `model` unless the recipe names one, `data` unless it names texts. Raises InputError for an operation that the
    architecture cannot take, a model or texts that changed since they were pinned, and too few texts.
    """
    torch.set_num_threads(context.threads)
    folder = _model(recipe, context)
    chosen_by, held = divided(read_texts(_texts(recipe, context)), recipe.held_bytes)
    tokenizer = Tokenizer.from_file(str(_tokenizer_file(folder)))
    opened = open_model(folder)
    context.tell(message=recipe.operation)
    after, wider, told = _operate(recipe, opened, tokenizer, _Calibration(chosen_by, folder), context.seed)
    out = context.out / "model"
    close(after, folder, out, None if wider is tokenizer else wider.to_str())
    opening = opening_id(folder)
    context.tell(message="held-out texts before and after")
    first, second = (scores(o.model().eval(), t, opening, held) for o, t in ((opened, tokenizer), (after, wider)))
    texts = f"{len(held)} held-out texts, context {after.config.context_tokens}, float32"
    evidence, said = before_and_after(context, "held", first, second, texts)
    sizes = {"before": opened.config.parameters(), "after": after.config.parameters()}
    summary = {
        "operation": recipe.operation,
        **told,
        "parameters": sizes,
        "held": said,
        "model_sha256": model_hash(folder),
    }
    write_json(context.out / "surgery.json", summary)
    weights = context.measured("weights", 1, "count", f"model/{WEIGHTS_NAME} after the operation")
    count = context.measured("parameters", sizes["after"], "count", "number of weights, embedding once")
    return (*evidence, count, weights.model_copy(update={"artefact_sha256": hash_file(out / WEIGHTS_NAME)}))


class _Calibration:
    """Windows that layers and heads are judged on, made when they are asked for."""

    def __init__(self, texts: list[Text], folder: Path) -> None:
        self._texts, self._folder = texts, folder

    def windows(self, tokenizer: Tokenizer, tokens: int, count: int) -> list[Any]:
        return windows(self._texts, tokenizer, opening_id(self._folder), tokens, count)


def _operate(
    recipe: SurgeryRecipe, opened: Opened, tokenizer: Tokenizer, calibration: _Calibration, seed: int
) -> tuple[Opened, Tokenizer, dict[str, object]]:
    """(the model after it, its tokenizer, what was chosen)."""
    if recipe.operation == "extend-vocabulary":
        return extend_vocabulary(opened, tokenizer, recipe.tokens, recipe.rows)
    if recipe.operation == "depth-up-scale":
        assert recipe.layers is not None
        return depth_up_scale(opened, recipe.layers), tokenizer, {}
    if recipe.operation == "widen":
        return widen(opened, recipe.hidden_size, recipe.mlp_size, seed), tokenizer, {}
    texts = calibration.windows(tokenizer, opened.config.context_tokens, recipe.calibration_windows)
    if recipe.operation == "drop-layers":
        assert recipe.layers is not None
        after, told = drop_layers(opened, recipe.layers, [ids[:-1] for ids in texts])
    else:
        assert recipe.kv_heads is not None
        after, told = drop_heads(opened, recipe.kv_heads, texts)
    return after, tokenizer, told


def _model(recipe: SurgeryRecipe, context: StepContext) -> Path:
    given = context.inputs.get("model")
    if (given is None) == (recipe.model is None):
        raise InputError.of(
            "model", recipe.model, "name the model in the recipe or as the step's input, one of the two"
        )
    folder = model_folder(given or Path(str(recipe.model)), "model")
    if given is None and model_hash(folder) != recipe.model_sha256:
        raise InputError.of("model_sha256", recipe.model_sha256, f"{folder} has changed; pin the recipe again")
    return folder


def _texts(recipe: SurgeryRecipe, context: StepContext) -> Path:
    if recipe.texts is None:
        if "data" not in context.inputs:
            raise InputError.of("texts", None, "name a file of held-out texts, or give the step an input `data`")
        return context.inputs["data"] / "validation"
    texts = Path(recipe.texts)
    if not texts.is_file() or hash_file(texts) != recipe.texts_sha256:
        raise InputError.of("texts_sha256", recipe.texts_sha256, f"{texts} has changed; pin the recipe again")
    return texts


def _tokenizer_file(folder: Path) -> Path:
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise InputError.of("model", str(folder), "it has no tokenizer.json, which texts are read with; put it there")
    return file
