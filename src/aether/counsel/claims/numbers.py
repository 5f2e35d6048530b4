"""The numbers that a plain sentence says: digits, words, ranges, multiples and parts, each with its unit in canonical form.

Small counts in words ("two options") and the numbers of years are no claims; "twice as fast", "half the memory" and "an order of
magnitude" are.
"""

import re
from dataclasses import dataclass, replace

from aether.counsel.reading.quantities import Quantity, quantities
from aether.counsel.reading.text import Text

_UNITS = {
    "time": "s",
    "memory": "byte",
    "tokens": "token",
    "request rate": "request/s",
    "token rate": "token/s",
    "money": "USD",
    "money per M tokens": "USD per million",
    "money per hour": "USD per hour",
    "share": "fraction",
    "parameters": "parameter",
}
_ABOUT = re.compile(
    r"(?:about|around|roughly|approximately|approx\.?|nearly|almost|some|circa|ca\.|~|≈|just|close to|near)\s*\$?\s*$",
    re.IGNORECASE,
)
_RATES = re.compile(
    r"\s?(?P<prefix>[kMGTPE]?)(?P<unit>FLOPS?(?:/s)?|flops?(?:/s)?|B/s|Bps|bit/s|bps|OPS|TOPS|Wh|W|J|Hz)\b"
)
_BINARY = re.compile(r"(?<![A-Za-z])([KM])iB\b")
_OPERATIONS = re.compile(r"\d\s?(?P<prefix>[kMGTPE]?)(?:FLOPS?|flops?|T?OPS)\s?/\s?s\b")
"""Operations a second, which are no requests."""
_PREFIX = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_RATE_UNITS = {
    "flop": "FLOP/s",
    "flops": "FLOP/s",
    "b/s": "byte/s",
    "bps": "byte/s",
    "w": "W",
    "wh": "J",
    "j": "J",
    "hz": "Hz",
    "tops": "FLOP/s",
    "ops": "FLOP/s",
}
_TIMES = re.compile(r"\s?(?:x\b|×|times\b|fold\b|-fold\b)", re.IGNORECASE)
_FACTOR = re.compile(r"\s*(?:about |roughly |the |~)?\$?\d")
"""What follows a sign of multiplication."""
_POINTS = re.compile(
    r"[\s-]?(?:(?:percentage|percent|accuracy|per cent) )?(?:points?\b|pp\b|pts?\b)(?! \d)", re.IGNORECASE
)
_POINTS_SAID = re.compile(r"(?:points?|pp|pts?)\s*$", re.IGNORECASE)
_WORD_RATIOS = (
    (re.compile(r"\b(?:twice|double[sd]?|doubling)\b", re.I), 2.0), (re.compile(r"\b(?:thrice|triple[sd]?|tripling)\b", re.I), 3.0), (re.compile(r"\bquadrupl(?:e[sd]?|ing)\b", re.I), 4.0),
    (re.compile(r"\b(?:halve[sd]?|halving|half (?:the|of the|as (?:much|many)|its))\b", re.I), 0.5), (re.compile(r"\bin half\b", re.I), 0.5), (re.compile(r"\btenfold\b|\ban? order of magnitude\b", re.I), 10.0), (re.compile(r"\btwo-?thirds\b", re.I), 2 / 3),
    (re.compile(r"\b(?:one|a)[- ]third\b", re.I), 1 / 3), (re.compile(r"\b(?:three[- ]quarters)\b", re.I), 0.75), (re.compile(r"\b(?:one|a)[- ]quarter\b", re.I), 0.25), (re.compile(r"\borders of magnitude\b", re.I), 100.0),
    (re.compile(r"\b(?:two|three|four|five|six|seven|eight|nine)fold\b", re.I), 2.0),
    (re.compile(r"\bone third|two thirds|thirds?\b of\b", re.I), 0.33),
)  # fmt: skip
_COUNTING = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_COUNTED = r"(?:\d+|" + "|".join(_COUNTING) + "|twenty|fifty|a hundred|hundred)"
_OF_SO_MANY = re.compile(
    rf"\b(?P<a>{_COUNTED}) (?:[a-z]+ ){{0,2}}?(?:in|out of|of every|in every) (?P<b>{_COUNTED})\b", re.IGNORECASE
)
"""One in five; nine requests in ten."""
_EVERY = re.compile(
    r"\bevery (?:(?P<word>other|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|hundredth)|(?P<b>\d+)(?:st|nd|rd|th)) (?!time\b)[a-z]+",
    re.IGNORECASE,
)
_ORDINALS = {
    "other": 2,
    "second": 2,
    "third": 3,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "seventh": 7,
    "eighth": 8,
    "ninth": 9,
    "tenth": 10,
    "hundredth": 100,
}
_SMALL = re.compile(
    r"^(?:an?\s+)?(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|couple|pair|dozen|half|quarter|hundred|thousand|million|billion|trillion)s?$",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?:19[5-9]\d|20[0-4]\d)")
