"""The units that a bare number may have: its own, that of the numbers beside it, that of its column's head or of the list that it stands in."""

import re
from collections.abc import Iterator
from dataclasses import replace

from aether.counsel.claims.numbers import Said, numbers_of

_BARE = re.compile(r"\s*(?:$|[.,;:)\]}|→/(–-]|(?:each|apiece|together|altogether|in (?:total|all)|left|spare|of (?:the |your )?\$?\d+|and|or|to|vs|versus|against|instead|rather|compared|by|with|for|at|before|after|in|on|while|is|was|were|are|per|down|up|than|from|over|under|as|but|though|if|when|so|not|again|now|respectively|gives?|makes?|means)\b)", re.IGNORECASE)  # fmt: skip
"""What follows a number that counts nothing of its own."""
_IN_SUM = re.compile(r"\s[/÷×*+-]\s")
_HEAD_UNITS = (
    (re.compile(r"(?:\$|\bUSD)\s*(?:/|per)\s*(?:1?M\b|million)|\b(?:cost|price) (?:/|per) (?:M\b|million)", re.IGNORECASE), "USD per million tokens"),
    (re.compile(r"\b(?:tokens?|toks?)(?:/s\b| per second)", re.IGNORECASE), "tokens/s"),
    (re.compile(r"(?:\(|\[|\bin |/ |, )(?P<unit>ms|s|min|h|GB|GiB|MB|TB|%|percent|points?|USD|\$|seconds|minutes|hours|milliseconds)\s*[)\],:]?(?:\s|$)"), ""),
    (re.compile(r"(?P<unit>\$|\bUSD\b|\bms\b|\bGB\b|%)"), ""),
    (re.compile(r"\b(?P<unit>[Dd]ays|[Hh]ours|[Mm]inutes|[Ss]econds)\b"), ""),
)  # fmt: skip
_LISTED = re.compile(r"\b(?:in|as)\s+(?P<unit>tokens (?:per second|/s)|tokens/s|milliseconds|ms|seconds|minutes|hours|GB|USD|dollars|percent|points)\b[^.;\d]{0,24}[:,(]", re.IGNORECASE)  # fmt: skip


def readings_of(number: Said, said: list[Said], text: str, context: str) -> Iterator[Said]:
    """The number as it is, then in each unit that it may share. `said`: the numbers of the sentence, after the last of the one before."""
    yield number
    if number.unit != "count" or number.ratio:
        return
    end = number.start + len(number.words)
    if _BARE.match(text[end:]):
        place = said.index(number)
        near = sorted(
            (o for o in said if o is not number and o.unit != "count"), key=lambda o: abs(said.index(o) - place)
        )
        for other in {o.unit: o for o in reversed(near)}.values():
            yield from _in_unit_of(number, other)
    if "%" in text and _IN_SUM.search(text[max(0, number.start - 3) : number.start] + text[end : end + 3]):
        yield replace(number, low=number.low / 100, high=number.high / 100, step=number.step / 100, unit="fraction")
    units = [m["unit"] for m in _LISTED.finditer(text)][:1]
    if "|" in context or not text[: number.start].strip():
        units += [unit or m["unit"] for pattern, unit in _HEAD_UNITS if (m := pattern.search(context))][:1]
    for unit in units:
        yield from (
            Said(n.low, n.high, n.unit, n.step, number.words, number.start)
            for n in numbers_of(f"{number.words.strip()} {unit.replace('$', 'USD')}")[:1]
        )


_THOUSANDS = re.compile(r"\d\s?(?:[kK]\b|thousand\b|million\b|billion\b)")
_LEAST = 1000.0


def _in_unit_of(number: Said, other: Said) -> Iterator[Said]:
    shown = re.findall(r"\d[\d,]*(?:\.\d+)?", other.words)
    value = float(shown[-1].replace(",", "")) if shown else 0.0
    if value and not other.ratio:
        k = other.high / value
        yield replace(number, low=number.low * k, high=number.high * k, step=number.step * k, unit=other.unit)
        if _THOUSANDS.search(other.words) and number.low >= _LEAST:  # "about 1.4k tokens/s, from 1,380 to 1,466"
            yield replace(number, unit=other.unit)
