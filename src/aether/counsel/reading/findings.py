"""All that was read of one text, before it becomes a request: fields with their words, and the sentences about what does not fit."""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from aether.counsel.reading.crowd import find_batch, find_corpus, find_crowd
from aether.counsel.reading.hardware import Found as Machine
from aether.counsel.reading.hardware import find_hardware
from aether.counsel.reading.intents import Signs, Wanted, find_intent
from aether.counsel.reading.likeness import features, likeness
from aether.counsel.reading.methods import Named, find_methods
from aether.counsel.reading.models import LIKE, ModelNames, find_models
from aether.counsel.reading.now import goals, split_now
from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.places import (
    find_corpora,
    find_files,
    find_modality,
    find_places,
    find_use,
    is_code,
    is_log,
)
from aether.counsel.reading.quantities import Quantity, quantities
from aether.counsel.reading.spoken_times import spoken_times
from aether.counsel.reading.targets import AT_MOST, Bounded, find_latencies, find_other_bounds
from aether.counsel.reading.text import Span, Text, of_a_name
from aether.counsel.reading.topics import find_topics
from aether.counsel.reading.traffic import Field, find_traffic
from aether.counsel.reading.volumes import find_volume

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
    alike: dict[str, float] = field(default_factory=dict)
    """What the text is told apart by, see `likeness`."""


_BETWEEN = Lazy(
    r"[\s,]*(?:or|vs?\.?|versus|against|instead of|rather than|(?:(?:really|much|any|an?|still) )*(?:better|worse|faster|slower|cheaper|more \w+|smarter|stronger)(?: \w+){0,2} than|compared (?:to|with)|beats?|outperforms?)\s+(?:an?\s+|the\s+|to\s+)?"
)


_SIDES = Lazy(r"\b(?:or|vs?\.?|versus|between|against|than)\b")
"""Something may stand beside another."""
_ASKED = Lazy(
    r"^\s*(?:which|what's better|quick q|should (?:i|we))|\b(?:differences?|which (?:one|is|should)|pros and cons|trade-?offs?|prefer|better)\b"
)
_LEADS = Lazy(r"\s*(?:quick q\w*:?|so|hey|which(?: one)?:?|should (?:i|we) use)?\s*")
_OR_ELSE = Lazy(r"\s+(?:or|vs?\.?|versus)\s+(?:an?\s+|the\s+)?[a-z]")
_INSTEAD = Lazy(r"\s*(?:instead of|rather than)")
"""Between two things it drops the second, and compares nothing."""
_BOTH = Lazy(r"\b(?:between|compare|comparing|difference of)\s+(?:an?\s+|the\s+)?$")


def _kinded(kind: str, spans: Iterable[Span]) -> list[tuple[str, Span]]:
    return [(kind, span) for span in spans]


def marks(
    text: Text,
    models: ModelNames,
    machines: list[Machine],
    named: list[Named],
    places: list[tuple[str, Span]],
    amounts: list[Quantity],
) -> list[tuple[Span, str]]:
    """What was read, by kind and place, for the likeness of a text to others."""
    return [
        *((span, "model") for _, span in models.names),
        *((one.span, "here" if one.name == "this-machine" else "machine") for one in machines),
        *((one.span, f"{one.method.family} method") for one in named if not of_a_name(text, one.span)),
        *((span, "code" if is_code(words) else "log" if is_log(words) else "place") for words, span in places),
        *((one.span, one.dimension) for one in amounts),
    ]


def _choice(text: Text, named: list[tuple[str, Span]]) -> str:
    """Of which kind two things are put side by side: "A vs B", "A or B?"; empty where none are."""
    asks = text.plain.rstrip().endswith("?") or _ASKED.search(text.plain) is not None
    opening = text.plain[text.clause(0).end : text.clause(0).end + 1] == "?"
    if asks and any(
        kind == "method" and _LEADS.fullmatch(text.plain, 0, span.start) and _OR_ELSE.match(text.plain, span.end)
        for kind, span in named
    ):
        return "method"  # "mamba or transformer for long context?"
    ordered = sorted(named, key=lambda n: n[1].start)
    for (kind, first), (other, second) in itertools.pairwise(ordered):
        between = _BETWEEN.fullmatch(text.plain, first.end, second.start) if first.end <= second.start else None
        both = (
            first.end <= second.start
            and _BOTH.search(text.plain, 0, first.start)
            and re.fullmatch(r"[\s,]*and\s+(?:an?\s+|the\s+)?", text.plain[first.end : second.start])
        )
        if kind == other and both:
            return kind
        asked = asks or (opening and second.end <= text.clause(0).end) or _LEADS.fullmatch(text.plain, 0, first.start)
        if (
            kind == other
            and between
            and not _INSTEAD.match(between[0])
            and (asked or len(text.plain.split()) <= 8 or "or" not in between[0].split())
        ):
            return kind
    return ""


def _clause_of(text: Text, span: Span) -> tuple[int, int]:
    """From the beginning of a clause to the end of a part of it."""
    return text.clause(span.start).start, span.end


def _without(text: Text, places: Iterable[Span]) -> Text:
    """The text with its paths blotted out: "configs/pretrain.yaml" asks for no pretraining."""
    plain = text.plain
    for span in places:
        plain = f"{plain[: span.start]}{'_' * (span.end - span.start)}{plain[span.end :]}"
    return Text(text.original, plain, text.origin, text.taken)


_OWN_WEIGHTS = ("serve", "finetune", "align", "compress", "continue", "merge", "evaluate")


