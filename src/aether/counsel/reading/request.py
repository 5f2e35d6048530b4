"""From free text to a `Request`: each part is found by its own grammar, then put together, with what contradicts and what is left over.

No language model, no guess that is not shown: every field names the words that it was read from. Never raises.
"""

import re
from datetime import datetime

from pydantic import ValidationError

from aether.counsel.reading.asked import sought
from aether.counsel.reading.contradictions import contradictions
from aether.counsel.reading.findings import Findings, find
from aether.counsel.reading.followup import goes_on, merged
from aether.counsel.reading.hardware import Found as Machine
from aether.counsel.reading.leftover import unread
from aether.counsel.reading.methods import Named
from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.pricing import prices_apart
from aether.counsel.reading.targets import AT_MOST, Bounded
from aether.counsel.reading.text import Span, Text
from aether.counsel.reading.topics import find_topics
from aether.counsel.reading.traffic import Field
from aether.knowledge.topics import heads
from aether.spec.answer import Intent, Read, Request
from aether.spec.brief import Brief, Data, Hardware, Load, ModelChoice, Target
from aether.spec.errors import InputError
from aether.spec.metrics import METRICS
from aether.spec.units import humanize

_TASKS = {"serve": "serve", "pretrain": "pretrain", "continue": "pretrain", "finetune": "finetune", "align": "finetune"}


def read_request(text: str, earlier: Request | None = None, today: datetime | None = None) -> Request:
    """The request that `text` states; with `earlier`, a follow-up changes only what it names. Pure, and under a tenth of a second.

    "by Friday" is a length of time only with `today`, when it is said; without it, such a date is unread."""
    found = find(text, None, today)
    follows = earlier is not None and goes_on(text, earlier, found.wanted.span is not None, bool(found.models.names))
    if follows and earlier is not None and earlier.intent != "unknown":
        found = find(text, earlier.intent, today)
    request = _assembled(text, found, earlier.intent if follows and earlier else None)
    return merged(earlier, request, found) if follows and earlier is not None else request


class _Reader:
    """Collects fields with the words that they were read from."""

    def __init__(self, found: Findings) -> None:
        self.text = found.text
        self.reads: list[Read] = []
        self.failed: list[str] = []

    def read(self, field: str, value: str, span: Span | None) -> None:
        start, end = (self.text.place(span.start), self.text.end(span.end)) if span else (0, 0)
        self.reads.append(Read(field=field, value=value, words=self.text.original[start:end], start=start, end=end))


def _assembled(original: str, found: Findings, before: Intent | None) -> Request:
    reader = _Reader(found)
    intent = found.wanted.intent if found.wanted.intent != "unknown" or before is None else before
    if found.wanted.intent != "unknown":
        reader.read("intent", found.wanted.intent, found.wanted.span)
    brief = _brief(reader, found, intent)
    longer = find_topics(found.text) if intent in ("explain", "compare") else []
    wanted = [named for named in found.methods if named.wanted and not _is_part(found.text, named, longer)]
    for named in wanted:
        reader.read("methods", named.method.name, named.span)
    _, subjects = _places(found, intent)
    for words, span in subjects:
        reader.read("subjects", words, span)
    names = tuple(dict.fromkeys(named.method.name for named in wanted))
    topics = _topics(found, wanted, longer) if intent in ("explain", "compare") else ()
    if not names and intent == "compare":
        for topic in topics:
            reader.read("topics", topic, None)
    return Request(
        text=original,
        intent=intent,
        brief=brief,
        methods=names,
        topics=topics,
        subjects=tuple(dict.fromkeys(words for words, _ in subjects)),
        sought=sought(found.text.plain, [(one.span.start, one.span.end) for one in found.machines]),
        reads=tuple(reader.reads),
        contradictions=(*found.wrong, *contradictions(found, intent)),
        unread=tuple(dict.fromkeys([*reader.failed, *unread(found)])),
    )


