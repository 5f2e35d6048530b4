"""What going on from a model did to held-out texts: those of the new data, and those of the data before it (input `old`)."""

from pathlib import Path

from aether.evidence.change import before_and_after
from aether.evidence.compare import DocumentScore
from aether.evidence.files import write_json
from aether.evidence.hashing import hash_file
from aether.models.decoder import Decoder
from aether.models.held import held_scores
from aether.models.weights import WEIGHTS_NAME
from aether.spec.errors import InputError
from aether.spec.evidence import Evidence
from aether.spec.run import StepContext
from aether.stages.train import start
from aether.stages.train.recipe import TrainRecipe

Scores = dict[str, list[DocumentScore]]


def check_data(recipe: TrainRecipe, context: StepContext) -> None:
    """Raise InputError unless every input reads text as the start does, or when there is an `old` and no start."""
    if recipe.start is None:
        if "old" in context.inputs:
            raise InputError.of("inputs.old", str(context.inputs["old"]), "without a start there is nothing to forget")
        return
    for name in ("data", "old"):
        if name in context.inputs:
            start.check_tokenizer(Path(recipe.start), context.inputs[name])


def score_all(recipe: TrainRecipe, model: Decoder, context: StepContext, when: str) -> Scores:
    """The validation documents of the new data and of the old."""

    def tell(done: int, total: int) -> None:
        context.tell(done, total, "tokens", f"{when}: held-out texts")

    places = {"new": "data", "old": "old"}
    return {
        label: held_scores(model, context.inputs[name], "validation", recipe.validation_bytes, context.seed, tell)
        for label, name in places.items()
        if name in context.inputs
    }


def evidence(recipe: TrainRecipe, context: StepContext, before: Scores, after: Scores) -> tuple[Evidence, ...]:
    """Both sides with intervals, the change, and the weights that the run went on from. Writes continued.json."""
    assert recipe.start is not None
    found: list[Evidence] = []
    summary: dict[str, object] = {"start_sha256": recipe.start_sha256, "optimiser": recipe.start_optimiser}
    for label, scores in before.items():
        texts = f"{len(scores)} validation documents of the {label} data, context {recipe.model.context_tokens}"
        said, summary[label] = before_and_after(context, label, scores, after[label], texts)
        found += said
    write_json(context.out / "continued.json", summary)
    weights = context.measured("start_weights", 1, "count", f"{WEIGHTS_NAME} that the run went on from")
    digest = hash_file(Path(recipe.start) / WEIGHTS_NAME)
    return (*found, weights.model_copy(update={"artefact_sha256": digest}))
