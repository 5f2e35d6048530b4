"""The traffic and the training tokens of a text: requests per second, lengths of prompts and answers, tokens to learn from, prices."""

import re
from dataclasses import dataclass

from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.quantities import Quantity
from aether.counsel.reading.targets import near
from aether.counsel.reading.text import Span, Text
from aether.spec.units import humanize

_IN = r"(?:in(?:put)?s?|prompts?|contexts?|ctx|isl|prefill)"
_READ = rf"(?:{_IN}|documents?|docs?|questions?|passages?|articles?|e?-?mails?|transcripts?|files|pages|tickets?|reports?|contracts?|essays?|letters?|claims?|invoices?|papers?|reviews?|submissions?|requests?(?=\s+(?:size|len))|quer(?:y|ies)|tweets|comments?|threads?|chunks?|frames?|memos?|cases?|pages?|records?)"
"""Things that a model is given to read: they have a length when it stands after them."""
_LONG = r"(?:inputs?|prompts?|contexts?|documents?|passages?|articles?|transcripts?|e?-?mails?)"
_OUT = r"(?:out(?:put)?s?|generat(?:ed|ion|es?|ions|ing)|completions?|answers?|responses?|replies|reply|osl|decode|new tokens|summary|summaries|generated text|translations?|feedback|abstracts?|labels?|rollouts?|captions?|headlines?|verdicts?)"
_ABOUT_SO = r"(?:\s*(?:\(|like|say|just|only|pretty|quite|very|really|fairly|long|short|large|big|small|tiny|huge|more like|rather|closer to|now|of|is|are|be|being|between|from|to|run|runs|has|have|contains?|should|shall|will|would|may|can|must|could|usually|typically|often|mostly|:|=|x|~|about|around|roughly|some|averag\w*|approximately|approx\.?|ca\.?|circa|up to|under|below|at most|max(?:imum)?|at|with))*"
_PAIRS = Lazy(
    r"\s*(?:(?!(?:and|with|for|of|to|in|from)\b)[\w/-]+\s+){0,2}(?:pairs?|rankings?|samples?|examples?|sets?|rows?|records?)\b"
)
_OUT_OF_PAIR = Lazy(r"\s*(?:tokens?\s+)?out(?:put)?\b")
"""After a small number: "200 tokens in, 5 out"."""
_OF_THEM = Lazy(r"\s*of\s+(?:them|those|these|which)\b")
_COUNTED = Lazy(
    r"\s*(?:answers|responses|replies|generations|completions|summaries|prompts|inputs|outputs|rollouts|labels|abstracts|captions|headlines|verdicts|queries)\b"
)
_NO_NUMBER = rf"(?!\s*(?:length|len|tokens?|size)?\s*(?:of|:|=|is|are)?\s*~?\d[\d,.]*k?(?:\s?(?:tokens?|toks?|tks?))?(?![\w.])(?![\s-]*(?:tokens?[\s-]+)?(?:in|out|input|output|prompt|answer|completion|response|generated|generation|{_READ})s?\b))"
"""A word with a number of its own after it says what that one is."""
_PAIR = Lazy(
    r"(?<![\w.,/])(\d[\d,]*(?:\.\d+)?k?)\s*(?:/|->|→|:|\+)\s*(\d[\d,]*(?:\.\d+)?k?)(?:\s*(?:tokens?|toks?|in/out|isl/osl))"
)
_EACH_WAY = Lazy(
    r"(?<![\w.,/])(\d[\d,]*(?:\.\d+)?k?)\s*(?:tokens?|toks?)?\s*(?:each way|both ways|either way|(?:per|in each|in either) direction|in and out)\b",
    "way|direction|in and out",
)
_BARE_PAIR = Lazy(
    r"(?<![\w.,/$€])(\d[\d,]*(?:\.\d+)?k|\d{2,6})\s?(?:/|:|->|→)\s?(\d[\d,]*(?:\.\d+)?k|\d{2,6})(?=\s*(?:[,;.?!)|\n]|$)|\s+(?!(?:ms|msecs?|s|secs?|seconds|g|gb|gib|mb|tb|b|x|usd|dollars|questions|items|users|rps|qps|req\w*|hours?|h|days?|steps?|layers?|gpus?|per|of)\b|%|[/=-])[a-z@]|\s*->\s*[a-z])"
)
"""Of a load alone: "800/200", "3k:400"."""
_PREFIXED = Lazy(
    r"(?<![\w-])in(?:put)?\s*[:=]?\s*(\d[\d,]*(?:\.\d+)?k?)\s*(?:tokens?|toks?)?\s*[,;/]?\s*(?:and\s+)?(?:(?:avg|average|mean|max|median)\s+)?out(?:put)?\s*[:=]?\s*(\d[\d,]*(?:\.\d+)?k?)(?![\w.])"
)
_NAMED_PAIR = Lazy(
    r"\b(?:isl|in(?:put)?|prompt)\s*[/:]\s*(?:osl|out(?:put)?|completion|answer|response)\s*(?:lengths?|tokens?|len)?\s*(?:[:=]|of|is)?\s*(\d[\d,]*(?:\.\d+)?k?)\s*[/:]\s*(\d[\d,]*(?:\.\d+)?k?)(?![\w.])"
)
"""Names and lengths apart: "isl/osl 1024/128"."""
_OF_ONE = Lazy(
    r"\s*(?:/|\b(?:a|an|per|each|in each|for each)\s)\s*(?P<thing>(?!user|day|hour|minute|second|month|week|year|gpu|device|card|node|step|batch|stream|sequence|replica|server|answer)[a-z]{3,})\b"
)
"""After a number of tokens: "a frame", "per page"."""
_OF_THINGS = Lazy(
    r"(?:\b(?:each|every|apiece)|\b(?!batches|chunks|windows|blocks|steps|contexts|limits|caches)[a-z]{3,}s\s+of)\s*(?:about|around|roughly|~|avg)?\s*~?\s*$",
    "each|every|apiece|s of",
)
"""Before a number of tokens: "notes of", "tickets, each"."""
_LABEL = Lazy(r"\b(?:tokens?|toks?|corpus|data|dataset)\s*(?:[:=]|of|is)\s*$")
_OF_A_STEP = Lazy(
    r"\b(?:(?:global_)?batch(?:es)?(?:[\s_]*(?:size|tokens))?|gbs|bsz?)\s*(?:of|:|=|is|at)?\s*$", "batch|gbs|bs"
)
"""Before a number of millions: "batch 4M"."""
_SEQUENCE = Lazy(
    r"sequence|seq\s?len|context (?:length|window|of)|ctx|seq_len|packed(?: to| at)?|max_length|max\s?len(?:gth)?|cutoff len|block size"
)
_NUMBERED = Lazy(
    r"\b(?:steps?|iter(?:ation)?s?|epochs?|updates?|lines?|layers?|rows?|ports?|seeds?|ids?|jobs?|pid|nodes?|ranks?|version|day|week|lr)\s*[#:=]?\s*$"
)
"""Before a number it makes it the number of something, and no length."""
_OTHER_THINGS = Lazy(
    r"[\s-]*(?:words?|characters?|chars?|letters|sentences?|lines?|pages?|chunks?|paragraphs?|bytes?|wörter|zeichen|seiten)\b"
)
"""After a number: a length, but not in tokens."""
_SERVED = Lazy(r"\b(?:rps|qps|ttft|tpot|itl)\b", "rps|qps|ttft|tpot|itl")
"""Only a load has these."""
_LEAST = 8
"""Tokens that a prompt or an answer has at least (assumed): "24/7" is no pair."""
_LONGEST_ANSWER = 131_072
"""Tokens that an answer has at most (assumed): more are those of a day."""
TRAINING_TOKENS = 1e6
"""From here on, a number of tokens is a corpus and not a prompt (assumed)."""