def _brief(reader: _Reader, found: Findings, intent: Intent) -> Brief:
    parts = {
        "targets": _targets(reader, found.bounds),
        "load": _load(reader, found),
        "hardware": _hardware(reader, found),
        "model": _model(reader, found, intent),
        "data": _data(reader, found, intent),
    }
    given = {name: part for name, part in parts.items() if part is not None and part != ()}
    if (bound := _quality_loss(found)) is not None:
        reader.read("brief.quality_loss_bound", f"{bound[0]:.3g}", bound[1])
        given["quality_loss_bound"] = bound[0]
    if found.use is not None:
        reader.read("brief.intended_use", found.use[0], found.use[1])
        given["intended_use"] = found.use[0]
    if found.modality is not None and intent == "build":
        reader.read("brief.modality", *found.modality)
        given["modality"] = found.modality[0]
    return Brief(**given)


def _quality_loss(found: Findings) -> tuple[float, Span] | None:
    """ "lose at most 1 % of quality"."""
    for quantity in found.rest:
        near = _around(found, quantity.span)
        loses = re.search(
            r"\b(?:los\w+|drop\w*|degrad\w+|worse|regress\w*|hit|increase\w*|rise|ris(?:es|ing)|decrease\w*|decline|penalty|fall(?:s|ing)?|fell|points? off|giv(?:e|ing) up|sacrific\w+)\b",
            near,
        ) and (
            re.search(r"\b(?:quality|accuracy|perplexity|ppl|score)\b", near)
            or (found.wanted.intent == "compress" and (AT_MOST.search(near) or _MAY_LOSE.search(near)))
        )
        if quantity.dimension == "share" and 0 < quantity.high < 1 and loses:
            return quantity.high, quantity.span
    return None


_MAY_LOSE = Lazy(
    r"\b(?:may|can|could|allowed to|ok(?:ay)? to|fine to|willing to|prepared to)\s+(?:lose|drop|cost|give up|sacrifice)\b",
    "lose|drop|cost|give|sacrifice",
)


def _around(found: Findings, span: Span) -> str:
    clause = found.text.clause(span.start)
    return f"{found.text.plain[max(clause.start, span.start - 40) : span.start]}|{found.text.plain[span.end : min(clause.end, span.end + 25)]}"


def _targets(reader: _Reader, bounds: list[Bounded]) -> tuple[Target, ...]:
    kept: dict[str, Target] = {}
    for bound in bounds:
        metric = METRICS[bound.metric]
        try:
            target = Target.model_validate(
                {"metric": bound.metric, "comparison": "<=" if metric.better == "lower" else ">=", "value": bound.value}
            )
        except (InputError, ValidationError):
            reader.failed.append(reader.text.words(bound.span))
            continue
        if bound.metric in kept:
            continue  # the contradiction says the second one
        kept[bound.metric] = target
        said = f"{target.comparison} {humanize(target.value, target.unit)}" + (
            f" ({bound.assumed})" if bound.assumed else ""
        )
        reader.read(f"brief.targets.{bound.metric}", said, bound.span)
    return tuple(kept.values())


def _load(reader: _Reader, found: Findings) -> Load | None:
    given: dict[str, float] = {}
    for field in found.fields:
        section, _, name = field.field.partition(".")
        if section == "load" and name not in given:
            given[name] = int(field.value) if name.endswith("_tokens") else field.value
            reader.read(f"brief.{field.field}", field.said, field.span)
    return Load(**given) if given else None  # type: ignore[arg-type]


