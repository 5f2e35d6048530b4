"""Exact recipes where no search decides the layout: what is only run (evaluated, compared), and what is tuned without a plan.

Hyperparameters are those of `knowledge.practice`. The layout of a tuning is the plain one: states split over all devices (FSDP), checked
against their memory by arithmetic, activations apart.
"""

import math

from aether.counsel.answers.draft import Draft, command, name
from aether.counsel.answers.facts import described
from aether.counsel.answers.fleet_recipe import of_choice, training_evaluation
from aether.counsel.answers.recipe import (
    DataPart,
    EvaluationPart,
    ExactRecipe,
    HardwarePart,
    ModelPart,
    OptimisationPart,
    untrained,
)
from aether.knowledge.library import device
from aether.knowledge.practice import PracticeTask, choice
from aether.models.accounting import parameters
from aether.planning.training.setup import FineTuning
from aether.spec.architecture import Architecture
from aether.spec.report import Text, text_of

_SHARE = 0.7
"""Of a device's memory that states may take, so that activations and buffers have room (assumed)."""
_BATCH, _SEQUENCE = 32, 2048
_OWN = text_of("of your model, as its config.json says")


def model_or_yours(draft: Draft, called: str | None, architecture: Architecture | None) -> ModelPart:
    """A known model's configuration; where none was named, that it is to be written down."""
    if called is not None and architecture is not None:
        return described(draft, called, architecture)
    parts = dict.fromkeys(("hidden_size", "layers", "heads", "vocabulary", "parameters"), _OWN)
    return ModelPart(model=text_of("yours, at a stated revision"), **parts)


def run_recipe(
    draft: Draft, model: ModelPart, data: DataPart, hardware: HardwarePart, evaluation: EvaluationPart
) -> ExactRecipe:
    """Of what trains nothing."""
    seed = draft.number("recipe.seed", draft.brief.seed, "count", "assumed", "the brief's seed")
    return ExactRecipe(
        model=model,
        data=data,
        optimisation=untrained(text_of("the format that is served"), text_of(seed, ", for samples and their order")),
        hardware=hardware,
        evaluation=evaluation,
    )


def split_over(draft: Draft, place: str, held_bytes: float) -> tuple[Text, Text]:
    """(devices, parallelism) for states of so many bytes: all devices of the brief, fully sharded, if they have room for them."""
    hardware = draft.brief.hardware
    if hardware is None or hardware.name == "this-machine":
        return text_of("to be named: ", command('--set "hardware.name=…"')), text_of(
            "FSDP, states fully sharded over all devices"
        )
    on, count = device(hardware.name), hardware.count_of(hardware.name)
    fewest = max(1, math.ceil(held_bytes / (_SHARE * on.memory_bytes)))
    each = draft.number(f"{place}.per-device", held_bytes / count, "byte", "computed", "bytes of all states / devices")
    given = draft.number(f"{place}.devices", count, "count", "assumed", "the brief's hardware.count")
    devices = text_of(given, " ", name(on.name))
    if count >= fewest:
        how = (
            "one device holds everything"
            if count == 1
            else "FSDP, states fully sharded over all of them, data parallel"
        )
        return devices, text_of(f"{how}; ", each, " of states a device, activations apart")
    need = draft.number(f"{place}.fewest", fewest, "count", "computed", "states / (0.7 of a device's memory)")
    return devices, text_of(
        "states do not fit: ",
        each,
        " a device; take at least ",
        need,
        " of them, or adapters (",
        command("--set model.method=qlora"),
        ")",
    )


def tuning_recipe(draft: Draft, called: str, architecture: Architecture, method: str, held_bytes: float) -> ExactRecipe:
    """Of a supervised tuning by `method`: full, lora or qlora."""
    size = float(parameters(architecture).total)
    rates: PracticeTask = "full" if method == "full" else "lora"

    def chosen(field: str, of: PracticeTask = "full", after: str = "") -> Text:
        return of_choice(draft, choice(of, field, size), after)

    besides: tuple[tuple[Text, Text], ...] = ((text_of("warm-up"), chosen("warmup", after=" of the steps")),)
    if rates == "lora":
        besides += (
            (text_of("adapter scale"), chosen("lora_alpha", "lora")),
            (text_of("adapter dropout"), chosen("lora_dropout", "lora")),
        )
        rank = draft.number("recipe.rank", FineTuning().rank, "count", "assumed", "default of TRL, read in its wheel")
        besides += ((text_of("adapter rank"), text_of(rank, " on every linear layer")),)
    sources = draft.brief.data.sources
    devices, parallelism = split_over(draft, f"tuning.{called}.{method}", held_bytes)
    seed = draft.number("recipe.seed", draft.brief.seed, "count", "assumed", "the brief's seed")
    batch = draft.number(
        "recipe.batch", _BATCH, "count", "assumed", "usual for tens of thousands of examples; sweep it with the rate"
    )
    given = draft.brief.model.sequence_tokens if draft.brief.model is not None else None
    sequence = draft.number(
        "recipe.sequence", given or _SEQUENCE, "token", "assumed", "the brief's, or the usual length"
    )
    return ExactRecipe(
        model=described(draft, called, architecture),
        data=DataPart(
            composition=text_of(name(", ".join(sources))) if sources else text_of("yours, to be named: one set, split by document"),
            tokens=text_of("counted with the model's tokenizer before the first step, the same for each method"),
        ),
        optimisation=OptimisationPart(
            optimiser=chosen("optimiser"),
            learning_rate=chosen("learning_rate", rates, " at its peak"),
            schedule=chosen("schedule"),
            weight_decay=chosen("weight_decay"),
            gradient_clipping=chosen("clip_norm"),
            batch=text_of(batch, " sequences a step, by accumulation where they do not fit"),
            sequence=text_of(sequence),
            precision=text_of("bfloat16 products; what learns has float32 weights and states"),
            seed=text_of(seed),
        ),
        hardware=HardwarePart(devices=devices, parallelism=parallelism, software=text_of(name("trl 1.16.0, peft 0.21, transformers 5"))),
        evaluation=training_evaluation(),
        besides=besides,
    )  # fmt: skip
