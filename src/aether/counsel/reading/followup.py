"""Follow-ups: "what about H200?", "make it 40 req/s", "and with fp8?", "drop the cost target" change only what they name."""

import re
from collections.abc import Iterator

from aether.counsel.reading.findings import Findings
from aether.counsel.reading.methods import methods
from aether.counsel.reading.models import resized
from aether.counsel.reading.numbers import spelled
from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.scaling import scaled
from aether.counsel.reading.targets import LONGEST_S
from aether.counsel.reading.text import Span, negated
from aether.spec.answer import Read, Request
from aether.spec.brief import Brief, Target
from aether.spec.metrics import METRICS

_GOES_ON = Lazy(
    r"^\s*(?:ok(?:ay)?,?\s*|and\b|what about|how about|what if|make it|make that|but\b|now\b|instead|same\b|also\b|with\b|without\b|drop\b|remove\b|relax|tighten|lower\b|raise\b|increase\b|"
    r"decrease\b|double|halve|use\b|try\b|switch|change|set\b|at\b|on\b|only\b|then\b|add\b|allow\b|let'?s\b|suppose\b|say\b|or\b|yes\b|no,|actually\b|could (?:it|we)|can (?:it|we)|would (?:it|that)|does (?:it|that)|forget\b|ignore the\b|keep\b|under\b)"
)
_DROP = Lazy(
    r"\b(?:drop|remove|forget|ignore|without|lift|no)\b[^.;]*?\b(?P<what>cost|price|budget|ttft|first[\s-]token|tpot|itl|inter[\s-]?token|latency|e2e|end[\s-]to[\s-]end|throughput|memory|deadline|time limit|quality)\b[^.;]*?\b(?:target|bound|limit|constraint|requirement|cap|slo)?\b"
)
_COUNT = Lazy(
    r"(?<![\w.])(?P<count>\d{1,6}|one|two|three|four|six|eight|twelve|sixteen|thirty-two|sixty-four)\s+(?:gpus?|devices?|cards?|accelerators?|chips?|of (?:them|those|these))\b"
)
_BARE_COUNT = Lazy(
    r"^\W*(?:(?:ok(?:ay)?|and|but|so|hmm|then|no|actually|well)\W+)*(?:(?:what|how) (?:if|about)|suppose|say|with|could|can|would|will|does|make (?:it|that)|use|try|only|just)\b[^\d.;?]*?"
    r"\b(?:only|just|had|have|got|get|use[d]?|using|were|are|with|on|to|it|that|about|away with|try|make)\s+(?:only\s+|just\s+)?(?P<count>\d{1,5}|one|two|three|four|five|six|seven|eight|ten|twelve|sixteen|thirty-two|sixty-four)"
    r"\s*(?:of (?:them|those|these)|instead|then|left|available)?\s*(?:instead|then)?\s*[?.!]*\s*$"
)
_WITH_COUNT = Lazy(
    r"^\W*(?:(?:ok(?:ay)?|and|but|so|hmm|then|no|actually|well)\W+)*(?:with|on|try|use|using|only|just)\s+(?:only\s+|just\s+)?(?P<count>\d{1,5}|one|two|three|four|five|six|seven|eight|ten|twelve|sixteen|thirty-two|sixty-four)"
    r"\s*(?:of (?:them|those|these))?\s*(?:instead|then)?\s*[?.!]*\s*$"
)
"""A number alone, after devices were spoken of: "what if we had only two?", "and with four?"."""
_MORE = Lazy(r"\badd\b[^.;,]{0,30}$|\b(?:another|(?:one|two|three|four|\d+) (?:more|extra|additional))\b[^.;,]{0,30}$")
"""Before the end of a device's name: that many more of it."""
_WORDS = {"cost": ("cost_per_million_tokens", "build_cost"), "price": ("cost_per_million_tokens", "build_cost"), "budget": ("cost_per_million_tokens", "build_cost"), "deadline": ("build_time",), "time limit": ("build_time",), "memory": ("device_memory", "serving_memory", "training_memory"), "throughput": ("throughput",), "quality": ("bits_per_byte",), "first token": ("ttft",), "inter token": ("itl",), "end to end": ("e2e",)}  # fmt: skip
_CORPUS = 1e9
"""From here on a bare "200B" after a training was spoken of is tokens (assumed)."""
SHORT = 12
"""Words up to which a text without an intent of its own is taken as a follow-up (assumed)."""


