"""Which numbers of a sentence stand: each in its own unit or in that of the number that it is set beside, supported by a fact or following from others."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from aether.counsel.claims.arithmetic import computed
from aether.counsel.claims.around import RESULT
from aether.counsel.claims.comparisons import turned_round
from aether.counsel.claims.derived import (
    ELSEWHERE,
    SPELLED,
    Operand,
    concludes,
    follows,
    operand,
    restated,
    spelled_operands,
)
from aether.counsel.claims.facts import Ground
from aether.counsel.claims.identities import fleet_prices, identities
from aether.counsel.claims.labels import AFTER, BEFORE
from aether.counsel.claims.names import without_names
from aether.counsel.claims.numbers import Said, numbers_of
from aether.counsel.claims.pairs import RELATIVE, apart, of_one
from aether.counsel.claims.pools import may_be_reckoned, pool
from aether.counsel.claims.readings import readings_of
from aether.counsel.claims.reckoning import reckoned
from aether.counsel.claims.support import MEASURED, records_of, supported
from aether.counsel.claims.tables import cited
from aether.counsel.claims.values import close
from aether.counsel.claims.wording import HEDGED, hypothetical, is_denied

UNKNOWN = "no record, tool or cited fact says this of it"
_KEPT = 16
"""How many supported numbers are remembered for what is concluded from them: assumed."""


@dataclass
class Sentence:
    """One sentence or cell that is judged, with the supported numbers that stood before it."""

    text: str
    context: str
    ground: Ground
    earlier: list[Said] = field(default_factory=list)
    before: str = ""
    """The sentence before it in its paragraph: what "it" is."""
    cell: bool = False
    """It is a table's: what its head names is done to the numbers before it in its row."""

    def __post_init__(self) -> None:
        self.said = numbers_of(without_names(without_places(self.text)))
        self.readings = {
            n.start: list(readings_of(n, [*self.earlier[-4:], *self.said], self.text, self.context)) for n in self.said
        }
        bare = without_names(without_places(self.text))
        self.sums, self.wrong_sums, self.open_results = computed(
            bare, self.said, self.text, self.context, self.ground, self.earlier
        )
        self.supposed = list(hypothetical(self.text))
        self.stands: dict[int, Said] = {}
        """Where a number starts -> the reading of it that is supported."""
        self.derived: set[int] = set()

    def supported(self, number: Said, **how: bool) -> Said | None:
        """The reading of a number that some fact supports."""
        around = self.text[max(0, number.start - 24) : number.start + 40]
        if number.unit == "fraction" and RELATIVE.search(around):
            return None  # a share of what was before is computed, not on record
        if _OTHER_DATA.search(self.text) and number.unit in ("fraction", "point") and not is_denied(self.text):
            return None
        readings = self.readings[number.start]
        found = next((r for r in readings if supported(r, self.text, self.context, self.ground, **how)), None)
        if found is None and self.before:
            said = f"{self.context} {self.before}"
            found = next((r for r in readings if supported(r, self.text, said, self.ground, **how)), None)
        return found

    def was_run(self) -> bool:
        """Whether one of its numbers was measured here."""
        if not any(fact.ran for fact in self.ground.facts):
            return False
        return bool(self.sums) or any(self.supported(number, asked=False, ran=True) for number in self.said)

    def problems(self) -> Iterator[tuple[str, str]]:
        """(words, why) of the numbers that do not stand."""
        open_parts = self.supposed
        for number in self.said:
            if (reading := self.supported(number)) is not None:
                self.stands[number.start] = reading
        for number in self.said:
            if number.start not in self.stands and any(self._is_implied(r) for r in self.readings[number.start]):
                self.stands[number.start] = number
                self.derived.add(number.start)
        for number in self.said:
            if number.start in self.sums:
                self.stands.setdefault(number.start, number)
        self._derive()
        yield from ((words, "the sum comes to something else") for words in self.wrong_sums)
        yield from turned_round(self.text, list(self.stands.values()))
        yield from miscounted(self.text, self.ground)
        yield from self._before_and_after()
        if (
            (one := _ON_ONE.search(self.text))
            and self.stands
            and self.ground.device_counts
            and 1 not in self.ground.device_counts | self.ground.layouts
            and not is_denied(self.text)
            and not self.ground.was_said(one[0])
        ):
            yield one[0], "the numbers on record are of another count of devices"
        for number in self.said:
            tiny = number.unit == "byte" and number.high in (1, 2, 4, 8)  # of a number format
            free = (
                tiny
                or any(m.start("span") == number.start for m in _PERIOD.finditer(self.text))
                or any(m.start() <= number.start < m.end() for m in _SETTING.finditer(self.text))
                or any(start <= number.start < end for start, end in open_parts)
                or self.ground.names_it(self.text, number)
                or self._is_of_formula(number)
                or _is_of_width(f"{self.before} {self.text}", number)
                or (_OF_DEVICES.match(self.text, number.start) is not None and number.high in self.ground.device_counts)
            )
            if number.start not in self.sums and not free and (why := self._objection(number)):
                yield number.words.strip(), why
        self.earlier += [replace(r, start=-1 - _KEPT + i) for i, r in enumerate(self.stands.values())]
        del self.earlier[:-_KEPT]

    def _is_implied(self, number: Said) -> bool:
        """Whether it follows from one record that is not said, or from two of one metric."""
        if of_one(number, self.text, self.context, self.ground):
            return True
        said = [*self.earlier[-4:], *self.stands.values()]
        return apart(number, said, self.text, f"{self.context} {self.before}", self.ground)

    def _before_and_after(self) -> Iterator[tuple[str, str]]:
        """ "From 6.9 to 8.4": the first is of what was before."""
        for match in re.finditer(r"\bfrom\s+(?=[\d$])|(?:^|[\s:(])(?=\$?\d[\d.,]*\s*[%\w]{0,3}\s*(?:→|->))", self.text):
            pair = [
                end
                for n in self.said
                if n.start >= match.end() and n.start in self.stands
                for end in _ends(self.stands[n.start])
            ][:2]
            if len(pair) == 2:
                words = self.text[match.start() :].split(",")[0]
                first, second = (records_of(n, self.text, self.context, self.ground) for n in pair)
                after = all(f.labels & AFTER or "end" in f.words for f in first)
                if (
                    first
                    and second
                    and after
                    and all(f.labels & BEFORE or f.words & {"lowest", "early"} for f in second)
                ):
                    yield words, "the change goes the other way"
                yield from turned_round(self.text, pair)

    def _derive(self) -> None:
        """Numbers that follow from those that stand; what follows may be used again."""
        known: list[Operand] = []
        for _ in range(2):
            widths = [n for n in self.said if n.unit == "byte" and n.high in (1, 2, 4, 8)]
            ends = [end for stands in (*self.stands.values(), *widths) for end in _ends(stands)]
            counts = [
                n for n in self.said if _OF_DEVICES.match(self.text, n.start) and n.high in self.ground.device_counts
            ]
            known = [operand(end) for end in (*ends, *counts)] + spelled_operands(self.text)
            known += self._periods()
            known += [
                Operand(price / 3600, (-1, 0, 1, 0), 0.0, "USD per hour", _FLEET) for price in fleet_prices(self.ground)
            ]
            known += [operand(n) for n in self.said if any(a <= n.start < b for a, b in self.supposed)]
            known += [operand(n) for n in self.said if n.ratio and n.spelled and _WOULD.search(self.text)]
            known += device_memories(self.ground) if _ROOM.search(self.text) and not self.derived else []
            known += batches(self.ground) if _OF_BATCHES.search(self.text) else []
            named = f"{self.text} | {self.context}" if self.cell else self.text
            if concludes(self.text) or self.cell or "|" in self.context:
                known += [replace(operand(r), start=-1 - i) for i, r in enumerate(self.earlier)]
            if self.cell or _OF_ALL.search(self.text):
                known += [Operand(float(n), (0, 0, 0, 0), 0.0, "count", -100) for n in self.ground.device_counts]
            known += [
                operand(Said(f.value, f.value, f.unit, 0.0, "", ELSEWHERE - i))
                for i, f in enumerate(self.ground.facts)
                if f.kind == "person" and f.asked
            ]
            for number in self.said:
                if number.start in self.stands or number.start in self.sums | self.open_results:
                    continue
                usable = known if number.unit.startswith("USD") else [o for o in known if o.start != _FLEET]
                for reading in self.readings[number.start]:
                    again = any(restated(reading, other, self.text) for other in self.stands.values())
                    if number.low == number.high and (again or follows(reading, named, usable)):
                        self.stands[number.start] = reading
                        self.derived.add(number.start)
                        break
        self._reckon(known)

    def _reckon(self, known: list[Operand]) -> None:
        """Numbers that a few steps lead to from what is on record, where that is no chance."""
        said = [*known, *(replace(operand(r), start=-1 - i) for i, r in enumerate(self.earlier))]
        for number in self.said:
            if number.start in self.stands or number.start in self.sums | self.open_results:
                continue
            for reading in self.readings[number.start]:
                if may_be_reckoned(reading, self.text, self.context, self.ground) and (
                    self._was_said(reading)
                    or reckoned(
                        reading, operand(reading), pool(reading, self.text, self.context, self.ground, said), self.text
                    )
                ):
                    self.stands[number.start] = reading
                    self.derived.add(number.start)
                    said.append(operand(reading))
                    break

    def _was_said(self, number: Said) -> bool:
        """Whether it is a number that was worked out before, said again."""
        telling = number.step <= 0.05 * abs(number.high)
        return telling and any(r.unit == number.unit and close(number.high, r.high, number.step) for r in self.earlier)

    def _is_apart(self, number: Said) -> bool:
        """Whether it is what two amounts that were said, or what all devices cost, are apart."""
        one = operand(number)
        said = [operand(r) for r in (*self.stands.values(), *self.earlier)]
        said += [Operand(p / 3600, (-1, 0, 1, 0), 0.0, "USD per hour") for p in fleet_prices(self.ground)]
        return any(
            a.unit == b.unit == one.unit and abs(a.value - b.value - one.value) <= one.slack * (1 + 1e-6)
            for a, b in itertools.permutations(said, 2)
        )

    def _is_of_formula(self, number: Said) -> bool:
        """A number of a formula with powers of variables, as a tool said it."""
        inside = any(m.start() <= number.start < m.end() for m in _FORMULA.finditer(self.text))
        return inside and number.words.strip() in self.ground.literals

    def _periods(self) -> list[Operand]:
        """ "Over 24 hours": a length of time that is no claim, to be computed with."""
        spans = {m.start("span") for m in _PERIOD.finditer(self.text)}
        return [operand(n) for n in self.said if n.start in spans]

    def _objection(self, number: Said) -> str:
        reading = self.stands.get(number.start)
        if reading is None:
            return UNKNOWN
        told = self.supported(number, told=True) is not None
        if number.start in self.derived and _COMPARED.match(self.text, number.start + len(number.words)):
            told = any(self.supported(n, told=True) for n in self.said)
        if _ATTRIBUTED.search(self.text) and not is_denied(self.text) and not told:
            return "the source that is named does not say it"
        if number.start in self.derived:
            return ""
        direct = self.supported(number) is not None
        proud = RESULT.search(self.text) is not None and HEDGED.search(self.text) is None
        if direct and proud and not any(self.supported(n, asked=False) for n in self.said):
            return UNKNOWN
        if not direct or number.unit == "count":
            return ""
        differs = _DIFFERS.search(self.text[: number.start]) and not _is_difference(reading, self.ground)
        if differs and not self._is_apart(reading):
            return "a value that is known, but not as a difference"
        as_seen = MEASURED.search(self.text) is not None and not (is_denied(self.text) or _LATER.search(self.text))
        wished = self.supported(number, asked=False) is None
        if as_seen and not wished and self.supported(number, seen=True) is None:
            return "it was computed, not measured"
        return ""


