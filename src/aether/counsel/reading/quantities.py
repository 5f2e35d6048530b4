"""A number with its unit: what it measures and its value in canonical units (seconds, bytes, tokens, per second, USD, shares)."""

import re
from dataclasses import dataclass
from typing import Literal

from aether.counsel.reading.numbers import WORDS, Number, numbers, spelled
from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.text import Span, Text

Dimension = Literal[
    "time", "memory", "tokens", "request rate", "token rate", "money", "money per M tokens", "money per hour", "share", "parameters",
    "users", "foreign money", "bits", "device time", "none",
]  # fmt: skip


@dataclass(frozen=True)
class Quantity:
    """A number with what it measures. Ranges keep both ends."""

    low: float
    high: float
    dimension: Dimension
    span: Span
    note: str = ""
    """What the unit said besides: "per user", "input"."""


_PER_S = r"(?:\s*/\s*|\s+(?:per|an?|each|every)\s+)"


def _by_word(rows: dict[str, float]) -> dict[str, float]:
    return {word: factor for words, factor in rows.items() for word in words.split()}


_SECONDS = _by_word({"milliseconds millisecond millisecs millisec milisecs milisec miliseconds milisecond millis msecs msec ms": 1e-3, "microseconds microsecond us": 1e-6, "seconds second secs sec s": 1.0, "minutes minute mins min": 60.0, "hours hour hrs hr h": 3600.0, "days day d": 86400.0, "weeks week wks wk": 604800.0, "fortnights fortnight": 1209600.0, "months month": 30 * 86400.0, "years year": 365 * 86400.0})  # fmt: skip
_BYTES = _by_word({"kb kib": 1e3, "mb": 1e6, "gb gigs gig gigabytes gigabyte g": 1e9, "tb terabytes terabyte": 1e12, "mib megabytes megabyte": 2.0**20, "gib": 2.0**30, "tib": 2.0**40})  # fmt: skip
_KIND_OF_TIME = r"(?:(?:working|business|office|wall[\s-]?clock|full|whole|calendar|consecutive|straight|solid|short|real|more|extra)[\s-]+)?"
"""Before a unit of time it changes nothing: "10 working hours", "two full days"."""
_PERIOD = _by_word({"seconds second secs sec s": 1.0, "minutes minute mins min m": 60.0, "hours hour hrs hr h": 3600.0, "days day d": 86400.0, "weeks week wks wk": 7 * 86400.0, "months month mos mo": 30 * 86400.0})  # fmt: skip
_OFTEN = {"hourly": 3600.0, "daily": 86400.0, "weekly": 7 * 86400.0, "monthly": 30 * 86400.0}
EACH = Lazy(
    r"\s*(?:/|\b(?:per|by|an?|each|every|in an?|in one|within an?|over an?)\b)\s*"
    rf"(?:(?P<many>\d+(?:\.\d+)?|an?\s+few|{WORDS})\s*)?(?P<unit>{'|'.join(_PERIOD)})\b(?!\s*(?:old|long|ago)\b)"
    rf"|\s*\b(?P<often>{'|'.join(_OFTEN)})\b"
)
"""How often: "/s", "per minute", "every two seconds", "each 24h", "daily"."""
_UNIT_BEFORE = Lazy(
    r"(?:(?<!\d)\s|[_(\[])(?P<unit>ms|msecs?|s|secs?|seconds|mins?|minutes|h|hrs?|hours|days|gb|gib|mb)[)\]]?\s*(?:[:=]|<=?|is|of|under|below|at most)\s*$"
)
"""A unit in a name or in brackets before the number: "ttft_p99_ms: 500", "TTFT (ms) = 500"."""
_EVERY = Lazy(
    rf"\b(?:every|each|per|in (?:a|an|one))\s+(?P<unit>second|minute|hour|day|week|month)\b[^.,;\d]{{0,25}}$|\b(?P<often>{'|'.join(_OFTEN)})\b[^.,;\d]{{0,25}}$"
)
"""Before a number of requests: "every minute come 300 requests", "daily volume: 20k calls"."""
REQUEST = (
    r"(?:requests?|reqs?|queries|query|questions?|calls?|prompts?|messages?|msgs?|hits?|chats?|conversations?|tickets?|e?-?mails?|documents?|docs?|invocations?|inferences?|"
    r"completions?|generations?|lookups?|searches|summar(?:y|ies)|translations?|images?|rows?|records?)"
)
_KINDS = r"(?:(?:concurrent|user|api|chat|customer|support|http|inference|incoming|new|such)\s+){0,2}"
_NO_REQUEST = (
    r"(?:tokens?|toks?|tks?|words?|characters?|chars|steps?|iter(?:ation)?s?|its?|epochs?|updates?|batch(?:es)?|dollars?|usd|eur|euros?|bucks|cents?|[gtmk]i?b|bits?|bytes?|gigs?|gigabytes?|"
    r"(?:milli)?seconds?|secs?|ms|s|minutes?|mins?|hours?|hrs?|h|days?|weeks?|months?|years?|gpus?|cards?|devices?|nodes?|cpus?|cores?|watts?|kwh?|percent|points?|times|flops?|models?|param(?:eter)?s?|weights|checkpoints?|layers?|heads?|experts?|samples?|examples?|pairs?|labels?|votes?|ratings?|annotations?|comparisons?|runs?|trainings?|experiments?|engineers?|"
    r"in|out|to|for|from|with|at|on|of|and|or|the|an?|is|are|was|were|we|i|it|by|per|each|every|as|but|than|then|so|if|which|that|x|vs|under|over|below|within|rps|qps|tps|rpm|[habl]\d{2,3}s?)"
)
"""What is no request when so many of it come in a time, and words that end the name of a thing."""
_THING = rf"(?:\s*(?!{_NO_REQUEST}\b)[a-z][a-z'-]*){{1,3}}?"
"""One to three words for what comes in: "messages", "support tickets", "incoming api calls"."""
_THINGS = Lazy(rf"{_THING}(?:{EACH.pattern})")
_OFTEN_THINGS = Lazy(rf"\s*(?P<often>{'|'.join(_OFTEN)})\s+{_KINDS}{REQUEST}\b(?P<unit>)")
_TOKEN = r"(?:tokens?|toks?|tks?|tok)"
_MILLION = (
    r"(?:(?:1|one)\s*)?(?:m|mm|mio|million|1e6)(?:\s*(?:output|generated|input)?\s*-?\s*(?:"
    + _TOKEN
    + r"))?|(?:1\s*)?mtoks?|1,?000,?000\s*"
    + _TOKEN
)
_WHICH = r"(?:input|prompt|output|generated|completion|answer|response|context)\s+"
_NODE = r"node|instance|server|machine"
_PRICED = Lazy(
    r"\b(?:cost|price)\w*\b[^.;?]{0,25}\b(?:a|one) million tokens|\b(?:a|one) million tokens\b(?:[^.;?]|\.(?=\d)){0,40}\bcost"
)
"""A million that a price is asked for is a unit, and no corpus."""
_IN_A_UNIT = Lazy(r"(?:\bper|/)\s*$")
_DEVICE_TIME = r"\s*-?\s*(?:gpu|card|device|accelerator|node|chip|tpu|[ahbl]\d{2,3}s?)[\s-]*(?:hours?|hrs?|h|days?|weeks?|months?|years?)\b"
_USER = Lazy(
    rf"\s*{_PER_S}\s*(?:(?:concurrent|active|single|parallel)\s+)?(?:user|stream|request|sequence|client|session|conversation|agent|person|seat|chat|developer|dev|reader)\b|\s*(?:for|to)\s+(?:an?|one|each|every|a single|the)\s+(?:user|stream|session|client|person)\b|\s*(?:single[- ]stream|interactive)\b"
)


