"""Holds a reply against its ground: every number, result and citation must be a record's, a tool's, the person's own, or a cited fact's.

A number must agree in value (as rounded as it is said), unit and subject: the sentence speaks of the same metric, of no benchmark and
of no model that its source does not know. What the person wrote may be repeated as theirs, not as a result. Products and quotients of
supported numbers are computed. What is not supported makes its sentence, row or code unverified, as a whole. Words that claim a result
without a number need a tool that said so.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from aether.counsel.claims.citations import unknown_citations
from aether.counsel.claims.code import code_problems
from aether.counsel.claims.facts import Fact, Ground, cells_of, content_words, noun_after, said_again
from aether.counsel.claims.names import benchmarks_in, models_in, without_names
from aether.counsel.claims.normal import Unit, units
from aether.counsel.claims.numbers import Said, numbers_of
from aether.counsel.claims.subjects import Subject, subject_of
from aether.counsel.claims.tables import cited, known_versions

_RESULT = re.compile(
    r"\b(?:measured|achiev\w*|scor(?:e|es|ed|ing)|reach(?:es|ed)?|attain\w*|obtain\w*|benchmark(?:ed|s)?|observ\w*|deliver(?:s|ed)?|hit(?:s|ting)?|clock\w*|record(?:s|ed)|report(?:s|ed)|"
    r"our (?:tests?|runs?|experiments?|results?)|result(?:s|ed)?|got|gets|came (?:in|out)|yield(?:s|ed)?|improv\w*|outperform\w*|gain(?:s|ed)?|tested|evaluat(?:es|ed))\b",
    re.IGNORECASE,
)
_OF_THE_PERSON = re.compile(
    r"\b(?:your|you|asked|bound|target|limit|budget|request(?:ed)?|brief|want(?:ed)?|need(?:ed)?|at the load|required?|requirement|allow(?:s|ed)?|given|under a load|constraint|slo|ceiling|cap)\b",
    re.IGNORECASE,
)
_CLAIMS = (
    re.compile(r"\b(?:state[- ]of[- ]the[- ]art|sota)\b", re.I),
    re.compile(
        r"\b(?:outperform|surpass|beat|exceed|outclass|outscore|best|rival)(?:s|es|ed|ing)?\b(?=[^.]{0,60}\b(?:gpt|claude|gemini|llama|qwen|mistral|deepseek|gemma|model|models|baseline|human|humans|peers?|benchmark|everything|all (?:other|known)|every))",
        re.I,
    ),
    re.compile(
        r"\b(?:(?:on par with|comparable to|matches|equals?|as good as|better than|superior to)\b[^.]{0,40}\b(?:gpt|claude|gemini|llama|qwen|mistral|deepseek|gemma|human)|indistinguishable from)",
        re.I,
    ),
    re.compile(
        r"\b(?:i|we) (?:have )?(?:ran|run|tested|measured|benchmarked|evaluated|verified|confirmed|profiled|trained|timed|observed|checked|reproduced|validated|deployed)\b",
        re.I,
    ),
    re.compile(
        r"\b(?:our|my|internal|recent|several|multiple|many|independent|numerous|published|peer-reviewed) (?:\w+ )?(?:tests?|benchmarks?|experiments?|measurements?|evaluations?|studies|study|runs?|papers?|research|results?|ablations?)\b[^.]{0,30}\b(?:show|shows|showed|shown|confirm|prove|proved|demonstrat|indicat|suggest|found|reveal|report|agree)",
        re.I,
    ),
    re.compile(
        r"\b(?:studies|papers|research|benchmarks|experiments|evaluations|literature|experts|the community|practitioners) (?:\w+ )?(?:show|confirm|prove|demonstrat|indicat|suggest|agree|report|found|have shown|has shown|recommend|advise|prefer|say|believe|know)",
        re.I,
    ),
    re.compile(
        r"\b(?:is|are|was|has been|have been|were) (?:widely |well |independently |empirically |experimentally |thoroughly |formally )?(?:proven|proved|verified|validated|confirmed|shown|demonstrated|certified)\b",
        re.I,
    ),
    re.compile(
        r"\b(?:no|zero|without(?: any)?|negligible|minimal|imperceptible|virtually no) (?:measurable |noticeable |visible |detectable |significant |observable )?(?:quality |accuracy |performance )?(?:loss|degradation|drop|regression)\b(?! scal)",
        re.I,
    ),
    re.compile(
        r"\blossless(?:ly)?\b|\bperfect (?:score|accuracy|recall)\b|\bflawless(?:ly)?\b|\bhuman[- ]level\b|\bsuperhuman\b|\bworld[- ]record\b|\bindustry[- ]leading\b|\bfastest\b[^.]{0,30}\b(?:available|ever|known|world|market)|\bguarantee[sd]?\b",
        re.I,
    ),
    re.compile(
        r"\b(?:significantly|dramatically|substantially|vastly|considerably|consistently|always|clearly|statistically significant(?:ly)?) (?:\w+ )?(?:better|faster|cheaper|outperform\w*|improv\w*|higher|lower|reduc\w*)\b",
        re.I,
    ),
    re.compile(
        r"\b(?:won|tops?|topped|leads?|ranked|ranks|first place|number one) (?:on |in |the )?(?:the )?(?:leaderboard|benchmark|arena|ranking)",
        re.I,
    ),
    re.compile(
        r"\b(?:prozent|pour ?cent|por ?ciento|per ?cento|процент\w*|percento|procent)\b|百分之|パーセント|퍼센트|प्रतिशत|بالمئة",
        re.I,
    ),
)
_HEDGED = re.compile(r"\b(?:whether|if|unless|would|should|could|may|might|can(?:not)?|to (?:test|measure|check|verify|confirm|prove|see|show)|not (?:yet )?(?:been )?(?:measured|verified|tested|shown|proven|confirmed|known)|no public|unknown|unproven|until|before|once|until it is|must be|has to be|need(?:s)? to be|claim|ask|without (?:evidence|a measurement)|no evidence)\b", re.I)  # fmt: skip
_VERSION = re.compile(r"\bv\d+\.\d+(?:\.\d+)*\b|(?<![\w.])\d+\.\d+\.\d+(?:[.\w]*)?(?![\w%])")
_CHINESE = re.compile(r"[〇零一二三四五六七八九十百千万亿两]{2,}|[〇零一二三四五六七八九十百千]+\s*[%分倍点]")
_SPLIT_DIGITS = re.compile(r"\b(?=\w*\d)(?=\w*[OolISB])\d*[OolISB]\d+%?|\b[OolIS]\d\.\d|\d[OolI]%")


@dataclass(frozen=True)
class Problem:
    """Something in a unit that nothing supports."""

    kind: Literal["number", "result", "citation", "code"]
    words: str
    why: str


@dataclass(frozen=True)
class Judged:
    """A unit with what is wrong in it."""

    unit: Unit
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Checked:
    """A reply, unit by unit."""

    reply: str
    judged: tuple[Judged, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All of them, in order."""
        return tuple(p for j in self.judged for p in j.problems)

    @property
    def is_supported(self) -> bool:
        """Whether everything stands."""
        return not self.problems

    def struck(self) -> str:
        """The reply with every unsupported part struck and marked: never shown as fact."""
        text = self.reply
        for judged in reversed([j for j in self.judged if j.problems]):
            unit = judged.unit
            text = text[: unit.start] + _struck(text[unit.start : unit.end], unit) + text[unit.end :]
        return text

    def feedback(self) -> str:
        """What a model is told when its reply is sent back."""
        lines = [f"- {p.words!r}: {p.why}" for p in self.problems]
        return (
            "These parts of the reply are supported by no record, tool, or cited fact. Take them out, say that they are unknown and how they "
            "would be measured, or call the tool that decides them:\n" + "\n".join(dict.fromkeys(lines))
        )