_COMPARED = re.compile(r"\s*(?:points? )?(?:more|less|fewer|higher|lower|better|worse|apart)\b", re.IGNORECASE)
_WOULD = re.compile(r"\b(?:would|could|might)\b|\w'd\b|\bif you\b", re.IGNORECASE)
_FORMULA = re.compile(r"[A-Za-z]\w* ?[=≈] ?[^,;:=]*?[A-Z]\^[\d.]+(?: ?[-+*/·×] ?[\w.^]+)*")


_OF_BATCHES = re.compile(r"\b(?:batch(?:es)?|steps?|updates?)\b", re.IGNORECASE)


def batches(ground: Ground) -> list[Operand]:
    """Tokens of a step, of which so many steps have so many tokens."""
    found = [f for f in identities(ground) if f.unit == "token" and "step" in f.words]
    return [operand(Said(f.value, f.value, "token", 0.0, "", ELSEWHERE - 700 - i)) for i, f in enumerate(found)]


def device_memories(ground: Ground) -> list[Operand]:
    """What the devices of the conversation hold, which a sentence about room need not say."""
    memory = [f for f in cited() if f.unit == "byte" and f.names & ground.names and "hbm" in f.words]
    return [operand(Said(f.value, f.value, "byte", 0.0, "", ELSEWHERE - 500 - i)) for i, f in enumerate(memory)]