def quantities(text: Text) -> list[Quantity]:
    """Every number in the free parts of a text with its unit, in order."""
    found: list[Quantity] = []
    for number in numbers(text):
        if number.high == 1e6 and (_IN_A_UNIT.search(text.plain, 0, number.span.start) or _PRICED.search(text.plain)):
            continue  # "what does it cost per million tokens?"
        if not found or number.span.start >= found[-1].span.end:  # "per million tokens" is one quantity with its number
            found.append(_quantity(text, number))
    return [_same_unit(text, *pair) for pair in zip(found, [None, *found], strict=False)]


_LEFT_OUT = Lazy(
    r"(?:\s*(?:at|for)?\s*(?:the\s+)?p(?:50|9[059]))?\s*[,;]?\s*(?:and|or|but)?\s*(?:within|under|below|at most|max)?\s*(?P<share>(?:at\s+)?p(?:50|9[059])\s*:?\s*)?"
)
_OF_THE_SAME = Lazy(
    r"[^.;\d]{0,15}?[,;.]?\s*(?:but\s+|and\s+|now\s+)*(?:(?:we|i|they|management)\s+)?(?:would\s+)?(?:wants?|needs?|goal|target|must|should|like|aim|has to|have to|->|→|down to|to)\b[^.;\d]{0,30}"
)
"""Between a price for so much and a wished one: "we pay $4 per million tokens, want to get it under $1.50"."""
_SHARE_AFTER = Lazy(r"\s*(?:at|for|in)?\s*(?:the\s+)?p(?:50|9[059])(?!\w)")