_DATED = re.compile(
    r"(?:\b(?:in|since|of|year|by|from|until|early|late|mid|during|before|after)|[(,])\s*$", re.IGNORECASE
)
_DATE = re.compile(
    r"\b20\d\d-\d\d(?:-\d\d)?\b|\b\d{1,2}[./]\d{1,2}[./]20\d\d\b|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\w*\.? (?:\d{1,2}(?:st|nd|rd|th)?,? )?20\d\d\b",
    re.IGNORECASE,
)


_PARTS = re.compile(
    r"\b(?P<top>one|a|two|three|four|five)[- ](?P<bottom>fifth|sixth|seventh|eighth|ninth|tenth|hundredth)s?\b(?! of an? (?:billion|million))",
    re.IGNORECASE,
)
_TOPS = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5}


@dataclass(frozen=True)
class Said:
    """A number as it was said. `step`: half of it is the rounding that its digits allow."""

    low: float
    high: float
    unit: str
    step: float
    words: str
    start: int
    ratio: bool = False
    spelled: bool = False


def numbers_of(sentence: str) -> list[Said]:
    """Every number of a sentence without names; dates and years left out."""
    sentence = _DATE.sub(lambda m: " " * len(m[0]), sentence)
    text = Text.of(sentence)
    found = [
        s
        for q in quantities(text)
        if (s := _said(sentence, q, text.place(q.span.start), text.end(q.span.end))) is not None
    ]
    taken = [(s.start, s.start + len(s.words)) for s in found]
    for pattern, value in _WORD_RATIOS:
        for match in pattern.finditer(sentence):
            if not any(a < match.end() and match.start() < b for a, b in taken):
                found.append(Said(value, value, "ratio", 0.1 * value, match[0], match.start(), True, True))
    for match in _PARTS.finditer(sentence):
        if not any(a < match.end() and match.start() < b for a, b in taken):
            value = _TOPS[match["top"].lower()] / _ORDINALS[match["bottom"].lower()]
            found.append(Said(value, value, "ratio", 0.1 * value, match[0], match.start(), True, True))
    return _durations(sentence, sorted(_shares(sentence, found), key=lambda s: s.start))


_DEVICE_HOURS = re.compile(r"[\s-]?(?:GPU|gpu|device|card|accelerator|node|TPU|[AHBL]\d{1,3}0?)[\s-]hours?\b")
_SPAN = re.compile(r"\s*(?P<unit>seconds|minutes|hours|days)\b(?! (?:per|a|each) )")
_SECONDS = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0, "days": 86400.0}
_PER_THOUSAND = re.compile(r"\s*(?:per|a|/)\s*(?:thousand|1k|1,000|1000|k)\b(?: tokens)?", re.IGNORECASE)
_PER_SECOND = re.compile(r"\s*(?:/s\b|per second|a second|each second)")