@dataclass(frozen=True)
class Field:
    """A field of the brief with its value, and where it was read."""

    field: str
    value: float
    span: Span
    said: str
    """The value with its unit."""


def find_traffic(text: Text, found: list[Quantity], training: bool) -> tuple[list[Field], list[Quantity]]:
    """Fields of load, model and hardware; the quantities that are left."""
    found, lower = _of_the_peak(text, found)
    rated = any(q.dimension in ("request rate", "token rate", "money per M tokens") for q in found)
    fields = _pairs(text, rated or bool(_SERVED.search(text.plain)))
    rest: list[Quantity] = []
    for quantity in found:
        if not text.is_free(quantity.span):
            continue
        field = _field(text, quantity, training)
        if field is None:
            rest.append(quantity)
        else:
            fields.append(field)
            text.take(field.span)
    return fields, [*rest, *lower]


_PEAK = r"\b(?:peaks?|bursts?|burst(?:y|ing)|spik(?:es?|ing)|rush|busiest|worst case|max(?:imum)?|up to)\b"
_USUAL = r"\b(?:average|avg|mean|typical(?:ly)?|usual(?:ly)?|normal(?:ly)?|off[- ]?peak|quiet|idle|night|base(?:line)?|median|steady|sustained)\b"


def _of_the_peak(text: Text, found: list[Quantity]) -> tuple[list[Quantity], list[Quantity]]:
    """ "40 rps peak, 10 rps average" are one load, that of the peak, which the machines must bear; the others come second."""
    rates = [one for one in found if one.dimension == "request rate"]
    words = {one.span: _own_words(text, one, rates) for one in rates}
    low = [one for one in rates if re.search(_USUAL, words[one.span])]
    peak = [one for one in rates if one not in low and re.search(_PEAK, words[one.span])]
    if len(rates) < 2 or not (peak or len(low) == len(rates) - 1) or len({one.high for one in rates}) < 2:
        return found, []
    highest = max(peak or [one for one in rates if one not in low], key=lambda one: one.high)
    if not low or any(one.high > highest.high for one in low):
        return found, []
    return [one for one in found if one not in low], low