_ROOM = re.compile(r"\b(?:spare|left|lea(?:ve|ves|ving)|free|headroom|room|remain\w*)\b", re.IGNORECASE)
_FLEET = -200
"""Where the price of all devices "stands": it is computed with for sums of money alone."""


_HALF_AS_WIDE = re.compile(r"\b(?:fp8|int8|(?:8|eight)[- ]bits?)\b.*\b(?:cache|weights|peak)\b", re.IGNORECASE)


def _is_of_width(text: str, number: Said) -> bool:
    """ "An fp8 cache halves that": what the format's name says."""
    return number.ratio and number.spelled and number.high in (0.5, 2.0) and _HALF_AS_WIDE.search(text) is not None


_COUNT_IN_WORDS = re.compile(r"\b(?P<count>two|three|four|five|six|seven|eight|nine|ten|eleven|twelve) (?P<noun>[a-z]{4,})s\b", re.IGNORECASE)  # fmt: skip


def miscounted(text: str, ground: Ground) -> Iterator[tuple[str, str]]:
    """(words, why) of counts in words of what a record counted otherwise: "seven spikes" of three."""
    for match in _COUNT_IN_WORDS.finditer(text):
        counted = {
            f.value
            for f in ground.facts
            if f.ran and f.unit == "count" and f.group.rstrip("s") == match["noun"].lower()
        }
        if (
            counted
            and not is_denied(text)
            and not ground.was_said(match[0])
            and SPELLED[match["count"].lower()] not in counted
        ):
            yield match[0], "a record counts otherwise"