def _durations(sentence: str, found: list[Said]) -> list[Said]:
    """With "1 h 30 min" as one number, "6 GPU-hours" as a time, "8,000 prompt tokens per second" as a rate."""
    kept: list[Said] = []
    for number in found:
        end = number.start + len(number.words)
        hours = _DEVICE_HOURS.search(number.words) or _DEVICE_HOURS.match(sentence, end)
        if number.unit == "count" and hours:
            number = _times(number, 3600.0, "s", "" if hours[0] in number.words else hours[0])
        elif number.unit in ("count", "parameter") and not number.spelled and (span := _SPAN.match(sentence, end)):
            number = _times(number, _SECONDS[span["unit"]], "s", span[0])  # "2.62M seconds"
        elif number.unit == "USD" and (thousand := _PER_THOUSAND.match(sentence, end)):
            number = _times(number, 1e3, "USD per million", thousand[0])
        elif number.unit == "token" and (rate := _PER_SECOND.match(sentence, end)):
            number = replace(number, unit="token/s", words=number.words + rate[0])
        elif number.unit == "request/s" and (operations := _OPERATIONS.search(number.words)):
            number = _times(number, _PREFIX[operations["prefix"]], "FLOP/s", "")
        last = kept[-1] if kept else None
        if last is not None and last.unit == number.unit == "s" and number.high < last.high and not last.spelled:
            between = sentence[last.start + len(last.words) : number.start]
            if re.fullmatch(r"\s*(?:and\s+)?", between) and re.search(r"[a-z]\s*$", last.words):
                high = last.high + number.high
                kept[-1] = replace(
                    last,
                    low=high,
                    high=high,
                    step=number.step,
                    words=sentence[last.start : number.start + len(number.words)],
                )
                continue
        kept.append(number)
    return kept


def _times(number: Said, factor: float, unit: str, words: str) -> Said:
    return replace(
        number,
        low=number.low * factor,
        high=number.high * factor,
        step=number.step * factor,
        unit=unit,
        words=number.words + words,
    )


def _shares(sentence: str, found: list[Said]) -> list[Said]:
    """With "one in five" as the one share that it is, instead of two numbers."""
    for match in [*_OF_SO_MANY.finditer(sentence), *_EVERY.finditer(sentence)]:
        parts = match.groupdict()
        top = _counted(parts.get("a") or "one")
        bottom = _ORDINALS[parts["word"].lower()] if parts.get("word") else _counted(parts["b"])
        if (
            bottom <= 1
            or top > bottom
            or (parts.get("a") is not None and bottom not in (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 20, 50, 100, 1000))
        ):
            continue
        found = [s for s in found if not match.start() <= s.start < match.end()]
        found.append(
            Said(
                top / bottom,
                top / bottom,
                "fraction",
                (0.1 if top == 1 else 0.02) * top / bottom,
                match[0],
                match.start(),
                spelled=True,
            )
        )
    return found


def _counted(word: str) -> int:
    word = word.lower()
    return (
        int(word)
        if word.isdigit()
        else _COUNTING.index(word)
        if word in _COUNTING
        else {"twenty": 20, "fifty": 50}.get(word, 100)
    )


_MEASURE = re.compile(
    r"(?:an?|each|every|per)?\s*(?:seconds?|minutes?|hours?|days?|weeks?|months?|(?:million|thousand|billion) (?:[a-z]+ )?(?:tokens?|parameters?|requests?))",
    re.IGNORECASE,
)
"""What something is counted by: "a day", "a million tokens"."""


