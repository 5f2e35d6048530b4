"""Holds a reply against its ground: every number, result and citation must be a record's, a tool's, the person's own, or a cited fact's.

A number must agree in value (as rounded as it is said), unit and subject: the sentence speaks of the same metric, of no benchmark and
of no model that its source does not know. What the person wrote may be repeated as theirs, not as a result. Products and quotients of
supported numbers are computed. What is not supported makes its sentence, row or code unverified, as a whole. Words that claim a result
without a number need a tool that said so.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from aether.counsel.claims.arithmetic import computed
from aether.counsel.claims.citations import foreign_quotes, unknown_citations, without_own_quotes
from aether.counsel.claims.code import code_problems
from aether.counsel.claims.facts import Ground, cells_of, said_again
from aether.counsel.claims.names import without_names
from aether.counsel.claims.normal import Unit, units
from aether.counsel.claims.numbers import Said, numbers_of
from aether.counsel.claims.support import MEASURED, RESULT, close, supported
from aether.counsel.claims.tables import known_versions
from aether.counsel.claims.wording import HEDGED, hypothetical, is_denied, results_without_numbers

_PRODUCT_VERSION = re.compile(
    r"\b(?:CUDA|ROCm|cuDNN|NCCL|[Pp]y[Tt]orch|torch|v?LLM|vllm|SGLang|sglang|[Tt]ensorRT(?:-LLM)?|TRT-LLM|[Tt]ransformers|[Tt]riton|flash-attn|[Dd]river|[Kk]ernel|[Dd]eep[Ss]peed|Megatron|TRL|trl|peft|Ollama|llama\.cpp)"
    r"(?: (?:version|release))? v?(?P<version>\d+(?:\.\d+)+)"
)
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
        for place, (cell, context) in enumerate(cells_of(unit)):
            if place <= 1 and re.fullmatch(r"\s*\d{1,2}[.)]?\s*", cell) and _ORDER_HEAD.search(unit.context):
                continue
            if not said_again(cell, ground):
                yield from _of_prose(cell, context, ground)
        return
    yield from _of_prose(unit.plain, unit.context, ground)


_ORDER_HEAD = re.compile(
    r"(?:^|\s)\|\s*(?:#|no\.?|nr\.?|rank|step|phase|stage|order|priority|option)?\s*\|", re.IGNORECASE
)
"""A table whose first column counts its rows."""


def _of_prose(text: str, context: str, ground: Ground) -> Iterator[Problem]:
    yield from (Problem("citation", words, why) for words, why in unknown_citations(text, ground))
    yield from (Problem("citation", words, why) for words, why in foreign_quotes(text, ground))
    text = without_own_quotes(text, ground)
    yield from (
        Problem("result", words, "a result that no tool found") for words in results_without_numbers(text, ground.heard)
    )
    yield from _tools_not_called(text, ground)
    bare = without_names(_without_citations(text))
    for match in _VERSION.finditer(bare):
        release = match[0].lstrip("v").rstrip(".")
        if release not in known_versions() and release not in ground.literals:
            yield Problem("number", match[0], "no such release was looked up")
    for match in _PRODUCT_VERSION.finditer(text):
        if match["version"] not in known_versions() and match["version"] not in ground.literals:
            yield Problem("number", match[0], "no such release was looked up")
    for match in _CHINESE.finditer(text):
        yield Problem("number", match[0], "no record, tool or cited fact says this of it")
    for match in _SPLIT_DIGITS.finditer(bare):
        yield Problem("number", match[0], "digits and letters mixed")
    said = numbers_of(bare)
    open_parts = list(hypothetical(text))
    sums = computed(bare, said, text, context, ground)
    proud = RESULT.search(text) is not None and HEDGED.search(text) is None
    as_seen = MEASURED.search(text) is not None and not (is_denied(text) or _LATER.search(text))
    held = [supported(number, text, context, ground) for number in said]
    for number, stands in zip(said, held, strict=True):
        if (
            number.start in sums
            or ground.names_it(text, number)
            or any(start <= number.start < end for start, end in open_parts)
        ):
            continue
        only_asked = stands and proud and not any(supported(n, text, context, ground, asked=False) for n in said)
        if not stands or only_asked:
            yield Problem("number", number.words.strip(), "no record, tool or cited fact says this of it")
        elif number.unit != "count" and _DIFFERS.search(text[: number.start]) and not _is_difference(number, ground):
            yield Problem("number", number.words.strip(), "a value that is known, but not as a difference")
        elif as_seen and number.unit != "count" and not _may_be_seen(number, text, context, ground):
            yield Problem("number", number.words.strip(), "it was computed, not measured")


_LATER = re.compile(r"\b(?:when|once|after|before|until|compare)\b", re.IGNORECASE)
_OF_A_TOOL = re.compile(
    r"\b`?(?P<tool>diagnose|review|doctor|simulate|fit_scaling|launch_build|run_status|show_run|compare_runs|list_runs|plan_build|reproduce_run)`?(?: tool)? (?:has )?(?:found|finds|returned|returns|says|said|reports?|reported|shows?|showed|gave|gives|confirm\w*)\b"
)


_STATE = re.compile(
    r"\b(?:is|are) (?:now|currently|already|still) (?:at|on|running|training|in|done|finished)\b|\b(?:was|were|has been|have been) (?:started|launched|cancell?ed|stopped|submitted|queued)\b|"
    r"\b(?:is|are) (?:ready|done|finished|complete|available|stored|saved) (?:in|at|under)\b|\b(?:run|job|build|training|launch) (?:has|is) (?:started|finished|completed|begun|done|running|at)\b",
    re.IGNORECASE,
)
_OF_RUNS = frozenset(
    {"launch_build", "run_status", "show_run", "list_runs", "cancel_run", "reproduce_run", "compare_runs"}
)


def _tools_not_called(text: str, ground: Ground) -> Iterator[Problem]:
    if not ground.tools & _OF_RUNS and not is_denied(text):
        yield from (Problem("result", match[0], "no tool looked at a run") for match in _STATE.finditer(text))
    for match in _OF_A_TOOL.finditer(text):
        if match["tool"] not in ground.tools:
            yield Problem("result", match[0], "that tool was not called")


_DIFFERS = re.compile(
    r"\b(?:fre(?:es?|eing)|sav(?:es?|ing)|gain(?:s|ing)?|shav(?:es?|ing)|cut(?:s|ting)?|drop(?:s|ping)?|f[ae]ll(?:s|ing)?|ris(?:es?|ing)|add(?:s|ing)?|increas\w+|reduc\w+|improv\w+) "
    r"(?:you |it |this |the \w+ )?(?:by |off )?(?:about |roughly |around |some )?$",
    re.IGNORECASE,
)


def _is_difference(number: Said, ground: Ground) -> bool:
    """Whether a tool said this value as more or less of something."""
    return any(
        close(number.high, fact.value, number.step)
        and re.search(r"\b(?:less|more|fewer|lower|higher|sav\w+|los\w+)\b", fact.source)
        for fact in ground.facts
    )


def _may_be_seen(number: Said, text: str, context: str, ground: Ground) -> bool:
    """Whether it was measured, or is a bound that the person set."""
    return supported(number, text, context, ground, seen=True)


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