_BACK = Lazy(
    r"\b(?:it|that one|this one|them|these|those)\b|^\s*(?:compare|comparison|versus|vs\.?)\s+(?:it\s+)?(?:with|to|against)\b"
)
"""Words that mean what was spoken of before."""


_THANKS = Lazy(
    r"^(?:(?:ok(?:ay)?|thanks?(?: you)?|thx|great|cool|perfect|nice|good|alright|got it|now|next|so|and now)\b[,.!;:\s]*)+"
)
_ASKS = Lazy(
    r"(?:please\s+)?(?:explain|what (?:is|are)\b|how (?:do|does)|serve|deploy|host|pre-?train|fine-?tune|quanti[sz]e|compress|merge|evaluate|compare|diagnose|review|build|align|train)\b"
)


def goes_on(text: str, earlier: Request, states_intent: bool, names_model: bool = False) -> bool:
    """Whether a text goes on from an earlier request instead of opening a new one. One that says nothing of what is to be done
    goes on: it answers what was asked."""
    plain = text.lower().strip()
    if names_model and states_intent and (polite := _THANKS.match(plain)) and _ASKS.match(plain[polite.end() :]):
        return False
    if earlier.intent == "unknown" and not earlier.reads:
        return False
    if not states_intent or (len(plain.split()) <= SHORT and _BACK.search(plain)):
        return True
    return bool(_GOES_ON.match(plain)) or (len(plain.split()) <= SHORT and not _ASKS.match(plain))


def merged(earlier: Request, later: Request, found: Findings) -> Request:
    """The earlier request with what the later one names laid over it."""
    brief = _brief(earlier.brief, later.brief, found)
    plain = found.text.plain
    dropped = _dropped(plain)
    unwanted = {named.method.name for named in found.methods if not named.wanted}
    if re.search(r"\binstead\b", plain):
        kinds = {named.method.family for named in found.methods if named.wanted}
        unwanted |= {name for name in earlier.methods if name not in later.methods and methods()[name].family in kinds}
    targets = [t for t in brief.targets if not any(t.metric == d or t.metric.startswith(f"{d}_") for d in dropped)]
    brief = brief.model_copy(update={"targets": tuple(targets)})
    if later.intent == "compare" and _BACK.search(plain) and (later.brief.hardware or later.brief.model):
        brief = _beside(earlier.brief, brief)
    own_reads = [
        *later.reads,
        *(_reads_of_hardware(found) if later.brief.hardware is None and earlier.brief.hardware else ()),
    ]
    if (count := _with_more(earlier.brief, found)) is not None:
        own_reads = [read for read in own_reads if read.field != "brief.hardware.count"]
        own_reads.append(_read_of(found, "count", count, found.machines[0].span))
    counted = [read.words.split()[0] for read in own_reads if read.field == "brief.hardware.count" and read.words]
    named = {read.field for read in own_reads}
    kept = [
        r
        for r in earlier.reads
        if r.field not in named and not any(r.field.startswith(f"brief.targets.{d}") for d in dropped)
    ]
    own = later.intent if found.wanted.span is not None or earlier.intent == "unknown" else earlier.intent
    return later.model_copy(
        update={
            "intent": own,
            "brief": brief,
            "methods": tuple(dict.fromkeys(m for m in (*earlier.methods, *later.methods) if m not in unwanted)),
            "topics": later.topics or earlier.topics,
            "subjects": later.subjects or earlier.subjects,
            "sought": tuple(dict.fromkeys((*earlier.sought, *later.sought))),
            "reads": (*kept, *own_reads),
            "unread": tuple(words for words in later.unread if not set(counted) & set(words.split())),
        }
    )