def _same_unit(text: Text, number: Quantity, before: Quantity | None) -> Quantity:
    """ "within 250 ms at p50, within 800 at p99": the second percentile leaves the unit of the first out."""
    if before is not None and number.dimension == "money" and not number.note:
        alike = before.dimension in ("money per M tokens", "money per hour")
        if alike and _OF_THE_SAME.fullmatch(text.plain, before.span.end, number.span.start):
            return Quantity(number.low, number.high, before.dimension, number.span, before.note)
    if before is None or number.dimension != "none" or before.dimension != "time":
        return number
    between = _LEFT_OUT.fullmatch(text.plain, before.span.end, number.span.start)
    unit = re.search(r"[a-z]+$", text.plain[before.span.start : before.span.end])
    if between is None or unit is None or not (between["share"] or _SHARE_AFTER.match(text.plain, number.span.end)):
        return number
    factor = _SECONDS.get(unit[0]) or 1.0
    return Quantity(number.low * factor, number.high * factor, "time", number.span)


_LABELS: tuple[tuple[str, str, Dimension, float], ...] = (
    ("rps|qps|r/s|q/s|req|quer", r"rps|qps|r/s|q/s|(?:requests?|reqs?|queries)\s*(?:/\s*s(?:ec(?:ond)?)?|per\s+sec(?:ond)?|a\s+second)", "request rate", 1.0),
    ("rpm|req|quer", r"rpm|(?:requests?|reqs?|queries)\s*(?:/\s*min(?:ute)?|per\s+min(?:ute)?)", "request rate", 1 / 60),
    ("rph|req|quer", r"rph|(?:requests?|reqs?|queries)\s*(?:/\s*(?:h|hr|hour)|per\s+hour)", "request rate", 1 / 3600),
    ("req|quer", r"(?:requests?|reqs?|queries)\s*(?:/\s*d(?:ay)?|per\s+day)", "request rate", 1 / 86400),
    ("tok|tps", r"(?:tokens?|toks?)\s*(?:/\s*s(?:ec(?:ond)?)?|per\s+sec(?:ond)?)|tps", "token rate", 1.0),
    ("$|usd|cost|price|dollars", r"(?:\$|usd|cost|price|dollars)\s*(?:/|per)\s*(?:(?:1|one)?\s*m(?:illion|io)?\s*(?:output\s+|generated\s+)?tok(?:en)?s?|mtoks?)", "money per M tokens", 1.0),
    ("hour", r"(?:price|cost|rate)\s+(?:of|for|per)\s+(?:an?\s+|one\s+|each\s+)?(?:gpu|card|device|accelerator)?[\s-]*(?:hour|hr)", "money per hour", 1.0),
    ("hourly|$|usd|cost|price|rate|dollars", r"hourly\s+(?:price|rate|cost|fee)|(?:\$|usd|cost|price|rate|dollars)\s*(?:/|per)\s*(?:(?:gpu|card|device)[\s-]*)?(?:hour|hr|h)", "money per hour", 1.0),
)  # fmt: skip
"""What a number is that stands behind these words: "rps: 12", "cost per million tokens below $2"."""
_BEHIND = r"[)\]\"']?\s*(?:(?:[:=~]|<=?|>=?|is|of|at|to|under|below|within|up to|about|around|roughly|approx\.?|some|(?:at|no)\s+(?:most|least|more\s+than|less\s+than)|max(?:imum)?\.?|min(?:imum)?\.?)\s*)*(?P<money>(?:us)?\$\s*)?$"
_LABELLED: tuple[tuple[Lazy, Dimension, float], ...] = tuple(
    (Lazy(rf"(?<![\w$.])(?:{label}){_BEHIND}", words), dimension, factor) for words, label, dimension, factor in _LABELS
)