def _own_words(text: Text, one: Quantity, others: list[Quantity]) -> str:
    """What stands around a rate, up to half way of the next one, a comma or the end of the clause."""
    clause = text.clause(one.span.start)
    before = max([clause.start, *(o.span.end for o in others if o.span.end <= one.span.start)])
    after = min([clause.end, *(o.span.start for o in others if o.span.start >= one.span.end)])
    left = re.split(r"[,;]|\bbut\b|\band\b", text.plain[before : one.span.start])[-1]
    right = re.split(r"[,;]|\bbut\b|\band\b|\bpeak\s*$", text.plain[one.span.end : after])[0]
    return f"{left} | {right}"


def _pairs(text: Text, loaded: bool) -> list[Field]:
    fields = []
    for match in text.search(_EACH_WAY):
        span = Span(*match.span())
        fields += [_length(which, _tokens(match[1]), Span(*match.span(1))) for which in ("prompt", "output")]
        text.take(span)
    for match in [
        *text.search(_PAIR),
        *text.search(_PREFIXED),
        *text.search(_NAMED_PAIR),
        *(text.search(_BARE_PAIR) if loaded else ()),
    ]:
        first, second = (_tokens(part) for part in match.groups())
        if not text.is_free(Span(*match.span())) or min(first, second) < _LEAST:
            continue
        fields += [_length("prompt", first, Span(*match.span(1))), _length("output", second, Span(*match.span(2)))]
        text.take(Span(*match.span()))
    return fields


def _tokens(words: str) -> float:
    plain = words.replace(",", "")
    return float(plain[:-1]) * 1e3 if plain.endswith("k") else float(plain)


def _length(which: str, value: float, span: Span) -> Field:
    return Field(f"load.{which}_tokens", round(value), span, f"{round(value):,} tokens")