def _beside(earlier: Brief, brief: Brief) -> Brief:
    """ "compare it with B": A and B, where B alone was named."""
    update: dict = {}
    if earlier.hardware is not None and brief.hardware is not None:
        first, *others = dict.fromkeys((*earlier.hardware.names, *brief.hardware.names))
        beside = {"name": first, "others": tuple(others)}
        if brief.hardware.count != earlier.hardware.count or brief.hardware.counts or earlier.hardware.counts:
            sides = [side for side in (brief.hardware, earlier.hardware) if all(map(side.is_counted, side.names))]
            beside |= {"counts": {each: side.count_of(each) for side in sides for each in side.names}}
        update["hardware"] = brief.hardware.model_copy(update=beside)
    if earlier.model is not None and earlier.model.name and brief.model is not None and brief.model.name:
        known = (earlier.model.name, *earlier.model.others, brief.model.name, *brief.model.others)
        first, *others = dict.fromkeys(known)
        update["model"] = brief.model.model_copy(update={"name": first, "others": tuple(others)})
    return brief.model_copy(update=update)


def _dropped(plain: str) -> set[str]:
    found: set[str] = set()
    for match in _DROP.finditer(plain):
        what = re.sub(r"[\s-]+", " ", match["what"]).replace("intertoken", "inter token")
        latency = ("ttft", "tpot", "itl", "e2e") if what == "latency" else (what,)
        found |= set(_WORDS.get(what, latency))
    return found


def _brief(earlier: Brief, later: Brief, found: Findings) -> Brief:
    update: dict = {}
    if later.targets:
        fresh = {t.metric: t for t in later.targets}
        update["targets"] = (*(t for t in earlier.targets if t.metric not in fresh), *fresh.values())
    if "load" in later.model_fields_set:
        update["load"] = _laid(earlier.load if "load" in earlier.model_fields_set else None, later.load)
    if later.hardware is not None:
        more = {} if (count := _with_more(earlier, found)) is None else {"count": count}
        update["hardware"] = _laid(earlier.hardware, later.hardware).model_copy(update=more)
    if later.model is not None:
        laid = _laid(earlier.model, later.model)
        update["model"] = (
            laid if later.model.task or earlier.model is None else laid.model_copy(update={"task": earlier.model.task})
        )
    for name in ("intended_use", "modality"):
        if getattr(later, name) is not None:
            update[name] = getattr(later, name)
    if later.data.sources:
        update["data"] = later.data
    if later.hardware is None and earlier.hardware is not None:
        named: dict = {name: value for name, (value, _) in _of_the_hardware(found).items()}
        if "count" in named:
            named["counts"] = {}
        update["hardware"] = earlier.hardware.model_copy(update=named)
    if not later.targets:
        update |= _other_share(earlier, found)
    if not later.targets and (target := _same_latency(earlier, found)) is not None:
        update["targets"] = (*(t for t in earlier.targets if t.metric != target.metric), target)
    tokens = [q for q in found.rest if q.dimension == "parameters" and q.high >= _CORPUS]
    if earlier.model is not None and earlier.model.tokens and len(tokens) == 1 and later.model is None:
        update["model"] = earlier.model.model_copy(update={"tokens": tokens[0].high})  # "make it 200B"
    unnamed = later.model is None or later.model.name is None
    if earlier.model is not None and unnamed and (name := _other_size(earlier.model.name, found)) is not None:
        update["model"] = update.get("model", earlier.model).model_copy(update={"name": name, "others": ()})
    laid = Brief(**{name: getattr(earlier, name) for name in earlier.model_fields_set} | update)
    return scaled(laid, found.text)


def _other_size(name: str | None, found: Findings) -> str | None:
    """ "the 70b instead": the model spoken of before in another size."""
    sizes = [q for q in found.rest if q.dimension == "parameters" and not negated(found.text, q.span.start)]
    return resized(name, sizes[0].high) if name and len(sizes) == 1 else None