def check(reply: str, ground: Ground) -> Checked:
    """Judge every unit of a reply."""
    return Checked(reply, tuple(Judged(unit, tuple(_problems(unit, ground))) for unit in units(reply)))


def _struck(text: str, unit: Unit) -> str:
    if unit.kind == "code":
        return f"*(unverified: this code states results or numbers that nothing supports; it is not shown)*\n\n~~{len(text.splitlines())} lines of {unit.language or 'text'}~~"
    if unit.kind == "row":
        cells = [c.strip() for c in text.strip().strip("|").split("|")]
        return "| " + " | ".join(f"~~{re.sub('~~', '', c)}~~ *unverified*" if c else " " for c in cells) + " |"
    lead = re.match(r"\s*(?:#{1,6}\s+)?(?:[-*+]\s+|\d+[.)]\s+)?", text)
    head = lead[0] if lead else ""
    body = re.sub(r"~~", "", " ".join(text[len(head) :].split()))
    return f"{head}~~{body}~~ *(unverified)*"


def _problems(unit: Unit, ground: Ground) -> Iterator[Problem]:
    if unit.kind == "code":
        yield from (
            Problem("code", words, why)
            for words, why in code_problems(unit, ground, lambda text: list(_of_prose(text, "", ground)))
        )
        return
    if said_again(unit.plain, ground):
        return
    if unit.kind == "row" and unit.context.count("|") >= 2:
        for cell, context in cells_of(unit):
            if not said_again(cell, ground):
                yield from _of_prose(cell, context, ground)
        return
    yield from _of_prose(unit.plain, unit.context, ground)


