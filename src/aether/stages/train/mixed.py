"""A mixture around its training: whether its corpora go together, and what was read of each."""

from collections.abc import Mapping
from pathlib import Path

from aether.evidence.files import write_json
from aether.spec.errors import InputError
from aether.spec.evidence import Evidence
from aether.spec.run import StepContext
from aether.stages.train.batches import MixedWindows
from aether.stages.train.recipe import TrainRecipe


def check_mixture(recipe: TrainRecipe, inputs: Mapping[str, Path]) -> None:
    """Raise InputError where a source of the mixture was made with another tokenizer than `data`."""
    wanted = (inputs["data"] / "tokenizer" / "tokenizer.json").read_bytes()
    for source in recipe.mixture.sources:
        folder = inputs.get(source.input)
        if folder is not None and (folder / "tokenizer" / "tokenizer.json").read_bytes() != wanted:
            mend = "it has another tokenizer than `data`; make it with an input `tokenizer` that names that step"
            raise InputError.of("mixture.sources.input", source.input, mend)


def mixing_evidence(
    recipe: TrainRecipe, batches: MixedWindows, samples: int, context: StepContext
) -> tuple[Evidence, ...]:
    """Tokens and epochs of each source up to sample `samples`, those passed over after a spike included. Writes mixture.json."""
    evidence, rows = [], []
    for source, (count, epochs) in zip(recipe.mixture.sources, batches.read(samples), strict=True):
        tokens = count * recipe.model.context_tokens
        rows.append(
            {"input": source.input, "windows": count, "tokens": tokens, "epochs": epochs, "share": count / samples}
        )
        told = f"training split of {source.input}, {count} windows"
        evidence.append(context.measured("source_tokens", tokens, "token", told, label=source.input))
        evidence.append(
            context.measured("source_epochs", epochs, "count", told + " over those of one epoch", label=source.input)
        )
    write_json(context.out / "mixture.json", rows)
    return tuple(evidence)