def _labelled(text: Text, number: Number) -> Quantity | None:
    start, end = number.span.start, number.span.end
    left = text.plain[max(0, start - 60) : start]
    for pattern, dimension, factor in _LABELLED:
        found = pattern.search(left)
        if found is None or re.search(r"(?<![\w.-])\d(?:[\d.,]*\d)?k?[ \t]*\Z", left[: found.start()]):
            continue  # "12 rps 2000 in": the unit of the number before it
        paid = dimension.startswith("money")
        own = _plain_unit(text, number)
        cost = _money(text, number) if paid else None
        if cost is not None and cost.dimension != "money":
            return None  # "cost per 1M tokens at $2.50/h"
        if bool(found["money"]) > paid or (own is not None and own.dimension != "parameters"):
            return None
        after = _after(text, end, r"\s*(?:us dollars?|dollars?|usd|\$)") if paid else None
        begin = start - len(left) + found.start()
        return _made(number, dimension, begin, after.end() if after else end, factor)
    return None


def _quantity(text: Text, number: Number) -> Quantity:
    return (
        _labelled(text, number)
        or _money(text, number)
        or _rate(text, number)
        or _plain_unit(text, number)
        or Quantity(number.low, number.high, "none", number.span)
    )


def _after(text: Text, at: int, pattern: str) -> re.Match[str] | None:
    found = re.compile(pattern).match(text.plain, at)
    return None if found is None or "\n" in found[0] else found  # a unit stands on its number's line


def _made(number: Number, dimension: Dimension, start: int, end: int, factor: float = 1.0, note: str = "") -> Quantity:
    return Quantity(number.low * factor, number.high * factor, dimension, Span(start, end), note)


_PAID = Lazy(
    r"\b(?:at|for|costs?(?: us)?|cost(?:ing)?|price[ds]?(?: at| of| is)?|rent(?:ed|s)?(?: at| for)?|pay(?:ing)?)\s*$"
)
_AN_HOUR = r"(?:\s*/\s*|\s+(?:per|an)\s+)(?:gpu[\s-]*)?(?:hours?|hrs?|h)\b"
"""Of what is rented, no coin is named: "H100 at 2.10 an hour"."""


def _money(text: Text, number: Number) -> Quantity | None:
    start, end = number.span.start, number.span.end
    before = re.search(r"(us\$|\$|€|£|¥|usd|eur|gbp|chf)\s*$", text.plain[:start])
    after = _after(text, end, r"\s*(us dollars?|dollars?|usd|\$|bucks|cents?|euros?|eur\b|€|pounds?|gbp|£|chf)")
    if not before and not after:
        priced = _PAID.search(text.plain, 0, start) and _after(text, end, _AN_HOUR)
        return _made(number, "money per hour", start, priced.end()) if priced else None
    word = (before or after)[1]  # type: ignore[index]
    start, end = before.start() if before else start, after.end() if after else end
    factor = 0.01 if word.startswith("cent") else 1.0
    if re.match(r"€|£|¥|eur|gbp|pound|chf", word):
        if per := _after(text, end, rf"{_PER_S}\s*(?:{_MILLION}|hour|h|day|month|gpu[\s-]*hour)\b"):
            end = per.end()
        return _made(number, "foreign money", start, end)
    if per := _after(text, end, rf"(?:{_PER_S}|\s+for\s+(?:an?|one|every|each)\s+)\s*(?:{_MILLION})\b"):
        return _made(number, "money per M tokens", start, per.end(), factor)
    if per := _after(text, end, rf"{_PER_S}\s*(?:1\s*)?(?:k|1,?000|thousand)\s*{_TOKEN}\b"):
        return _made(number, "money per M tokens", start, per.end(), factor * 1e3)
    hour = r"(?:(?:gpu|device|card|accelerator|chip|instance|node)(?:\s+and\b)?)?[\s-]*(?:hours?|hrs?|h)\b"
    each = r"(?:\s*(?:/|per|a|for each|each)\s*(?:gpu|device|card|accelerator|chip)\b|\s*(?:each|apiece)(?=\s*(?:/|per\b|an\b)))?"
    if per := _after(text, end, rf"{each}(?:{_PER_S}\s*{hour}|\s+hourly\b){each}"):
        return _made(
            number,
            "money per hour",
            start,
            per.end(),
            factor,
            "node" if re.search(_NODE, per[0] + text.plain[per.end() : per.end() + 16]) else "",
        )
    if _after(text, end, rf"{_PER_S}\s*(?:[abhl]\d{{1,3}}s?|mi\d{{3}}x?|rtx\s?\d{{4}}|[345]0[6-9]0)[\s-]*{hour}"):
        return _made(
            number, "money per hour", start, end, factor
        )  # "1.10 USD per A100 hour": the device is read on its own
    if per := _after(text, end, rf"{_PER_S}\s*(?:month|day|week|year|yr|mo)\b"):
        return _made(number, "money", start, per.end(), factor, per[0].strip())
    return _made(number, "money", start, end, factor)


