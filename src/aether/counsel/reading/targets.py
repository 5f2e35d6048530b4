"""Bounds that a text puts on what is built: latencies by percentile, throughput, memory, cost, time, quality.

A quantity takes its metric from the words nearest to it in its clause that no other quantity has taken; a percentile without a
metric goes on with the last metric. A latency without a percentile is read as its p99, the careful end, and the reading says so.
"""

import re
from collections.abc import Set
from dataclasses import dataclass, replace

from aether.counsel.reading.numbers import spelled
from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.quantities import Quantity
from aether.counsel.reading.text import Span, Text
from aether.spec.metrics import METRICS

_FIRST = r"(?:very\s+)?first[\s-](?:tokens?|words?|bytes?|characters?|letters?|chunks?)"
_WAIT = r"(?:time|latency|delay|wait|gap|pause)"
_STARTS = r"(?:must|should|shall|can|has to|have to|needs? to|to)\s+(?:start|begin|appear)(?:\s+(?:to\s+)?[a-z]+)?(?=\s+(?:with)?in\b|\s+(?:under|after|before|no later|at most))"
_ANSWERS = r"(?:answers?|responses?|replies|requests?|calls?)\s+(?:(?:should|must|may|can|do|does|need)(?:n['o]?t| not)?\s+)?(?:to\s+)?(?:take|last|finish|complete|be (?:done|complete|finished|back))"
_LATENCY = {
    "ttft": rf"ttfts?|ttfb|(?:{_WAIT}[\s-](?:to|until|till|before|for)[\s-](?:the[\s-])?)?{_FIRST}|prefill(?=\s+(?:latency|time))|{_STARTS}",
    "tpot": rf"tpot|{_WAIT}[\s-](?:per|for each|of each)[\s-](?:(?:output|generated)[\s-])?token|per[\s-](?:output[\s-])?token(?=[\s-]+(?:latency|time|delay))|(?:ms|milliseconds?|seconds?)\s+per\s+(?:output\s+)?token",
    "itl": rf"itl|tbt|inter[\s-]?token|(?:{_WAIT}\s+)?between\s+(?:the\s+|two\s+)?(?:tokens|words)|token[\s-]to[\s-]token|decode(?=\s+(?:latency|time))",
    "e2e": rf"(?:no|not (?:one|a single)|no single)\s+(?:requests?|answers?|repl(?:y|ies)|responses?|calls?|quer(?:y|ies))\s+(?:(?:may|should|must|can|is|be|takes?)\s+)*(?:slower|longer|later|more)\s+than|e2e|end[\s-]to[\s-]end(?:\s+response)?|(?:total|overall|whole)\s+(?:latency|time)|time[\s-]to[\s-](?:the[\s-])?last[\s-]token|turn[\s-]?around|round[\s-]trips?|(?:full|whole|complete)\s+(?:response|answer|request|reply)|(?:response|reply)\s+times?|request\s+latency|latency|latencies|respond|answers?\s+(?:within|in|under)|(?:be\s+)?(?:finished|complete|completed|done|fully there)\s+(?:within|in|under|after)|{_ANSWERS}",
}
_METRIC = Lazy(
    "|".join(
        rf"(?P<{name}>(?<![\w-])(?:{words})(?:[\s-]+(?:latency|latencies|times?|delay|gap))?(?![a-z]|\d{{3}}|[\w]$))"
        for name, words in _LATENCY.items()
    )
)
_PERCENT = r"50|7[05]|8[05]|9[0589]|99\.\d+"
_SPOKEN = rf"{_PERCENT}|fifty|eighty|ninety(?:[- ](?:five|eight|nine))?"
_THINGS = r"(?:the\s+|all\s+|our\s+|my\s+)?(?:first\s+)?(?!load\b|traffic\b|memory\b|gpus?\b|capacity\b|budget\b|peak\b)[a-z]+"
_SHARE = Lazy(
    rf"(?:(?<=ttft)|(?<=tpot)|(?<=itl)|(?<=e2e))p?(?P<glued>{_PERCENT})(?!\w|\.\d)|(?<![\w.])(?:p[\s-]?(?P<p>{_PERCENT})(?!\w|\.\d)|\(\s*(?P<bracket>{_PERCENT})\s*(?:th|st|%)\s*\)|"
    rf"(?P<hundred>{_SPOKEN})\s*(?:in|of|out of) (?:a |every )?(?:100|hundred)\b(?!\s*(?:users|requests|cases))|(?P<ten>[89]|eight|nine)\s*(?:in|of|out of) (?:every )?(?:10|ten)\b|"
    rf"(?P<th>{_SPOKEN})\s*(?:th|st|-?%)?[\s-]*(?:percentile|pctl|pct|%ile|ile)|(?P<bare>{_PERCENT})(?:th|st)\b(?!\s+(?:of|percent|street|time))|"
    rf"(?:(?:in|for|of|with)\s+)?(?P<of>{_SPOKEN})\s*(?:%|percent|per cent|(?:in|of|out of) (?:a )?(?:100|hundred))\s+(?:of\s+{_THINGS}|(?:cases|(?:[a-z]+\s+)?(?:requests?|users?|calls?|queries|prompts?|answers?|responses?|replies|customers?|people|chats?|messages?|hits)|times?)\b)|"
    r"(?P<median>(?<!rps )(?<!qps )(?<!/s )(?<!/sec )(?<!second )(?:median|typical|average|avg|mean))\b(?!\s*(?:of\s*|about\s*)?\d[\d.,]*\s*k?\s*(?:rps|qps|req|requests|queries|tok|tokens|users)))"
)
_PER_TOKEN = Lazy(r"\s*(?:per|/|a|each)\s*(?:output\s+|generated\s+)?tok(?:en)?s?\b")
AT_LEAST = Lazy(
    r"(?:>=?|\+|\b(?:at[\s-]least|no less than|not less than|more than|over|above|exceed(?:s|ing)?|min(?:imum)?(?: of)?|or more|or better|or higher|upwards of|north of|greater than)\b)"
)
AT_MOST = Lazy(
    r"(?:<=?|\bsub-?|\b(?:at[\s-]most|no more than|not more than|less than|under|below|within|max(?:imum)?(?: of)?|up to|or less|or under|or faster|or below|cap(?:ped)?(?: at| of)?|ceiling of|limit(?:ed)?(?: of| to)?|budget|stay(?:s)? (?:under|below)|not exceed|tops|faster than|cheaper than|better than|smaller than|lighter than|shorter than|no (?:later|slower|longer|higher|greater) than|not (?:above|over|beyond|later than|longer than)|(?:n't|not) (?:take|be|exceed|go)(?: (?:longer|more|above|over|higher|slower)(?: than)?)?|at the (?:most|latest))\b)"
)


