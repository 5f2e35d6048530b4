"""Changes by a factor: "double the load", "if traffic triples", "prompts twice as long", "half as many GPUs", "20 % more tokens"."""

import re
from collections.abc import Iterator

from aether.counsel.reading.numbers import spelled
from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.text import Text
from aether.spec.brief import Brief

_FACTOR = Lazy(
    r"\b(?P<word>doubl(?:e[sd]?|ing)|twice|tripl(?:e[sd]?|ing)|quadrupl(?:e[sd]?|ing)|halv(?:e[sd]?|ing)|half|(?:a )?third of|(?:a )?quarter of)\b"
    r"|(?<![\w.])(?P<times>\d+(?:\.\d+)?|three|four|five|ten)\s*(?:x|times|-?fold)(?![\w-])"
    r"|(?P<sign>[+-])?(?<![\w.])(?P<share>\d+(?:\.\d+)?)\s*(?:%|percent)\s*(?P<way>more|less|fewer|longer|shorter|higher|lower|bigger|smaller|of)?"
)
_WORDS = {"doubl": 2.0, "twice": 2.0, "tripl": 3.0, "quadr": 4.0, "halv": 0.5, "half": 0.5}
_WHATS = {
    "load": r"load|traffic|rate|requests?|rps|qps|volume|demand|users",
    "prompt": r"prompts?|inputs?|documents?|contexts?|questions?",
    "output": r"outputs?|answers?|completions?|repl(?:y|ies)|responses?|generations?",
    "devices": r"gpus?|devices?|cards?|hardware|accelerators?|chips?|nodes?",
    "corpus": r"tokens|data|corpus",
}
_WHAT = Lazy("|".join(rf"\b(?P<{name}>{words})\b" for name, words in _WHATS.items()))


def scaled(brief: Brief, text: Text) -> Brief:
    """The brief with every factor of the text applied to what stands nearest to it."""
    for factor, what in _factors(text):
        brief = _applied(brief, factor, what)
    return brief


def _factors(text: Text) -> Iterator[tuple[float, str]]:
    for match in text.search(_FACTOR):
        clause = text.clause(match.start())
        named = [
            w
            for w in _WHAT.finditer(text.plain, clause.start, clause.end)
            if w.start() >= match.end() or w.end() <= match.start()
        ]
        factor = _value(match)
        if named and factor:
            nearest = min(
                named, key=lambda w: w.start() - match.end() if w.start() >= match.end() else match.start() - w.end()
            )
            yield factor, nearest.lastgroup or ""


def _value(match: re.Match[str]) -> float | None:
    if word := match["word"]:
        known = next((value for start, value in _WORDS.items() if word.startswith(start)), None)
        return known or (1 / 3 if "third" in word else 1 / 4)
    if times := match["times"]:
        return float(times) if times[0].isdigit() else spelled(times)
    share, way = float(match["share"]) / 100, match["way"]
    if way == "of":
        return share
    if way in ("less", "fewer", "shorter", "lower", "smaller") or match["sign"] == "-":
        return 1 - share if share < 1 else None
    return 1 + share if way or match["sign"] else None


def _applied(brief: Brief, factor: float, what: str) -> Brief:
    if what in ("load", "prompt", "output"):
        name = {"load": "requests_per_s", "prompt": "prompt_tokens", "output": "output_tokens"}[what]
        if what != "load" and name not in brief.load.model_fields_set:
            return brief
        value = getattr(brief.load, name) * factor
        return brief.model_copy(
            update={"load": brief.load.model_copy(update={name: value if what == "load" else round(value)})}
        )
    if what == "devices" and brief.hardware is not None:
        hardware = brief.hardware
        count = max(1, round(hardware.count * factor))
        counts = {name: max(1, round(each * factor)) for name, each in hardware.counts.items()}
        return brief.model_copy(update={"hardware": hardware.model_copy(update={"count": count, "counts": counts})})
    if what == "corpus" and brief.model is not None and brief.model.tokens:
        return brief.model_copy(
            update={"model": brief.model.model_copy(update={"tokens": brief.model.tokens * factor})}
        )
    return brief
