"""All that was read of one text, before it becomes a request: fields with their words, and the sentences about what does not fit."""

from dataclasses import dataclass, field
from typing import Any

from aether.counsel.reading.hardware import Found as Machine
from aether.counsel.reading.hardware import find_hardware
from aether.counsel.reading.intents import Wanted, find_intent
from aether.counsel.reading.methods import Named, find_methods
from aether.counsel.reading.models import ModelNames, find_models
from aether.counsel.reading.places import find_modality, find_places, find_use
from aether.counsel.reading.quantities import Quantity, quantities
from aether.counsel.reading.targets import Bounded, find_latencies, find_other_bounds
from aether.counsel.reading.text import Span, Text
from aether.counsel.reading.traffic import Field, find_traffic

TRAINING = ("pretrain", "continue", "finetune", "align", "build")


@dataclass
class Findings:
    """What a text says, in parts."""

    text: Text
    models: ModelNames
    machines: list[Machine]
    methods: list[Named]
    wanted: Wanted
    bounds: list[Bounded] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    rest: list[Quantity] = field(default_factory=list)
    sources: list[tuple[str, Span]] = field(default_factory=list)
    subjects: list[tuple[str, Span]] = field(default_factory=list)
    use: tuple[str, Span] | None = None
    modality: tuple[str, Span] | None = None
    wrong: list[str] = field(default_factory=list)


def find(original: str, before: Any = None) -> Findings:
    """Read a text. `before`: the intent of an earlier request that this one may go on from."""
    text = Text.of(original)
    machines = find_hardware(text)
    models = find_models(text)
    sources, subjects = find_places(text)
    found_methods = find_methods(text)
    found = quantities(text)
    bounds, wrong, rest = find_latencies(text, found)
    traffic = any(q.dimension in ("request rate", "users", "money per M tokens", "token rate") for q in rest) or bool(
        bounds
    )
    tokens = any(q.dimension == "tokens" and q.high >= 1e6 for q in rest)
    wanted = find_intent(text, found_methods, traffic, tokens, bool(models.names))
    intent = wanted.intent if wanted.intent != "unknown" or before is None else before
    training = intent in TRAINING
    fields, rest = find_traffic(text, rest, training)
    here = any(m.name == "this-machine" for m in machines) or intent == "build"
    more, rest = find_other_bounds(text, rest, serving=not training, here=here)
    return Findings(
        text, models, machines, found_methods, wanted, [*bounds, *more], fields, rest, sources, subjects,
        find_use(text), find_modality(text), wrong,
    )  # fmt: skip
