"""All that was read of one text, before it becomes a request: fields with their words, and the sentences about what does not fit."""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from aether.counsel.reading.hardware import Found as Machine
from aether.counsel.reading.hardware import find_hardware
from aether.counsel.reading.intents import Signs, Wanted, find_intent
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


_BETWEEN = re.compile(
    r"[\s,]*(?:or|vs\.?|versus|against|instead of|rather than|(?:really |much |any )?(?:better|worse|faster|slower|cheaper) than|compared (?:to|with))\s+(?:an?\s+|the\s+|to\s+)?"
)


_BOTH = re.compile(r"\b(?:between|compare|comparing|difference of)\s+(?:an?\s+|the\s+)?$")


def _kinded(kind: str, spans: Iterable[Span]) -> list[tuple[str, Span]]:
    return [(kind, span) for span in spans]


def _is_choice(text: Text, named: list[tuple[str, Span]]) -> bool:
    """Whether two things of a kind are put side by side: "A vs B", "A or B?"."""
    asks = text.plain.rstrip().endswith("?") or re.match(r"\s*(?:which|what's better|quick q)", text.plain) is not None
    ordered = sorted(named, key=lambda n: n[1].start)
    for (kind, first), (other, second) in itertools.pairwise(ordered):
        between = _BETWEEN.fullmatch(text.plain, first.end, second.start) if first.end <= second.start else None
        both = (
            first.end <= second.start
            and _BOTH.search(text.plain, 0, first.start)
            and re.fullmatch(r"[\s,]*and\s+(?:an?\s+|the\s+)?", text.plain[first.end : second.start])
        )
        if kind == other and both:
            return True
        if kind == other and between and (asks or len(text.plain.split()) <= 8 or "or" not in between[0].split()):
            return True
    return False


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
    named = [(*_kinded("model", (span for _, span in models.names)), *_kinded("machine", (m.span for m in machines)))]
    named = [*named[0], *_kinded("method", (m.span for m in found_methods))]
    signs = Signs(
        traffic,
        tokens,
        bool(models.names),
        any(m.wanted for m in found_methods),
        _is_choice(text, named),
        bool(machines),
    )
    wanted = find_intent(text, found_methods, signs)
    intent = wanted.intent if wanted.intent != "unknown" or before is None else before
    training = intent in TRAINING
    fields, rest = find_traffic(text, rest, training)
    here = any(m.name == "this-machine" for m in machines) or intent == "build"
    more, rest = find_other_bounds(text, rest, serving=not training, here=here)
    return Findings(
        text, models, machines, found_methods, wanted, [*bounds, *more], fields, rest, sources, subjects,
        find_use(text), find_modality(text), wrong,
    )  # fmt: skip
