"""What a person asked in free text, what was read from it, and the page that answers: the nouns of consultation.

A `Page` is a report whose numbers are looked up in a ledger of its own, so that an answer obeys the same guard as the report
of a run: a number without evidence does not render. Reading text and composing answers live in `counsel`.
"""

from typing import Literal

from pydantic import Field

from aether.spec.base import Noun
from aether.spec.brief import Brief, Question
from aether.spec.evidence import Evidence
from aether.spec.report import Report

Intent = Literal[
    "build", "pretrain", "continue", "finetune", "align", "compress", "serve", "evaluate", "merge", "compare", "diagnose",
    "explain", "review", "unknown",
]  # fmt: skip
"""What the person wants done. `build`: design and train a model from a brief without naming one that exists."""


Sought = Literal["hardware", "load", "estimate"]


class Read(Noun):
    """One field that was read from the text: what it became, and the words (`text[start:end]`) that it was read from."""

    field: str
    """Dotted path in `Request`: "intent", "brief.model.name", "brief.hardware.count", "brief.targets.ttft_p99", "methods"."""
    value: str
    """As a person would check it, with its unit: "500 ms", "8", "llama-3.1-70b"."""
    words: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)


class Request(Noun):
    """Free text as read. What was not understood is kept and said; nothing is guessed silently."""

    text: str
    intent: Intent = "unknown"
    brief: Brief = Brief()
    methods: tuple[str, ...] = ()
    """Techniques that were named, by their names in `knowledge` (lora, dpo, awq, ties, speculative-decoding, ...)."""
    topics: tuple[str, ...] = ()
    """Topics of `aether explain` that were named or asked about."""
    subjects: tuple[str, ...] = ()
    """Files, folders, runs or logs that were named."""
    sought: tuple[Sought, ...] = ()
    """What is asked for of what a person otherwise gives: hardware (which, how many), a load (how much is taken), or an estimate (a yes or no, a
    time, a cost), for which what was not said may be taken as usual."""
    reads: tuple[Read, ...] = ()
    contradictions: tuple[str, ...] = ()
    """Sentences: two things that cannot both be meant."""
    unread: tuple[str, ...] = ()
    """Words with numbers or names that no field took."""


class Reference(Noun):
    """A source that a page cites."""

    title: str
    address: str
    as_of: str
    """The day on which it was read or its version, YYYY-MM-DD."""


class Page(Noun):
    """A document whose every number is in `evidence` or in `brief`."""

    report: Report
    evidence: tuple[Evidence, ...] = ()
    brief: Brief = Brief()
    references: tuple[Reference, ...] = ()
    stale: tuple[str, ...] = ()
    """Facts on the page that are old enough to be checked again, as sentences."""


Status = Literal["answered", "needs_input", "infeasible", "declined", "not_understood"]


class Answer(Noun):
    """The reply to a request. `needs_input` has questions, each with its reason and a default that can be accepted."""

    schema_version: Literal[1] = 1
    status: Status
    request: Request
    questions: tuple[Question, ...] = ()
    page: Page
    """Always there: what was understood, and as much of an answer as can be given."""