LONGEST_S = 600.0
"""A longer time bounds no latency (assumed)."""


@dataclass(frozen=True)
class Bounded:
    """A target, as "ttft_p99 <= 0.5 s" parts, with where it was read and what was assumed."""

    metric: str
    value: float
    span: Span
    assumed: str = ""


_LOWER_TOO = Lazy(r"(?:and|but|or|yet)\s+(?:at least|no less than|more than|over|above|min(?:imum)?)\s*$")
"""A second bound on the metric that was just named."""


@dataclass
class _State:
    metric: str | None = None
    share: str | None = None
    at: int | None = None
    used: list[Span] | None = None
    goals: Set[Quantity] = frozenset()


_CORRECTS = Lazy(r"\b(?:actually|sorry|correction|i mean|or rather|make that|no,|scratch that|better)\b[^.;]{0,25}$")
_IS_NOW = Lazy(
    r"\b(?:currently|at present|at the moment|right now|today|so far|as of now|we (?:see|get|have|measured?)|measured|observed|went from|up from|down from)\b[^,;.]{0,40}$"
)
"""Before a time it makes it what is there already, and no bound."""
_BY_IT = Lazy(r"\s*(?:to|for|until|till)?\s*(?:the\s+)?")
_AND = Lazy(r"[^,;.\d]{0,25}\b(?:and|&)\b[^,;.\d]{0,30}")
"""Joins a second metric to a first: it has the same percentile."""


_NOT_MORE = Lazy(
    r"(?:n't|\bnot|\bnever|\bnobody|\bno one|\bno (?:requests?|answers?|repl(?:y|ies)|responses?|calls?|quer(?:y|ies)|users?))\b[^,.;]{0,25}\b(?:more|longer|over|above)(?:\s+than)?\s*$"
)
"""Before a time: "should not wait more than"."""


_OF_THE_TIME = Lazy(
    r"[^,;.\d]{0,12},\s*(?:for\s+|in\s+)?\d\d(?:\.\d)?\s*(?:%|percent|per cent)\s+of\s+(?:the\s+)?(?:time|requests|cases|answers|calls)\b",
    "of",
)
"""After a time: "4 seconds in total, 95 percent of the time"."""