def _field(text: Text, quantity: Quantity, training: bool) -> Field | None:
    match quantity.dimension:
        case "request rate" if quantity.high > 0:
            return Field(
                "load.requests_per_s", quantity.high, quantity.span, f"{quantity.high:.6g} requests/s{quantity.note}"
            )
        case "money per hour" if not quantity.note:
            return Field("hardware.price_usd_per_hour", quantity.high, quantity.span, f"{quantity.high:.6g} USD/h")
        case "tokens" | "none":
            return _lengths(text, quantity, training)
        case "parameters" if training and _OF_A_STEP.search(text.plain, 0, quantity.span.start):
            return Field("model.batch_tokens", quantity.high, quantity.span, f"{quantity.high:,.0f} tokens a step")
        case "parameters" if re.match(
            r"\s*(?:training\s+)?(?:tokens?|toks?)\b", text.plain[quantity.span.end :]
        ) or _LABEL.search(text.plain, 0, quantity.span.start):
            return Field("model.tokens", quantity.high, quantity.span, humanize(quantity.high, "token"))
    return None


def _lengths(text: Text, quantity: Quantity, training: bool) -> Field | None:
    value = quantity.high
    paired = _OUT_OF_PAIR.match(text.plain, quantity.span.end) and re.search(
        r"\d\S*\s+(?:\w+\s+)?in\W+(?:and\s+)?$", text.plain[: quantity.span.start]
    )
    if value < (1 if quantity.dimension == "tokens" or paired else _LEAST) or value != round(value):
        return None
    around = near(text, quantity, 28)
    left, _, right = around.replace("_", " ").partition("|")
    left = re.split(r"[,;]|\band\b", left)[-1]
    if quantity.dimension == "none" and (_NUMBERED.search(left) or _OTHER_THINGS.match(right)):
        return None
    per_step = re.search(r"batch|\bbsz?\b|\bgbs\b", left) or re.match(
        r"\s*(?:per|a|in a|each)?\s*(?:global\s*)?(?:batch(?:es)?|steps?)\b", right
    )
    if quantity.dimension == "tokens" and training and per_step:
        return Field("model.batch_tokens", value, quantity.span, f"{value:,.0f} tokens a step")
    reach = re.match(r"[\s-]*(?:tokens?\s+)?(?:of\s+)?(?:context|ctx|window)\b", right)
    if quantity.dimension == "tokens" and value >= TRAINING_TOKENS and not reach:
        return Field("model.tokens", value, quantity.span, humanize(value, "token"))
    if training and (_SEQUENCE.search(left) or _SEQUENCE.match(right.lstrip(" -"))):
        return _sequence(text, quantity)
    if (
        training
        and quantity.dimension == "tokens"
        and re.search(r"\b(?:at|with)\s+$", left)
        and not re.match(r"\s*(?:of|in|from)\b", right)
    ):
        return _sequence(text, quantity)  # "at 8192 tokens"
    if training and re.search(r"\b(?:context|ctx|window|sequences?|seq)\b", text.plain[slice(*_ends(text, quantity))]):
        return _sequence(text, quantity)
    own = (
        {"input": "prompt", "prompt": "prompt", "context": "prompt"}.get(quantity.note, "output")
        if quantity.note
        else None
    )
    counted = quantity.dimension == "tokens"
    which = own or _which(left, right, counted or text.plain[: quantity.span.end].endswith("k"), training, counted)
    if which is None and counted and not training:
        which = _of_clause(text, quantity)
    if which is None or (which == "output" and value > _LONGEST_ANSWER):
        return None
    return _length(which, value, quantity.span)


_IN_K = Lazy(r"\d\s*k\b")


