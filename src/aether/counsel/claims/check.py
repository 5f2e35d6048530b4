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

from aether.counsel.claims.citations import foreign_quotes, unknown_citations, without_own_quotes
from aether.counsel.claims.code import code_problems
from aether.counsel.claims.facts import Ground, said_again
from aether.counsel.claims.names import without_names
from aether.counsel.claims.normal import Unit, units
from aether.counsel.claims.numbers import Said
from aether.counsel.claims.ratios import wrong_orders
from aether.counsel.claims.rows import cells_of
from aether.counsel.claims.settle import UNKNOWN, Sentence, without_places
from aether.counsel.claims.tables import known_versions
from aether.counsel.claims.verdicts import (
    significance_stands,
    verdict_stands,
    without_known_loss,
    without_significance,
    without_verdict,
    wrong_superlatives,
)
from aether.counsel.claims.wording import is_denied, results_without_numbers

_PRODUCT_VERSION = re.compile(
    r"\b(?:CUDA|ROCm|cuDNN|NCCL|[Pp]y[Tt]orch|torch|v?LLM|vllm|SGLang|sglang|[Tt]ensorRT(?:-LLM)?|TRT-LLM|[Tt]ransformers|[Tt]riton|flash-attn|[Dd]river|[Kk]ernel|[Dd]eep[Ss]peed|Megatron|TRL|trl|peft|Ollama|llama\.cpp)"
    r"(?: (?:version|release))? v?(?P<version>\d+(?:\.\d+)+)"
)
_VERSION = re.compile(r"\bv\d+\.\d+(?:\.\d+)*\b|(?<![\w.])\d+\.\d+\.\d+(?:[.\w]*)?(?![\w%])")
_CHINESE = re.compile(r"[〇零一二三四五六七八九十百千万亿两]{2,}|[〇零一二三四五六七八九十百千]+\s*[%分倍点]")
_FOREIGN_COUNT = re.compile(
    r"\b(?:zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|zwölf|zwanzig|hundert|deux|trois|quatre|cinq|sept|huit|neuf|dix|vingt|cent|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|diez|veinte|cien) "
    r"(?:stunden|tagen?|minuten|sekunden|wochen|punkten?|prozent|heures|jours|minutes|secondes|semaines|horas|días|minutos|segundos|semanas|puntos)\b",
    re.IGNORECASE,
)
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
    said: tuple[Said, ...] = ()
    """Its last numbers that stand: what comes after it may go on from them."""

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
    reader = _Reader(reply, ground)
    judged = tuple(Judged(unit, tuple(reader.problems(unit))) for unit in units(reply))
    return Checked(reply, judged, tuple(reader.earlier))


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


_ORDER_HEAD = re.compile(
    r"(?:^|\s)\|\s*(?:#|no\.?|nr\.?|rank|step|phase|stage|order|priority|option)?\s*\|", re.IGNORECASE
)
"""A table whose first column counts its rows."""