def find_latencies(
    text: Text, found: list[Quantity], goals: Set[Quantity] = frozenset()
) -> tuple[list[Bounded], list[str], list[Quantity]]:
    """Latency targets; contradictions as sentences; the quantities that are left. `goals`: times that are wanted in the place of one that is there."""
    bounds: list[Bounded] = []
    wrong: list[str] = []
    rest: list[Quantity] = []
    state = _State(used=[], goals=goals)
    times = [q for q in found if q.dimension == "time" and q.high <= LONGEST_S]
    for quantity in found:
        target = _latency(text, quantity, times, state) if quantity in times and quantity.high > 0 else None
        if target is None:
            rest.append(quantity)
            continue
        said = text.plain[max(0, quantity.span.start - 16) : quantity.span.start]
        if (
            AT_LEAST.search(said)
            and not _NOT_MORE.search(text.plain, 0, quantity.span.start)
            and not re.search(
                r"(?:no|not) (?:less|more|longer|greater|higher) than|(?:not|never|nor) (?:be |go )?(?:above|over)|or better|exceed",
                said,
            )
        ):
            wrong.append(f"{text.words(target.span)!r} bounds a latency from below; a latency is bounded from above")
        bounds.append(target)
        text.take(target.span)
    return bounds, wrong, rest


def _latency(text: Text, quantity: Quantity, times: list[Quantity], state: _State) -> Bounded | None:
    clause = text.clause(quantity.span.start)
    at = times.index(quantity)
    before = times[at - 1].span.end if at and times[at - 1].span.end > clause.start else clause.start
    after = times[at + 1].span.start if at + 1 < len(times) and times[at + 1].span.start < clause.end else clause.end
    plain = text.plain.replace("_", " ")  # ttft_p99_ms
    left = [m for m in _METRIC.finditer(plain, before, quantity.span.start) if _free(m, state)]
    after = _until_comma(text, quantity.span.end, after)
    right = [m for m in _METRIC.finditer(plain, quantity.span.end, after) if _free(m, state)]
    shares = [m for m in _SHARE.finditer(plain, before, quantity.span.start) if _free(m, state)]
    beyond = _OF_THE_TIME.match(plain, quantity.span.end)
    until = max(after, beyond.end()) if beyond else after
    later = [m for m in _SHARE.finditer(plain, quantity.span.end, until) if _free(m, state)]
    if _IS_NOW.search(text.plain, max(before, text.plain.rfind(",", 0, quantity.span.start)), quantity.span.start):
        state.metric = left[-1].lastgroup if left else state.metric
        return None
    per_token = _PER_TOKEN.match(text.plain, quantity.span.end)
    metric, taken = state.metric, [quantity.span]
    if per_token:
        metric, named = "tpot", Span(*per_token.span())
        taken.append(named)
    elif (match := _named(text, quantity, left, right)) is not None:
        metric = match.lastgroup
        taken.append(Span(*match.span()))
    elif state.metric and _CORRECTS.search(text.plain, clause.start, quantity.span.start):
        pass  # "under 300 ms. Actually no, 500 ms is fine"
    elif quantity in state.goals:
        spoken = list(_METRIC.finditer(plain, 0, quantity.span.start))
        metric = spoken[-1].lastgroup if spoken else metric  # "TTFT is 900 ms now. Goal: 400 ms"
        shares = shares or list(_SHARE.finditer(plain, 0, quantity.span.start))
    elif not shares and not later and not (state.metric and _LOWER_TOO.search(text.plain, before, quantity.span.start)):
        return None
    if not shares and later and right and taken[-1].start == right[0].start():
        quantity = replace(quantity, span=Span(quantity.span.start, right[0].end()))
    share, assumed = _share(shares, later, quantity, text, taken)
    metric = metric or "e2e"
    goes_on = state.at is not None and _AND.fullmatch(text.plain, state.at, quantity.span.start)
    share = state.share if share is None and goes_on else share
    if share is None:
        share, assumed = "p99", "p99 assumed: no percentile was named"
    if metric == "tpot" and share == "p95":
        metric = "itl"
    if f"{metric}_{share}" not in METRICS:
        share, assumed = "p99", f"{share} has no metric here: p99"
    if not left and not right and not shares and not later and not per_token:
        share = state.share or share
    state.metric, state.share, state.at = metric, share, quantity.span.end
    assert state.used is not None
    state.used += taken
    return Bounded(
        f"{metric}_{share}", quantity.high, Span(min(s.start for s in taken), max(s.end for s in taken)), assumed
    )