_VOLUME_S = 3600.0
"""From this period on, tokens are a volume of traffic and no speed: "2 billion tokens a day"."""


def _rate(text: Text, number: Number) -> Quantity | None:
    start, end = number.span.start, number.span.end
    if found := _after(text, end, r"\s*(?:k\s*)?(rps|qps|fps|rpm|rph|tps|tok/s|toks/s|t/s|r/s|q/s)\b"):
        word = found[1]
        if word in ("tps", "tok/s", "toks/s", "t/s"):
            return _token_rate(text, number, start, found.end())
        return _made(number, "request rate", start, found.end(), {"rpm": 1 / 60, "rph": 1 / 3600}.get(word, 1.0))
    bare = _after(text, end, r"\s*(?:/\s*s(?:ec)?\b|(?:per|a|each|every) second\b)")
    if bare and re.search(r"\b(?:load|traffic|rate|requests|queries|arrivals?)\b[^.;\d]{0,12}$", text.plain[:start]):
        return _made(number, "request rate", start, bare.end())
    kind = r"(?:(?P<out>output|generated|decode)\s+|(?P<in>input|prompt)\s+)?"
    if found := _after(text, end, rf"\s*{kind}{_TOKEN}(?P<user>{_PER_S}\s*user)?"):
        each = EACH.match(text.plain, found.end())
        if each and lasts(each) >= _VOLUME_S and not found["user"]:
            note = "output volume" if found["out"] else "input volume" if found["in"] else "volume"
            return _made(number, "token rate", start, each.end(), 1 / lasts(each), note)
        note = "per user" if found["user"] else ""
        return _token_rate(text, number, start, each.end(), 1 / lasts(each), note) if each and not found["in"] else None
    if found := _THINGS.match(text.plain, end) or _OFTEN_THINGS.match(text.plain, end):
        period, stop, note = _busy(text, lasts(found), found.end())
        return _made(number, "request rate", start, stop, 1 / period, note)
    if (found := _after(text, end, rf"\s*{_KINDS}{REQUEST}\b")) and (every := _EVERY.search(text.plain, 0, start)):
        return _made(number, "request rate", start, found.end(), 1 / lasts(every))
    return None


def lasts(each: re.Match[str]) -> float:
    """Seconds of the period that a match of `EACH` or its like names."""
    found = each.groupdict()
    if found["often"]:
        return _OFTEN[found["often"]]
    many = found.get("many")
    return (float(many) if many and many[0].isdigit() else spelled(many or "one") or 1.0) * (
        _PERIOD.get(found["unit"]) or 1.0
    )


_SPREAD = Lazy(
    r"[\s,(]*(?:(?:which|that|they|all|mostly|mainly|only|come|comes|coming|arrive|arriving|spread|distributed|squeezed|concentrated|evenly|out|are|is|and)\s+)*(?:over|in|within|during|across|into|between|from)\s+"
    rf"(?:(?:an?|the|our|about|around|roughly|only|just)\s+)*(?:(?P<hours>\d{{1,2}}(?:\.\d)?|{WORDS})[\s-]*{_KIND_OF_TIME}(?:hours?|hrs?|h)\b|(?P<office>(?:working|office|business|opening)\s+hours?)"
    r"|(?P<from>\d{1,2})\s*(?::00)?\s*(?:am)?\s*(?:-|to|and|till|until)\s*(?P<to>\d{1,2})\s*(?::00)?\s*(?:pm|h|o'clock)?\b(?!\s*(?:tok|req|gpu|%)))"
)
"""After so many a day: the hours in which they come."""
_OFFICE_HOURS = 8.0
"""Of a working day (assumed)."""


def _busy(text: Text, period: float, end: int) -> tuple[float, int, str]:
    """The seconds of a day in which requests come, where the words for them end, and what was assumed: "40k calls a day, spread over 10 working hours"."""
    found = _SPREAD.match(text.plain, end) if period == 86400.0 else None
    if found is None:
        return period, end, ""
    if found["office"]:
        hours = _OFFICE_HOURS
    elif found["hours"]:
        hours = float(found["hours"]) if found["hours"][0].isdigit() else spelled(found["hours"]) or 24.0
    else:
        begins, ends = int(found["from"]), int(found["to"])
        hours = float(ends - begins + (12 if ends <= begins else 0))
    assumed = f", {hours:g} h a day assumed" if found["office"] else ""
    return (hours * 3600.0, found.end(), assumed) if 0 < hours <= 24 else (period, end, "")