def _of_prose(text: str, context: str, ground: Ground) -> Iterator[Problem]:
    yield from (Problem("citation", words, why) for words, why in unknown_citations(text, ground))
    for pattern in _CLAIMS:
        for match in pattern.finditer(text):
            if not (_HEDGED.search(text) or text.rstrip().endswith("?")):
                yield Problem("result", match[0], "a result that no tool found")
    bare = without_names(_without_citations(text))
    for match in _VERSION.finditer(bare):
        if match[0].lstrip("v") not in known_versions() and match[0].lstrip("v") not in ground.literals:
            yield Problem("number", match[0], "no such release was looked up")
    for match in _CHINESE.finditer(text):
        yield Problem("number", match[0], "no record, tool or cited fact says this of it")
    for match in _SPLIT_DIGITS.finditer(bare):
        yield Problem("number", match[0], "digits and letters mixed")
    said = numbers_of(bare)
    computed = _computed(bare, said, text, context, ground)
    proud = _RESULT.search(text) is not None and _HEDGED.search(text) is None
    held = [_supported(number, text, context, ground) for number in said]
    for number, stands in zip(said, held, strict=True):
        if number.start in computed:
            continue
        only_asked = stands and proud and not any(_supported(n, text, context, ground, asked=False) for n in said)
        if not stands or only_asked:
            yield Problem("number", number.words.strip(), "no record, tool or cited fact says this of it")


_CITED = re.compile(
    r"\barXiv[:\s]*\d{4}\.\d{4,5}(?:v\d+)?|\b\d{4}\.\d{4,5}\b|https?://\S+|\bdoi:?\s*10\.\S+|\b10\.\d{4,}/\S+",
    re.IGNORECASE,
)


def _without_citations(text: str) -> str:
    """Numbers of papers and addresses are judged as citations."""
    text = _CITED.sub(lambda m: " " * len(m[0]), text)
    return re.sub(
        r"\b(?:[Tt]able|[Ff]ig(?:ure|\.)?|[Ss]ection|[Ss]ec\.|[Aa]ppendix|[Ee]q(?:uation|\.)?|[Cc]hapter|[Pp]age|p\.)\s*\d+(?:\.\d+)*|§\s*\d+(?:\.\d+)*",
        lambda m: " " * len(m[0]),
        text,
    )


def _supported(number: Said, text: str, context: str, ground: Ground, *, asked: bool = True) -> bool:
    about = f"{context} {text}"
    words = content_words(about)
    names, benches = models_in(text), benchmarks_in(about)
    results = _RESULT.search(text) is not None and not (_OF_THE_PERSON.search(text) or _HEDGED.search(text))
    facts = [f for f in (*ground.facts, *cited()) if asked or f.kind != "person"]
    subject = subject_of(text, number.start, number.start + len(number.words), context)
    for value in {number.low, number.high}:
        if not any(
            _holds(
                number, value, fact, Around(words, names, benches, subject, results, noun_after(text, number)), ground
            )
            for fact in facts
        ):
            return False
    return True


@dataclass(frozen=True)
class Around:
    """What stands around a number: words, models, benchmarks, its subject, and whether the sentence tells of a result."""

    words: frozenset[str]
    names: frozenset[str]
    benchmarks: frozenset[str]
    subject: Subject
    results: bool
    noun: str