def _said(sentence: str, quantity: Quantity, start: int, end: int) -> Said | None:
    words = sentence[start:end]
    digits = re.search(r"\d", words) is not None
    if not digits and _MEASURE.fullmatch(words.strip()):
        return None
    small = (
        not digits and _SMALL.match(words.strip()) and quantity.dimension in ("none", "tokens", "users", "parameters")
    )
    if (
        small
        and words.strip().lower() == "zero"
        and re.search(r"\b(?:is|are|of|at|stays?|remains?)\s+$", sentence[:start])
    ):
        small = False  # "the error rate is zero"
    if small and re.match(
        r"(?:\s+[a-z-]+){1,3}\s+(?:an?|per|each|every) (?:second|minute|hour|day|week|month)\b", sentence[end:]
    ):
        small = False
    if small and not re.match(r"[\s-]*(?:times|x\b|fold|points?|percent|%|per cent)", sentence[end:]):
        return None
    if (
        digits
        and quantity.dimension == "none"
        and _YEAR.fullmatch(words.strip())
        and (dated := _DATED.search(sentence[:start]))
        and (dated[0].strip() not in "(," or re.match(r"\s*(?:[),.;:]|$)", sentence[end:]))
        and not re.match(r"\s*[-+*/x×=]\s*\d", sentence[end:])
    ):
        return None
    unit, factor, ratio = _UNITS.get(quantity.dimension, "count"), 1.0, False
    if quantity.dimension == "none" and re.match(r"[\s-]bytes?\b", sentence[end:]):
        unit = "byte"
    if quantity.dimension == "money" and quantity.note:
        unit = "USD"
    if binary := _BINARY.search(words):
        factor = {"K": 1.024, "M": 1.024**2}[binary[1]]
    if rate := _RATES.match(sentence, end):
        unit, factor = (
            _RATE_UNITS.get(
                rate["unit"].lower().replace("/s", "") if "flop" in rate["unit"].lower() else rate["unit"].lower(),
                "count",
            ),
            _PREFIX[rate["prefix"]] * (3600.0 if rate["unit"] == "Wh" else 1.0),
        )
        words += rate[0]
    elif quantity.dimension == "memory" and re.match(r"/s\b|ps\b| per second", sentence[end:]):
        unit = "byte/s"
    elif quantity.dimension == "none" and (
        ((times := _TIMES.match(sentence, end)) and not _FACTOR.match(sentence, times.end()))
        or (re.search(r"\bx\s*$", sentence[:start]) and not re.search(r"\d\s*x\s*$", sentence[:start]))
    ):
        unit, ratio = "ratio", True
    elif (points := _POINTS.match(sentence, start + len(words.rstrip()))) or _POINTS_SAID.search(words):
        unit, factor = "point", 100.0 if re.search(r"percent|per cent|pp\b|%", words) else 1.0
        words += points[0] if points else ""
    if unit == "count" and not ratio and re.match(r"\s*(?:/\s?s\b|(?:per|a|each|every) second)", sentence[end:]):
        unit = "per second"
    step = _step(words, quantity, sentence[:start]) * factor
    return Said(quantity.low * factor, quantity.high * factor, unit, step, words, start, ratio, not digits)


_COARSEST = 0.12
"""Of the low end of a range: assumed."""
_AND_A_HALF = re.compile(r"\band a half\b", re.IGNORECASE)


def _step(words: str, quantity: Quantity, before: str) -> float:
    """The value of the last digit, in the canonical unit: of "1.5 GB" a tenth of one. "about 400" may be rounded to hundreds."""
    match = re.search(r"\d[\d,_ ]*\d|\d", words)
    if quantity.low != quantity.high:  # a range is as coarse as the coarser of its ends
        shown = sorted(re.findall(r"\d[\d,_]*(?:\.\d+)?", words)[:2], key=lambda one: float(re.sub("[,_]", "", one)))
        ends = zip(shown, sorted((quantity.low, quantity.high), key=abs), strict=False)
        steps = [_step(one, replace(quantity, low=end, high=end), before) for one, end in ends]
        return min(max(steps, default=0.0), max(_COARSEST * abs(quantity.low), min(steps, default=0.0)))
    fraction = re.search(r"\d\.(\d+)", words)
    if match is None:
        rough = _AND_A_HALF.search(words) or _ABOUT.search(before)
        return abs(quantity.high) * (0.1 if rough else 0.02)
    digits = re.sub(
        r"[,_ ]",
        "",
        match[0]
        if fraction is None
        else words[match.start() :].split(".")[0]
        if "." in words[match.start() :]
        else match[0],
    )
    digits = re.sub(r"\D", "", digits)
    whole = float(digits or 0) + (float(f"0.{fraction[1]}") if fraction else 0.0)
    if not whole and not fraction:
        return 0.0  # nothing rounds to "0 %" but nothing
    scale = abs(quantity.low) / whole if whole else 1.0  # of a range, the first number is the low end
    if fraction is not None:
        return scale * 10.0 ** -len(fraction[1])
    trailing = len(digits) - len(digits.rstrip("0"))
    # Tools show three digits: "1,640" may be 1,638. "about 400" may be rounded to hundreds, "400" may not.
    zeros = trailing if _ABOUT.search(before) else min(trailing, max(0, len(digits) - 3))
    return scale * 10.0**zeros