def without_places(text: str) -> str:
    """Numbers of papers, addresses, tables and pages are judged as citations."""
    for pattern in (_CITED, _PLACES):
        text = pattern.sub(lambda m: " " * len(m[0]), text)
    return text


_CITED = re.compile(
    r"\barXiv[:\s]*\d{4}\.\d{4,5}(?:v\d+)?|\b\d{4}\.\d{4,5}\b|https?://\S+|\bdoi:?\s*10\.\S+|\b10\.\d{4,}/\S+",
    re.IGNORECASE,
)
_PLACES = re.compile(
    r"\b(?:[Tt]able|[Ff]ig(?:ure|\.)?|[Ss]ection|[Ss]ec\.|[Aa]ppendix|[Ee]q(?:uation|\.)?|[Cc]hapter|[Pp]age|p\.)\s*\d+(?:\.\d+)*|§\s*\d+(?:\.\d+)*"
)


def _ends(number: Said) -> list[Said]:
    """Both ends of "6.93 to 8.41" in the order in which they are said."""
    if number.low == number.high:
        return [number]
    shown = [(m.start(), float(m[0].replace(",", ""))) for m in re.finditer(r"\d[\d,]*(?:\.\d+)?", number.words)][:2]
    if len(shown) < 2:
        return [number]
    low, high = (number.low, number.high) if shown[0][1] <= shown[1][1] else (number.high, number.low)
    at = number.start + shown[1][0]
    first = replace(number, low=low, high=low, words=number.words[: shown[1][0]].rstrip("to -–→"))
    return [first, replace(number, low=high, high=high, words=number.words[shown[1][0] :], start=at)]