def _named(
    text: Text, quantity: Quantity, left: list[re.Match[str]], right: list[re.Match[str]]
) -> re.Match[str] | None:
    """The name of a metric that a time belongs to: the nearest before it, else the one right after it."""
    between = text.plain[quantity.span.end : right[0].start()] if right else ""
    if left and right and left[-1][0].startswith("latenc") and _BY_IT.fullmatch(between):
        return right[0]  # "latency budget: 350 ms to first token"
    if left and not re.search(r",\s*(?:and\s+)?[^,]{0,6}$", text.plain[left[-1].end() : quantity.span.start]):
        return left[-1]
    if right and len(between.split()) <= 3:
        return right[0]
    return left[-1] if left else None


def _until_comma(text: Text, start: int, end: int) -> int:
    comma = text.plain.find(",", start, end)
    return end if comma < 0 else comma


def _free(match: re.Match[str], state: _State) -> bool:
    return not any(Span(*match.span()).overlaps(span) for span in state.used or [])


def _share(shares, later, quantity: Quantity, text: Text, taken: list[Span]) -> tuple[str | None, str]:
    match = shares[-1] if shares else None
    if match is None and later and len(text.plain[quantity.span.end : later[0].start()].split()) <= 3:
        match = later[0]
    if match is None:
        return None, ""
    taken.append(Span(*match.span()))
    if match["median"]:
        return "p50", "" if match["median"] == "median" else f"{match['median']} read as p50"
    said = next(v for k, v in match.groupdict().items() if v is not None and k != "median")
    number = (float(said) if said[0].isdigit() else spelled(said) or 0.0) * (10 if match["ten"] else 1)
    kept = next((share for share in _KEPT if number <= share), _KEPT[-1])
    note = (
        ""
        if number == kept
        else f"p{number:g} read as p{kept}, the " + ("careful" if number < kept else "strictest") + " side"
    )
    return f"p{kept}", note


_KEPT = (50, 95, 99)
"""Percentiles that have a metric: another one is read as the next higher of them, and the reading says so."""
_ONE_USER = Lazy(
    r"(?<![\w.])(?:1|one|a single|single|just me|only me)[\s-]*(?:concurrent\s+)?user\b|\b(?:just|only) (?:for )?(?:me|myself)\b|\b(?:the )?only user\b|\bi'?m alone\b|\bme (?:only|alone)\b|\bby myself\b"
)
_SHRINK = Lazy(
    r"\b(?:get|bring|shrink|squeeze|reduce|compress|quanti[sz]e|cut)\b(?:[^.;]|\.(?=\d)){0,40}\b(?:under|below|into|onto|to|within)\s+(?:an?|one|a single|my|our|the)?\s*$"
)
_INTO = Lazy(
    r"\b(?:ok(?:ay)?|possible|doable|works?|go|enough|feasible|runs?|fits?|lives?)\s+(?:in|with|within|on)\s*$"
)
_ABOUT = {
    "size_on_disk": r"on disk|on the disk|\bfile\b|disk space|file size|model file|checkpoint size|download|artifact|artefact|model size|to ship",
    "device_memory": r"vram|gpu memory|per gpu|per device|device memory|hbm|memory|ram|fit|fits|fitting",
}
_QUALITY = {
    "bits_per_byte": r"bits? per byte|bpb|bits?/byte",
    "line_accuracy": r"line accuracy|line[- ]completion accuracy|lines? completed|exact[- ]line",
    "next_token_accuracy": r"next[- ]token accuracy|top-?1 accuracy|token accuracy",
    "parse_rate": r"parse rate|parses|syntactically valid|valid python",
}


def find_other_bounds(
    text: Text, found: list[Quantity], serving: bool, here: bool
) -> tuple[list[Bounded], list[Quantity]]:
    """Targets on throughput, memory, cost, time and quality; the quantities that are left.

    `serving`: the request is about a deployment, so that a duration or a sum is no bound of a training. `here`: it is built on
    this machine, whose memory is measured by process.
    """
    bounds: list[Bounded] = []
    rest: list[Quantity] = []
    for quantity in found:
        target = _other(text, quantity, serving, here)
        if target is None:
            rest.append(quantity)
        else:
            bounds.append(target)
            text.take(target.span)
    return bounds, rest