def _token_rate(text: Text, number: Number, start: int, end: int, factor: float = 1.0, note: str = "") -> Quantity:
    if user := _USER.match(text.plain, end):
        note, end = "per user", user.end()
    return _made(number, "token rate", start, end, factor, note)


def _plain_unit(text: Text, number: Number) -> Quantity | None:
    start, end = number.span.start, number.span.end
    if found := _after(
        text, end, rf"\s*(?:-\s*)?(?:new\s+|training\s+|total\s+|unique\s+)*(?P<which>{_WHICH})?\s*{_TOKEN}\b"
    ):
        return _made(number, "tokens", start, found.end(), note=(found["which"] or "").strip())
    if found := _after(text, end, r"[\s-]*(?=(?:context|ctx)\b)"):
        return _made(number, "tokens", start, number.span.end)  # "1M context"
    if found := _after(text, end, _DEVICE_TIME):
        return _made(number, "device time", start, found.end())
    if number.high >= 1e6 and (found := _after(text, end, rf"\s+(?:of\s+)?(?:[a-z-]+\s+){{1,2}}{_TOKEN}\b")):
        return _made(number, "tokens", start, found.end())  # "20B medical tokens"
    if found := _after(text, end, r"\s*(?P<giga>g|t)t(?:ok(?:en)?s?)?\b"):
        return _made(number, "tokens", start, found.end(), {"g": 1e9, "t": 1e12}[found["giga"]])
    if not number.suffix and (found := _after(text, end, rf"\s*(?P<scale>[kmbt])\s*-?{_TOKEN}\b")):
        return _made(
            number, "tokens", start, found.end(), {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}[found["scale"]]
        )  # "100 B tokens"
    if found := _after(text, end, r"\s*-?(?:pts?|points?|pp)\b"):
        return _made(number, "none", start, found.end())
    if found := _after(text, end, r"\s*-?\s*(?:parameters?|params?|weights)\b"):
        return _made(number, "parameters", start, found.end())
    if found := _after(
        text, end, rf"\s*{'(?:an?|of an?)?' if number.high < 1 else ''}\s*(?:%|per ?cent(?:s|age points?)?\b|pct\b)"
    ):
        return _made(number, "share", start, found.end(), 0.01)
    if found := _after(text, end, r"\s*(?:concurrent|simultaneous|parallel|active|daily)?\s*(?:users?|sessions?|clients?|streams?|conversations?|customers?|people)\b|\s*(?:concurrent|simultaneous|parallel|in-flight)\s*(?:requests?|chats?|queries)"):  # fmt: skip
        return _made(number, "users", start, found.end())
    if not number.suffix:
        whole = r"(?:(?:of\s+)?an?\s+)?" if number.high < 1 else ""  # "half a second"
        found = _after(text, end, r"\s*-?\s*(?P<unit>[a-z]+)\b(?!\s*/)")
        if found and (factor := _BYTES.get(found["unit"])):
            return _made(number, "memory", start, found.end(), factor)
        found = _after(text, end, rf"\s*{whole}-?\s*{_KIND_OF_TIME}(?P<unit>[a-z]+)\b")
        if found and (factor := _SECONDS.get(found["unit"])):
            return _made(number, "time", start, found.end(), factor)
        if found := _after(text, end, r"\s*-?\s*bits?\b(?!\s*(?:/|per))"):
            return _made(number, "bits", start, found.end())
        if found := _UNIT_BEFORE.search(text.plain, 0, start):
            if factor := _SECONDS.get(found["unit"]):
                return _made(number, "time", start, end, factor)
            return _made(number, "memory", start, end, _BYTES.get(found["unit"]) or 1.0)
    elif number.suffix == "g" and number.high >= 1e9:
        return _made(number, "memory", start, end)
    elif number.suffix in ("b", "bn", "t", "m") and number.high >= 1e7:
        return (
            _made(number, "parameters", start, end)
            if number.suffix in ("b", "m")
            else _made(number, "none", start, end)
        )
    elif number.suffix == "m" and 1e6 <= number.high < 1e7:
        return _made(number, "parameters", start, end)
    return None