_SETTING = re.compile(
    r"(?:--[a-z][\w-]+[ =]|\b(?!\w*(?:acc|score|ttft|tpot|loss|mfu|throughput|latency|ppl|mmlu))[a-z]\w*\.\w+ = )\d[\d.e-]*"
)
"""A setting that is given, as on a command line."""
_OF_DEVICES = re.compile(r"\d+\s*(?:x|×)?\s*(?:GPU|gpu|device|card|accelerator|[AHBLV]\d{1,3}0?\b)s?\b")
_ON_ONE = re.compile(
    r"\bon (?:one|a single|1|just one|only one) (?:[AHBLV]\d{1,3}\w*|MI\d+\w*|GPU|gpu|device|card|accelerator)\b(?!s)",
    re.IGNORECASE,
)
_OTHER_DATA = re.compile(
    r"\b(?:on|for|to|in) (?:unseen|out-of-distribution|out-of-domain|arbitrary|any|all other|other|new|different) (?!(?:hand|words|case|runs?)\b)[a-z]+",
    re.IGNORECASE,
)
"""What was measured on some data is not said of other data."""
_ATTRIBUTED = re.compile(
    r"(?:\bet al\b|\barXiv\b|\bpapers?\b|\bauthors?\b)[^.;]{0,40}?(?:\.[^.;]{0,24})?\b(?:reports?|reported|shows?|showed|finds?|found|states?|stated|gives?|measures?|measured|claims?|says?|list(?:s|ed)?)\b|"
    r"\baccording to\b[^.;]{0,40}(?:\bet al\b|\barXiv\b|\bpaper\b)",
    re.IGNORECASE,
)
"""Words that lay what is said at a paper's door."""
_PERIOD = re.compile(
    r"(?:\b(?:over|in|for|per|of|every|a month of|a year of)\s+(?:a (?:month|year) of\s+|a\s+)?|\b(?:day|week|month|year)\b[^.;,\d]{0,16}\(\s*)"
    r"(?P<span>30-day(?= month)|24-hour(?= day)|24 h(?:ours)?|7 days|30 days|365 days|12 months|60 minutes|60 seconds|168 h(?:ours)?|720 h(?:ours)?|730 h(?:ours)?|8,?760 h(?:ours)?)\b",
    re.IGNORECASE,
)
_OF_ALL = re.compile(r"\b(?:each|apiece|in total|altogether|together|all of them|both)\b", re.IGNORECASE)
_LATER = re.compile(r"\b(?:when|once|after|before|until|compare)\b", re.IGNORECASE)
_DIFFERS = re.compile(
    r"\b(?:fre(?:es?|eing)|sav(?:es?|ing)|gain(?:s|ing)?|shav(?:es?|ing)|cut(?:s|ting)?|drop(?:s|ping)?|f[ae]ll(?:s|ing)?|ris(?:es?|ing)|add(?:s|ing)?|increas\w+|reduc\w+|improv\w+) "
    r"(?:you |it |this |the \w+ )?(?:by |off )?(?:about |roughly |around |some )?$",
    re.IGNORECASE,
)


def _is_difference(number: Said, ground: Ground) -> bool:
    """Whether a tool said this value as more or less of something, or a record is of a difference."""
    scale = 0.01 if number.unit == "point" else 1.0
    return any(
        close(number.high * scale, fact.value, number.step * scale)
        and re.search(
            r"\b(?:less|more|fewer|lower|higher|sav\w+|los\w+)\b|differ|delta|gain|change",
            fact.group if fact.kind == "record" else fact.source,
        )
        for fact in ground.facts
    )