def _sequence(text: Text, quantity: Quantity) -> Field:
    """A context of "8k" is 8,192 tokens: such lengths are powers of two."""
    value, words = quantity.high, text.plain[quantity.span.start : quantity.span.end + 2]
    thousands = int(value // 1000)
    if _IN_K.search(words) and value == thousands * 1000 and thousands & (thousands - 1) == 0:
        value = thousands * 1024.0
    return Field("model.sequence_tokens", value, quantity.span, f"{value:,.0f} tokens")


def _of_clause(text: Text, quantity: Quantity) -> str | None:
    """ "answers can be shorter, 80 tokens": the one of both that its clause speaks of."""
    clause = text.clause(quantity.span.start)
    spoken = text.plain[clause.start : quantity.span.start]
    kinds = [which for which, words in (("output", _OUT), ("prompt", _LONG)) if re.search(rf"\b{words}\b", spoken)]
    return kinds[0] if len(kinds) == 1 else None


def _ends(text: Text, quantity: Quantity) -> tuple[int, int]:
    """Start and end of the words around a quantity, up to the next comma."""
    clause = text.clause(quantity.span.start)
    comma = text.plain.find(",", quantity.span.end, clause.end)
    return max(clause.start, text.plain.rfind(",", 0, quantity.span.start) + 1), clause.end if comma < 0 else comma


def _which(left: str, right: str, tokens: bool, training: bool, counted: bool) -> str | None:
    """Whether the words around a number make it a prompt's or an answer's length."""
    joint = r"[\s-]*(?:tokens?[\s-]*)?(?:of\s+|for\s+(?:the\s+)?|long\s+|per\s+)?(?:(?:system|user|rag|full|typical|average|avg|max|shared|cached)\s+)?"
    if plain := re.match(
        r"\s*(?:(?:tokens?|toks?|ctx|context|length)\s+)?(?:(?:go|come|goes|comes|going|coming)\s+)?(in|out|back)\b(?!\s+(?:of|the|a|an|my|our|total|\d+\s*(?:days?|weeks?|hours?|minutes?|months?|ms|s|votes?|questions?|items?|cases?|comparisons?|samples?|rounds?|runs?|games?|trials?)\b)\b)",
        right,
    ):
        return "prompt" if plain[1] == "in" else "output"
    if counted and not training and (one := _OF_ONE.match(right)) and not re.match(rf"(?:{_OUT})\b", one["thing"]):
        return "prompt"  # "900 tokens a frame"
    if _PAIRS.match(right) or _OF_THEM.match(right) or (not (tokens and not training) and _COUNTED.match(right)):
        return None  # "15k answer pairs", "82 of 100 answers"
    if re.match(rf"{joint}(?:{_OUT})\b{_NO_NUMBER}", right):
        return "output"
    if re.match(rf"{joint}(?:{_IN})\b(?!\s*(?:to|for|over)\s+\d){_NO_NUMBER}", right):
        return "prompt"
    if counted and re.match(rf"[\s-]*(?:of\s+|long\s+)?(?:{_READ})\b{_NO_NUMBER}", right):
        return "prompt"  # "3k-token documents"
    if tokens and not training and re.search(r"\b(?:in|down )to\s+(?:about\s+|around\s+|some\s+|at most\s+)?$", left):
        return "output"  # "summarise 5k token reports into 300 tokens"
    tail = rf"(?:\s+tokens?)?(?:\s*(?:length|size|len|tokens|seq|sequence|count|budget)\b)*\s*{_ABOUT_SO}\s*$"
    if re.search(rf"\b{_OUT}{tail}", left) and not re.search(r"\bout of\s*$", left):
        return "output"
    if re.search(rf"\b{_READ if tokens else _IN}{tail}", left) and not re.search(r"\bin\s+$", left):
        return "prompt"
    if (
        tokens
        and not training
        and (
            verb := re.search(
                rf"\b(?:(send|feed|submit|upload)|(get|return|produc|writ|emit|extract|generat|stream))\w*{_ABOUT_SO}\s*$",
                left,
            )
        )
    ):
        return "prompt" if verb[1] else "output"
    if (
        tokens
        and not training
        and re.search(
            rf"\b[a-z]{{3,}}\s+(?:has|have|contains?|holds?|takes?|runs? to|comes? to|is|are)\b{_ABOUT_SO}\s*$", left
        )
    ):
        return "prompt"  # "a claim has about 3,500 tokens"
    of_things = _OF_THINGS.search(left) or re.match(r"\s*(?:each|apiece)\b", right)
    return "prompt" if counted and not training and of_things else None