_SHARE = Lazy(
    r"\W*(?:(?:and|ok(?:ay)?|actually|no|make (?:it|that)|use|at|the)\W+)*(?P<share>p(?:50|95|99))\W*(?:(?:instead|rather|then|please)\W*)*(?:(?:of|than|not)\W*(?:the\W+)?p\d\d)?\W*"
)


def _other_share(earlier: Brief, found: Findings) -> dict:
    """ "p95 instead of p99": the only latency that was bounded before, at another percentile."""
    bounded = [t for t in earlier.targets if t.metric.startswith(("ttft", "tpot", "itl", "e2e"))]
    said = _SHARE.fullmatch(found.text.plain)
    metric = f"{bounded[0].metric.split('_')[0]}_{said['share']}" if said and len(bounded) == 1 else None
    if metric not in METRICS:
        return {}
    return {"targets": tuple(t.model_copy(update={"metric": metric}) if t in bounded else t for t in earlier.targets)}


def _same_latency(earlier: Brief, found: Findings) -> Target | None:
    """ "make that 750 ms": of the only latency that was bounded before."""
    bounded = [t for t in earlier.targets if t.metric.startswith(("ttft", "tpot", "itl", "e2e"))]
    times = [q for q in found.rest if q.dimension == "time" and 0 < q.high <= LONGEST_S]
    if (
        len(bounded) != 1
        or len(times) != 1
        or not re.search(r"\b(?:make|set|say|at|to|under|within|only|rather|of)\b", found.text.plain)
    ):
        return None
    return bounded[0].model_copy(update={"value": times[0].high})


def _reads_of_hardware(found: Findings) -> Iterator[Read]:
    for name, (value, span) in _of_the_hardware(found).items():
        yield _read_of(found, name, value, span)


def _read_of(found: Findings, name: str, value: float, span: Span) -> Read:
    start, end = found.text.place(span.start), found.text.end(span.end)
    words = found.text.original[start:end]
    return Read(field=f"brief.hardware.{name}", value=f"{value:g}", words=words, start=start, end=end)


def _of_the_hardware(found: Findings) -> dict[str, tuple[float, Span]]:
    """A count or a price that names no device is of the one spoken of before: value and place, by field."""
    prices = [one for one in found.fields if one.field == "hardware.price_usd_per_hour"]
    named: dict[str, tuple[float, Span]] = {}
    if prices:
        named["price_usd_per_hour"] = (prices[0].value, prices[0].span)
    match = (
        _COUNT.search(found.text.plain) or _BARE_COUNT.search(found.text.plain) or _WITH_COUNT.search(found.text.plain)
    )
    if match and (count := float(match["count"]) if match["count"].isdigit() else spelled(match["count"])):
        named["count"] = (round(count), Span(match.start("count"), match.end()))
    return named


def _with_more(earlier: Brief, found: Findings) -> int | None:
    """ "add another L40S", "add two more H100" of the only kind that was spoken of before: how many there are then."""
    names = earlier.hardware.names if earlier.hardware is not None else ()
    if len(found.machines) != 1 or names != (found.machines[0].name,):
        return None
    machine = found.machines[0]
    if earlier.hardware is None or not _MORE.search(found.text.plain, 0, machine.span.end):
        return None
    return earlier.hardware.count + (machine.count or 1)


def _laid(earlier, later):
    """The later noun's given fields over the earlier one's. Naming one model or device takes the others away."""
    if earlier is None:
        return later
    given = {name: getattr(later, name) for name in later.model_fields_set}
    kept = {name: getattr(earlier, name) for name in earlier.model_fields_set}
    if "counts" in kept:
        names = (given.get("name"), *given.get("others", ()))
        kept["counts"] = {n: c for n, c in kept["counts"].items() if n in names and "count" not in given}
    return type(later)(**kept | given)
