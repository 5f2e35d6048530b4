"""Requests that another part of Aether answers: explanations, diagnoses of runs and reviews of configurations, by their commands."""

from aether.counsel.answers.draft import Draft, command, note
from aether.spec.report import Paragraph, text_of

USES: frozenset[str] = frozenset()
"""Nothing is weighed here."""


def answer_explain(draft: Draft) -> None:
    """Which topic, and the command that explains it."""
    topics = draft.request.topics or draft.request.methods or ("TOPIC",)
    _hand(draft, "Read the explanation.", [f"aether explain {topic}" for topic in topics])


def answer_diagnose(draft: Draft) -> None:
    """Which run or log, and the command that diagnoses it."""
    _hand(
        draft,
        "Have the run or its log diagnosed.",
        [f"aether diagnose {s}" for s in draft.request.subjects or ("RUN_OR_LOG",)],
    )


def answer_review(draft: Draft) -> None:
    """Which files, and the command that reviews them."""
    _hand(
        draft, "Have the configuration reviewed.", [f"aether review {s}" for s in draft.request.subjects or ("FILE",)]
    )


def _hand(draft: Draft, decision: str, commands: list[str]) -> None:
    draft.section("decision", "Decision", Paragraph(text=text_of(decision), tone="decision"))
    draft.section("code", "Code", draft.code("bash", "\n".join(commands) + "\n"))
    draft.section(
        "experiment",
        "Next experiment",
        note("What is found there can be asked about again with ", command('aether ask --follow "…"'), "."),
    )