def _hardware(reader: _Reader, found: Findings) -> Hardware | None:
    prices = [f for f in found.fields if f.field == "hardware.price_usd_per_hour"]
    if not found.machines:
        return None
    names = list(dict.fromkeys(one.name for one in found.machines))
    if len(names) > 1 and "this-machine" in names:
        names.remove("this-machine")
    given: dict = {"name": names[0], "others": tuple(names[1:])}
    for one in found.machines:
        reader.read("brief.hardware.name", one.name, one.span)
    counts = [one for one in found.machines if one.count is not None]
    if _counted_apart(found.machines):
        given["counts"] = {one.name: one.count for one in reversed(counts)}  # "4 H200 or 8 L40S": a count for each
        for one in counts:
            reader.read(f"brief.hardware.counts.{one.name}", str(one.count), one.span)
    elif counts:
        given["count"] = counts[0].count
        reader.read("brief.hardware.count", str(counts[0].count), counts[0].span)
    own = prices_apart(found)
    if own:
        given["prices_usd_per_hour"] = {name: price.value for name, price in own.items()}
        for name, price in own.items():
            reader.read(f"brief.hardware.prices_usd_per_hour.{name}", price.said, price.span)
    elif prices:
        price, said = _of_a_device(found, prices[0])
        given["price_usd_per_hour"] = price
        reader.read("brief.hardware.price_usd_per_hour", said, prices[0].span)
    return Hardware(**given)


_DEVICE = Lazy(r"\b(?:gpu|device|card|accelerator|chip|each|apiece)\b")


def _of_a_device(found: Findings, price: Field) -> tuple[float, str]:
    """The price of one device in an hour: what is said of a whole machine ("a p5.48xlarge at $98.32/h") is that of its devices together."""
    each = found.machines[0].each
    clause = found.text.plain[price.span.start : price.span.end + 16]
    if each == 1 or _DEVICE.search(clause):
        return price.value, price.said
    return price.value / each, f"{price.said} / {each} = {price.value / each:.6g} USD/h a device"


def _counted_apart(machines: list[Machine]) -> bool:
    """Whether counts are of one device each: "4 H200 or 8 L40S", "H100 or 4 B200"; those of "8 A100 or H100" are of both."""
    counts = [one for one in machines if one.count is not None]
    if len({one.count for one in counts}) > 1 and len({one.name for one in counts}) > 1:
        return True
    first = machines[0]
    return (
        bool(counts)
        and first.name != "this-machine"
        and first.count is None
        and all(one.name != first.name for one in counts)
    )


def _model(reader: _Reader, found: Findings, intent: Intent) -> ModelChoice | None:
    names = list(dict.fromkeys(name for name, _ in found.models.names))
    given: dict = {}
    if names:
        given |= {"name": names[0], "others": tuple(names[1:])}
        for name, span in found.models.names:
            reader.read("brief.model.name", name, span)
    for field in found.fields:
        section, _, name = field.field.partition(".")
        if section == "model" and name not in given:
            given[name] = int(field.value) if name == "sequence_tokens" else field.value
            reader.read(f"brief.{field.field}", field.said, field.span)
    formats = _formats(found.methods)
    if formats and (names or intent in ("serve", "compress", "pretrain", "continue", "finetune")):
        given["formats"] = tuple(dict.fromkeys(named.method.format for named in formats))
        for named in formats:
            reader.read("brief.model.formats", str(named.method.format), named.span)
    adapters = sorted(
        (n for n in found.methods if n.wanted and n.method.name in ("lora", "qlora")), key=lambda n: n.method.name
    )
    for named in adapters[-1:]:
        if intent in ("finetune", "align"):
            given["method"] = named.method.name
            reader.read("brief.model.method", named.method.name, named.span)
    here = any(one.name == "this-machine" for one in found.machines)
    if not given or (not names and here and intent == "build"):
        return None
    if intent in _TASKS:
        given["task"] = _TASKS[intent]
        reader.read("brief.model.task", _TASKS[intent], found.wanted.span)
    return ModelChoice(**given)


def _formats(named: list[Named]) -> list[Named]:
    return [one for one in named if one.wanted and one.method.format]


def _data(reader: _Reader, found: Findings, intent: Intent) -> Data | None:
    sources, _ = _places(found, intent)
    if not sources or intent in ("serve", "explain"):
        return None
    for words, span in sources:
        reader.read("brief.data.sources", words, span)
    return Data(sources=tuple(dict.fromkeys(words for words, _ in sources)))


