"""The recipe of an answer: everything that must be the same for a result to come out the same. None of it may be left out.

`ExactRecipe` does not validate with an empty field, so that an answer which forgot the learning rate or the evaluation cannot
be rendered. A field that does not apply says so in words ("none: no weight is changed").
"""

from typing import Annotated

from pydantic import Field

from aether.counsel.answers.draft import Draft, name
from aether.models.accounting import parameters
from aether.spec.architecture import Architecture, Attention, Experts, LatentAttention
from aether.spec.base import Noun
from aether.spec.evidence import Kind
from aether.spec.report import Block, Facts, Text, text_of

Filled = Annotated[Text, Field(min_length=1)]


class ModelPart(Noun):
    """The model's exact configuration."""

    model: Filled
    hidden_size: Filled
    layers: Filled
    heads: Filled
    vocabulary: Filled
    parameters: Filled


class DataPart(Noun):
    """What is learnt from, in which proportions, how much."""

    composition: Filled
    tokens: Filled


class OptimisationPart(Noun):
    """How weights change."""

    optimiser: Filled
    learning_rate: Filled
    schedule: Filled
    weight_decay: Filled
    gradient_clipping: Filled
    batch: Filled
    sequence: Filled
    precision: Filled
    seed: Filled


class HardwarePart(Noun):
    """What it runs on and how it is split."""

    devices: Filled
    parallelism: Filled
    software: Filled


class EvaluationPart(Noun):
    """How it is judged."""

    measured_on: Filled
    method: Filled
    decided_by: Filled


class ExactRecipe(Noun):
    """The five parts without which a result cannot be made again."""

    model: ModelPart
    data: DataPart
    optimisation: OptimisationPart
    hardware: HardwarePart
    evaluation: EvaluationPart
    besides: tuple[tuple[Text, Text], ...] = ()
    """More hyperparameters: names and values."""

    def blocks(self) -> tuple[Block, ...]:
        """The recipe for a page."""
        parts = {
            "Model": self.model,
            "Data": self.data,
            "Optimisation": self.optimisation,
            "Hardware and parallelism": self.hardware,
            "Evaluation": self.evaluation,
        }
        found: list[Block] = []
        for title, part in parts.items():
            rows = _grouped(part)
            if part is self.optimisation:
                rows += self.besides
            found.append(Facts(title=title, facts=tuple(rows)))
        return tuple(found)


def _grouped(part: Noun) -> list[tuple[Text, Text]]:
    """Names and values; fields in a row with the same value stand together."""
    rows: list[tuple[list[str], Text]] = []
    for field in type(part).model_fields:
        value = getattr(part, field)
        if rows and rows[-1][1] == value:
            rows[-1][0].append(field.replace("_", " "))
        else:
            rows.append(([field.replace("_", " ")], value))
    return [(text_of(", ".join(names)), value) for names, value in rows]


UNTRAINED = OptimisationPart(
    **dict.fromkeys(
        ("optimiser", "learning_rate", "schedule", "weight_decay", "gradient_clipping", "batch", "sequence"),
        text_of("none: no weight is trained"),
    ),
    precision=text_of("as the weights are stored"),
    seed=text_of("none: nothing is drawn"),
)


def untrained(precision: Text, seed: Text) -> OptimisationPart:
    """The part of a recipe that trains nothing."""
    return UNTRAINED.model_copy(update={"precision": precision, "seed": seed})


def model_part(draft: Draft, called: str, architecture: Architecture, kind: Kind, source: str) -> ModelPart:
    """The configuration of a known architecture, every number with its source."""
    step = f"model.{called}"

    def number(field: str, value: float, unit: str = "count") -> Text:
        return text_of(draft.number(f"{step}.{field}", value, unit, kind, source))

    counts = parameters(architecture)
    total = draft.number(
        f"{step}.parameters", counts.total, "parameter", "computed", f"counted from the configuration: {source}"
    )
    size: Text = text_of(total)
    if counts.active != counts.total:
        active = draft.number(
            f"{step}.active", counts.active, "parameter", "computed", "counted from the configuration"
        )
        size = text_of(total, ", of which a token uses ", active)
    return ModelPart(
        model=text_of(name(called)),
        hidden_size=number("hidden", architecture.hidden_size),
        layers=number("layers", architecture.layers),
        heads=_heads(draft, step, architecture, kind, source),
        vocabulary=number("vocabulary", architecture.vocab_size, "entries"),
        parameters=size,
    )


def _heads(draft: Draft, step: str, architecture: Architecture, kind: Kind, source: str) -> Text:
    mixers = [group.mixer for group in architecture.groups]
    attention = next((mixer for mixer in mixers if isinstance(mixer, Attention | LatentAttention)), None)
    if attention is None:
        return text_of("none: recurrent layers")
    heads = draft.number(f"{step}.heads", attention.heads, "count", kind, source)
    found: Text = text_of(heads, " latent") if isinstance(attention, LatentAttention) else text_of(heads)
    if isinstance(attention, Attention):
        shared = draft.number(f"{step}.kv-heads", attention.kv_heads, "count", kind, source)
        size = draft.number(f"{step}.head-size", attention.head_size, "count", kind, source)
        found = text_of(heads, " of ", size, " for queries, ", shared, " for keys and values")
    experts = next((group.mlp for group in architecture.groups if isinstance(group.mlp, Experts)), None)
    if experts is not None:
        count = draft.number(f"{step}.experts", experts.count, "count", kind, source)
        active = draft.number(f"{step}.active-experts", experts.active, "count", kind, source)
        found = (*found, *text_of("; ", active, " of ", count, " experts a token"))
    return found