def _of_a_kind(text: Text, models: ModelNames, intent: str) -> ModelNames:
    """ "a llama-3.1-8b-like model" is another one, whose weights nobody named; to be trained from nothing, it is that architecture."""
    alike = {
        span: Span(span.start, match.end()) for _, span in models.names if (match := LIKE.match(text.plain, span.end))
    }
    if not alike or intent not in _OWN_WEIGHTS:
        return models
    kept = tuple(one for one in models.names if one[1] not in alike)
    return replace(models, names=kept, unknown=(*models.unknown, *alike.values()))


_LONG_S = 3600.0
"""From here on a number of hours is a time of its own, beside which a weekend says nothing."""


def _spoken(text: Text, rest: list[Quantity], today: datetime | None) -> list[Quantity]:
    if any(one.dimension == "time" and one.high >= _LONG_S for one in rest):
        return []
    return spoken_times(text, today)


@dataclass(frozen=True)
class _Named:
    """What a text names."""

    models: ModelNames
    machines: list[Machine]
    methods: list[Named]
    sources: list[tuple[str, Span]]
    subjects: list[tuple[str, Span]]


def _signs(text: Text, said: _Named, rest: list[Quantity], traffic: bool, opens: bool) -> Signs:
    models, machines, found_methods, sources, subjects = vars(said).values()
    tokens = any(q.dimension == "tokens" and q.high >= 1e6 for q in rest)
    named = [(*_kinded("model", (span for _, span in models.names)), *_kinded("machine", (m.span for m in machines)))]
    named = [*named[0], *_kinded("method", (m.span for m in found_methods))]
    plain_topics = not (traffic or tokens or models.names or machines or subjects or sources)
    topics = find_topics(text) if (plain_topics and opens) or _SIDES.search(text.plain) else []
    topics = [(name, span) for name, span in topics if not any(span.overlaps(other) for _, other in named)]
    titled = not (topics or machines or traffic) and any(
        not text.plain[: span.start].strip() and not any(span.overlaps(one.span) for one in found_methods)
        for _, span in find_topics(text)
    )
    named += _kinded("method", (span for _, span in topics))
    named += _kinded("place", (span for _, span in subjects))
    return Signs(
        traffic,
        tokens,
        bool(models.names),
        any(m.wanted for m in found_methods),
        _choice(text, named),
        bool(machines),
        any(is_code(words) for words, _ in subjects),
        bool(sources or subjects),
        any(q.dimension == "memory" for q in rest),
        bool(topics) or titled,
        opens,
        titled,
    )


_CORRECTS = Lazy(
    r"\b(?:sorry|correction|scratch that|make (?:that|it)|i mean|i meant|or rather|no wait|wait no|no,? actually)\b[^.;\d]{0,20}$",
    "sorry|correction|scratch|make|mean|rather|wait|actually",
)


def _as_corrected(text: Text, fields: list[Field]) -> list[Field]:
    """ "2T tokens, sorry, make that 1.5T": what is taken back counts no more."""
    kept: list[Field] = []
    for one in sorted(fields, key=lambda field: field.span.start):
        if _CORRECTS.search(text.plain, max(0, one.span.start - 40), one.span.start):
            kept = [other for other in kept if other.field != one.field]
        kept.append(one)
    return kept


def find(original: str, before: Any = None, today: datetime | None = None) -> Findings:
    """Read a text. `before`: the intent of an earlier request that this one may go on from. `today`: when it is said."""
    text = Text.of(original)
    files = find_files(text)
    machines = find_hardware(text)
    models = find_models(text)
    sources, subjects = (
        sorted([*early, *late], key=lambda place: place[1].start)
        for early, late in zip(files, find_places(text), strict=True)
    )
    found_methods = find_methods(text)
    found = quantities(text)
    places = [*sources, *subjects]
    alike = features(text, marks(text, models, machines, found_methods, places, found))
    crowd, found = find_crowd(text, found)
    wished, now = split_now(text, found)
    bounds, wrong, rest = find_latencies(text, wished, goals(text, wished, now))
    traffic = (
        bool(crowd)
        or any(q.dimension in ("request rate", "users", "money per M tokens", "token rate") for q in rest)
        or bool(bounds)
    )
    said = _Named(models, machines, found_methods, sources, subjects)
    signs = _signs(text, said, rest, traffic, before is None)
    wanted = find_intent(_without(text, (span for _, span in places)), found_methods, signs, likeness(alike))
    intent = wanted.intent if wanted.intent != "unknown" or before is None else before
    training = intent in TRAINING
    models = _of_a_kind(text, models, intent)
    corpus, rest = find_corpus(text, rest) if training else ([], rest)
    sources = [*sources, *(find_corpora(text) if training else ())]
    if intent == "serve" and not crowd:
        crowd, left = find_batch(text, [*rest, *_spoken(text, rest, today)])
        rest = left if crowd else rest
    fields, rest = find_traffic(text, rest, training)
    if intent == "serve":  # "3M tokens in a day" are no corpus
        fields = [one for one in fields if one.field != "model.tokens"]
    fields = _as_corrected(text, [*crowd, *corpus, *fields])
    volume, rest = ([], rest) if training else find_volume(rest, fields)
    fields += volume
    here = any(m.name == "this-machine" for m in machines) or intent == "build"
    more: list[Bounded] = []
    if intent not in ("diagnose", "review", "explain"):  # "dropped to 20k tokens/s" is no wish
        rest += _spoken(text, rest, today) if training else []
        more, rest = find_other_bounds(text, rest, serving=not training, here=here)
    if intent == "diagnose":
        bounds = [bound for bound in bounds if AT_MOST.search(text.plain, *_clause_of(text, bound.span))]
    return Findings(
        text, models, machines, found_methods, wanted, [*bounds, *more], fields, [*rest, *now], sources, subjects,
        find_use(text), find_modality(text), wrong, alike,
    )  # fmt: skip