def _places(found: Findings, intent: Intent) -> tuple[list[tuple[str, Span]], list[tuple[str, Span]]]:
    """(data to learn from, files and runs to look at): a review looks at what it names, and a pattern of code is text to learn from."""
    if intent in ("review", "diagnose", "compare", "merge"):
        return [], [*found.subjects, *found.sources]
    if intent in ("build", "pretrain", "continue", "finetune"):
        patterns = [place for place in found.subjects if "*" in place[0]]
        return [*found.sources, *patterns], [place for place in found.subjects if place not in patterns]
    return found.sources, found.subjects


_ABOUT = Lazy(
    r"(?:explain|what(?:'s| is| are)(?: an?| the)?|how (?:does|do|is|are)|why (?:does|do|is|are)|tell me about|teach me(?: about)?|define|describe|introduction to|intro to|when (?:should|would) i use|"
    r"difference between|help me understand)\s+(?:the |an? )?(?:people |we |you |they |one |models |llms )?(?:use |do |need )?(?P<topic>[^?.,;\n]{2,80}?)(?:\s+(?:work|works|mean|means|matter|help|helps|to me|in simple terms|like i'm five|do)\b.*)?\s*(?:[?.,;\n]|$)"
)


_MORE_OF_A_NAME = Lazy(r"(?:\+{1,2}|[ -]?v?\d+(?:\.\d+)?)(?![\w%.]|\s*(?:bits?|steps?|gpus?|x)\b)")
"""After a technique's name it makes another one of it: "LoRA+", "FlashAttention-4"."""


def _is_part(text: Text, named: Named, topics: list[tuple[str, Span]]) -> bool:
    """Whether a technique's name is a part of a longer one, that of a topic: "GRPO" of "Dr. GRPO"; or of one that is on no page."""
    span = named.span
    longer = any(
        name != named.method.name
        and o.start <= span.start
        and span.end <= o.end
        and (o.end - o.start > span.end - span.start or named.method.name in heads())  # "Mamba-2" has a page of its own
        for name, o in topics
    )
    return longer or _of_another(text, named) is not None


def _of_another(text: Text, named: Named) -> Span | None:
    more = _MORE_OF_A_NAME.match(text.plain, named.span.end)
    if more is None or (more[0][0] == " " and len(text.plain.split()) > _FEW):
        return None
    if any(text.plain[: more.end()].endswith(words) for words in named.method.spellings):
        return None  # "deepspeed zero-3"
    return Span(named.span.start, more.end())


_FEW = 5
"""Words of a text in which a number after a technique's name is taken as a part of the name."""


def _topics(found: Findings, wanted: list[Named], known: list[tuple[str, Span]]) -> tuple[str, ...]:
    """Named methods, and topics apart from them, in their order; else the words that are asked about, for the lookup of `explain`."""
    others = [span for named in found.methods if (span := _of_another(found.text, named))]
    said = [(named.method.name, named.span) for named in wanted]
    said += [
        (found.text.words(span), span)
        for span in others
        if not any(span.overlaps(one) for _, one in known if one.end >= span.end)
    ]
    put_aside = [named.span for named in found.methods if not named.wanted]
    said += [
        (name, span)
        for name, span in known
        if not any(span.overlaps(one) for one in (*put_aside, *(s for _, s in said)))
    ]
    if said:
        return tuple(dict.fromkeys(name for name, _ in sorted(said, key=lambda one: one[1].start)))
    match = _ABOUT.search(found.text.plain)
    if match is None or (found.wanted.intent == "compare" and (found.machines or found.models.names)):
        return ()
    span = Span(match.start("topic"), match.end("topic"))
    return tuple(
        part.strip() for part in re.split(r"\s+(?:and|vs\.?|versus|or)\s+", found.text.words(span)) if part.strip()
    )