def _other(text: Text, quantity: Quantity, serving: bool, here: bool) -> Bounded | None:
    near = _near(text, quantity)
    match quantity.dimension:
        case "token rate" if quantity.note in ("volume", "input volume"):
            return None
        case "token rate":
            each = (
                quantity.note == "per user"
                or _ONE_USER.search(text.plain)
                or re.search(
                    r"per[ -](?:user|stream|request|sequence)|single[- ]stream|interactive|reading speed|(?:each|every|an?|one) (?:user|client|person|customer|stream|session)|\|\s*each\b|\b(?:nobody|no one|everyone|everybody) (?:should |must |may )?(?:gets?|sees?|have|has)\b|\beach (?:should|must|gets?|needs?|has to)|users? (?:should|must|needs? to|has to) (?:see|get|read)|\bat home\b|\b(?:then|afterwards|after that|followed by)\b[^|]{0,15}\|",
                    near + (text.plain if "at home" in text.plain else ""),
                )
            )
            if each:
                return Bounded(
                    "tpot_p50",
                    1 / quantity.low,
                    quantity.span,
                    "tokens per second of one user, as time per token at the median",
                )
            return Bounded("throughput", quantity.low, quantity.span)
        case "money per M tokens":
            return Bounded("cost_per_million_tokens", quantity.high, quantity.span)
        case "money" if not quantity.note and not serving:
            return Bounded("build_cost", quantity.high, quantity.span)
        case "time" if not serving and quantity.high >= 1 and not re.search(r"\bago\b|every\s*$", near):
            return Bounded("build_time", quantity.high, quantity.span, quantity.note)
        case "memory":
            return _memory(quantity, near, here)
        case "share" | "none":
            return _quality(text, quantity)
    return None


def _memory(quantity: Quantity, near: str, here: bool) -> Bounded | None:
    if re.search(_ABOUT["size_on_disk"], near):
        return Bounded("size_on_disk", quantity.high, quantity.span)
    if re.search(r"\bgguf\b[^|]{0,20}$", near.split("|")[0]):
        return Bounded("size_on_disk", quantity.high, quantity.span)
    if _SHRINK.search(near.split("|")[0]):
        return Bounded("serving_memory" if here else "device_memory", quantity.high, quantity.span)
    left, right = near.split("|")[:2]
    if not here and re.match(r"\s*(?:of )?(?:system |host |cpu )?ram\b", right) and not AT_MOST.search(left[-20:]):
        return None  # of the computer around the card
    if re.match(
        r"\s*(?:(?:of )?(?:v?ram|memory|gpu|card)\s+)?(?:be |is )?(?:enough|sufficient|ok(?:ay)?|too (?:little|small))\b",
        right,
    ):
        return Bounded("serving_memory" if here else "device_memory", quantity.high, quantity.span)
    if here and AT_MOST.search(left[-20:]) and not re.search(_ABOUT["device_memory"], near):
        return Bounded("size_on_disk", quantity.high, quantity.span)  # of what is built here: "below 20 MB"
    is_owned = re.search(r"\b(?:has(?! to)|have(?! to)|with|my|machine has|of ram and|laptop)\b[^,]{0,20}$", left)
    if _INTO.search(left) or (re.search(_ABOUT["device_memory"], near) and not is_owned):
        training = here and "train" in near
        return Bounded(
            "training_memory" if training else "serving_memory" if here else "device_memory",
            quantity.high,
            quantity.span,
        )
    return None


def _quality(text: Text, quantity: Quantity) -> Bounded | None:
    clause = text.clause(quantity.span.start)
    left = text.plain[max(clause.start, quantity.span.start - 40) : quantity.span.start]
    right = text.plain[quantity.span.end : min(clause.end, quantity.span.end + 30)]
    for metric, words in _QUALITY.items():
        if found := list(re.finditer(words, left)):
            start = quantity.span.start - len(left) + found[-1].start()
            return Bounded(
                metric,
                quantity.low if METRICS[metric].better == "higher" else quantity.high,
                Span(start, quantity.span.end),
            )
        if (match := re.match(rf"\s*(?:of\s+)?(?:{words})", right)) is not None:
            return Bounded(metric, quantity.high, Span(quantity.span.start, quantity.span.end + match.end()))
    return None


def _near(text: Text, quantity: Quantity, characters: int = 45) -> str:
    """The words around a quantity in its clause, with "|" in its place."""
    clause = text.clause(quantity.span.start)
    left = text.plain[max(clause.start, quantity.span.start - characters) : quantity.span.start]
    right = text.plain[quantity.span.end : min(clause.end, quantity.span.end + characters)]
    return f"{left}|{right}"


near = _near