def _holds(number: Said, value: float, fact: Fact, around: Around, ground: Ground) -> bool:
    """Whether a fact says this number of this subject."""
    names = around.names
    if not _same_value(number, value, fact) or not around.benchmarks <= fact.benchmarks:
        return False
    if fact.kind == "person":
        loose = fact.unit in ("count", "token", "request/s", "parameter")
        return (
            not around.results
            and names <= (fact.names | ground.names)
            and (loose or around.subject.agrees(fact.subject))
        )
    counted = fact.unit == "count" and bool(fact.noun) and fact.noun == around.noun
    if not counted and not (
        around.subject.agrees(fact.subject) and _of_this_option(around.subject, fact.subject, ground)
    ):
        return False
    shared = len(around.words & fact.words)
    if fact.kind == "cited":
        of = names or (fact.names & ground.main)
        return of <= fact.names and (bool(fact.names & of) or not fact.names) and shared >= fact.needed
    if not names <= (fact.names | ground.main) or (
        fact.kind == "tool" and fact.names and names and not names & fact.names
    ):
        return False
    if fact.unit == "n":
        return True
    if fact.unit == "level":
        return "%" in number.words or bool(around.words & _LEVELS)
    return counted or shared >= fact.needed


def _of_this_option(asked: Subject, known: Subject, ground: Ground) -> bool:
    """A number of another option than the decided one needs a trait of that option beside it."""
    if not known.traits or not ground.decided or known.traits == ground.decided:
        return True
    return bool(asked.traits) and asked.traits <= known.traits and not asked.traits <= ground.decided


_LEVELS = frozenset({"interval", "confidence", "probability", "chance", "sure", "range", "likely", "end"})
_SAME_UNITS = {
    "count": {
        "token",
        "parameter",
        "count",
        "request",
        "ratio",
        "document",
        "step",
        "n",
        "byte",
        "bit/byte",
        "nat/token",
        "fraction",
        "loss",
    },
    "fraction": {"fraction", "level", "ratio"},
    "parameter": {"parameter", "count", "token"},
    "token": {"token", "count"},
}


def _same_value(number: Said, value: float, fact: Fact) -> bool:
    unit, other = number.unit, fact.unit
    known = fact.value
    if unit.startswith("USD per"):
        if other != "USD" or unit.split()[-1] not in fact.words:
            return False
        unit = "USD"
    if number.ratio:
        return other in ("ratio", "times as fast", "times", "x") and _close(value, known, number.step)
    if unit != other and other not in _SAME_UNITS.get(unit, set()):
        plain_word = unit == "count" and other not in ("s", "USD", "token/s", "request/s", "FLOP/s", "byte/s", "level")
        if not (plain_word or (unit == "fraction" and other in ("%", "percent"))):
            return False
        if unit == "fraction":
            known = known / 100
    if unit == "count" and other in ("fraction", "level"):
        return False
    return _close(value, known, number.step) or (known < 0 and _close(value, -known, number.step))


def _close(said: float, known: float, step: float) -> bool:
    return abs(said - known) <= 0.5 * step * (1 + 1e-6) + 1e-12 * abs(known)


_EQUATION = re.compile(
    r"(?P<a>[\d.,]+)[^\d=]{0,24}?\s*(?P<op>[x×*/÷+]|times|divided by|plus|-)\s*\$?(?P<b>[\d.,]+)[^=\d]{0,32}(?:=|equals|is|makes|gives|comes to)\s*(?:about\s+|roughly\s+|~\s*)?\$?(?P<c>[\d.,]+)"
)


def _of_the_person(number: Said, ground: Ground) -> bool:
    """Whether the person wrote this number, in whatever unit."""
    return any(f.kind == "person" and _close(number.high, f.value, number.step) for f in ground.facts)


def _computed(bare: str, said: list[Said], text: str, context: str, ground: Ground) -> set[int]:
    """Starts of numbers that are the result of arithmetic on supported ones, which the sentence spells out."""
    found: set[int] = set()
    for match in _EQUATION.finditer(bare):
        try:
            a, b, c = (float(match[name].rstrip(".,").replace(",", "")) for name in ("a", "b", "c"))
        except ValueError:
            continue
        results = {
            "x": a * b,
            "×": a * b,
            "*": a * b,
            "times": a * b,
            "/": a / b if b else math.nan,
            "÷": a / b if b else math.nan,
            "divided by": a / b if b else math.nan,
            "+": a + b,
            "plus": a + b,
            "-": a - b,
        }
        parts = [n for n in said if match.start() <= n.start < match.end()]
        if len(parts) < 3:
            continue
        last = parts[-1]
        sources = [n for n in parts[:-1] if _supported(n, text, context, ground) or _of_the_person(n, ground)]
        scale = last.high / c if c else 1.0
        if len(sources) >= 2 and math.isclose(
            results[match["op"]], c, abs_tol=0.5 * last.step / (scale or 1.0) * (1 + 1e-6)
        ):
            found |= {n.start for n in parts}
    return found