class _Reader:
    """Reads a reply from its start: what a sentence rests on may have been said before it."""

    def __init__(self, reply: str, ground: Ground) -> None:
        self.reply, self.ground = reply, ground
        self.earlier: list[Said] = list(ground.said_before)
        self.last: Unit | None = None

    def problems(self, unit: Unit) -> Iterator[Problem]:
        """What is wrong in the next unit."""
        ground = self.ground
        last, self.last = self.last, unit if unit.kind == "sentence" else None
        if unit.kind == "code":
            found = code_problems(unit, ground, lambda text: list(self._of_prose(text, "")))
            yield from (Problem("code", words, why) for words, why in found)
        elif said_again(unit.plain, ground):
            list(self._of_prose(unit.plain, unit.context))  # a tool's own sentence: its numbers may be computed with
        elif unit.kind == "row" and unit.context.count("|") >= 2:
            row: list[Said] = []
            for cell, context in cells_of(unit):
                list(self._of_prose(cell, context, row=row))  # a cell may follow from one after it
            for place, (cell, context) in enumerate(cells_of(unit)):
                if place <= 1 and re.fullmatch(r"\s*\d{1,2}[.)]?\s*", cell) and _ORDER_HEAD.search(unit.context):
                    continue
                if not said_again(cell, ground):
                    yield from self._of_prose(cell, context, row=row)
            self.earlier += row[-8:]
        else:
            together = last is not None and "\n" not in self.reply[last.end : unit.start]
            yield from self._of_prose(unit.plain, unit.context, last.plain if last is not None and together else "")

    def _of_prose(self, text: str, context: str, before: str = "", row: list[Said] | None = None) -> Iterator[Problem]:
        ground = self.ground
        yield from (Problem("citation", words, why) for words, why in unknown_citations(text, ground))
        yield from (Problem("citation", words, why) for words, why in foreign_quotes(text, ground))
        text = without_own_quotes(text, ground)
        if (significant := significance_stands(text, ground)) is False:
            yield Problem("result", text.strip()[:60], "the p-value on record says otherwise")
        if significant:
            text = without_significance(text)
        sentence = Sentence(text, context, ground, self.earlier if row is None else row, before, row is not None)
        stands = verdict_stands(text, ground)
        if stands is False:
            yield Problem("result", text.strip()[:60], "the tool judged that option otherwise")
        yield from (Problem("result", words, why) for words, why in wrong_superlatives(text, ground))
        yield from (Problem("result", words, why) for words, why in wrong_orders(text, ground))
        judged = without_known_loss(without_verdict(text) if stands else text, ground)
        found = results_without_numbers(judged, ground.heard, seen=sentence.was_run())
        yield from (Problem("result", words, "a result that no tool found") for words in found)
        yield from _tools_not_called(text, ground)
        bare = without_names(without_places(text))
        for match in _VERSION.finditer(bare):
            release = match[0].lstrip("v").rstrip(".")
            if release not in known_versions() and release not in ground.literals:
                yield Problem("number", match[0], "no such release was looked up")
        for match in _PRODUCT_VERSION.finditer(text):
            if match["version"] not in known_versions() and match["version"] not in ground.literals:
                yield Problem("number", match[0], "no such release was looked up")
        for match in (*_CHINESE.finditer(text), *_FOREIGN_COUNT.finditer(text)):
            yield Problem("number", match[0], UNKNOWN)
        for match in _SPLIT_DIGITS.finditer(bare):
            yield Problem("number", match[0], "digits and letters mixed")
        yield from (Problem("number", words, why) for words, why in sentence.problems())


_OF_A_TOOL = re.compile(
    r"\b`?(?P<tool>diagnose|review|doctor|simulate|fit_scaling|launch_build|run_status|show_run|compare_runs|list_runs|plan_build|reproduce_run|list_results|show_results|lay_out_study|evaluate_model|red_team|judge_pairs)`?(?: tool)? (?:has )?(?:found|finds|returned|returns|says|said|reports?|reported|shows?|showed|gave|gives|confirm\w*)\b"
)


_STATE = re.compile(
    r"\b(?:is|are) (?:now|currently|already|still) (?:at|on|running|training|in|done|finished)\b|\b(?:was|were|has been|have been) (?:started|launched|cancell?ed|stopped|submitted|queued)\b|"
    r"\b(?:is|are) (?:ready|done|finished|complete|available|stored|saved) (?:in|at|under)\b|\b(?:run|job|build|training|launch) (?:has|is) (?:started|finished|completed|begun|done|running|at)\b",
    re.IGNORECASE,
)
_OF_RUNS = frozenset(
    {
        "launch_build",
        "run_status",
        "show_run",
        "list_runs",
        "cancel_run",
        "reproduce_run",
        "compare_runs",
        "list_results",
        "show_results",
        "evaluate_model",
        "red_team",
        "judge_pairs",
    }
)


def _tools_not_called(text: str, ground: Ground) -> Iterator[Problem]:
    if not ground.tools & _OF_RUNS and not is_denied(text):
        yield from (Problem("result", match[0], "no tool looked at a run") for match in _STATE.finditer(text))
    for match in _OF_A_TOOL.finditer(text):
        if match["tool"] not in ground.tools:
            yield Problem("result", match[0], "that tool was not called")
