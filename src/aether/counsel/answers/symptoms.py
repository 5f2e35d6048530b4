"""The answer to "what is wrong with my training": the diagnosis of a log that is here, else what the words themselves point at.

Words show no cause: without a log the page says which causes stand first and why, the experiment that tells them apart, and the command
that holds them against the log.
"""

import shlex
from dataclasses import dataclass

from aether.counsel.answers.draft import Draft, command, items, note, paragraph, table
from aether.counsel.answers.handover import handed, here
from aether.counsel.reading.text import Span, Text, negated
from aether.knowledge.training_symptoms import Clue, Symptom, clues, symptoms
from aether.report.pieces import user
from aether.spec.report import Block, Paragraph, text_of

USES = frozenset({"fp16", "bf16", "lora", "qlora"})
"""Methods that are weighed as clues."""


@dataclass(frozen=True)
class Cause:
    """What may be behind a symptom, with the words of the question that speak for it."""

    text: str
    words: tuple[str, ...]


def answer_diagnose(draft: Draft) -> None:
    """The diagnosis of the run or log that is named and here; else of the symptoms that were said; else the command."""
    paths = here(draft)
    if paths:
        from aether.counsel.diagnosis.diagnose import diagnose

        draft.adopt(diagnose(paths[0]))
        return
    subjects = draft.request.subjects or ("RUN_OR_LOG",)
    commands = [f"aether diagnose {shlex.quote(subject)}" for subject in subjects]
    text = Text.of(draft.request.text)
    said = symptoms_in(text)
    if not said:
        handed(draft, "Have the run or its log diagnosed.", commands)
        return
    _decided(draft, said[0], causes_of(said[0], text))
    for symptom in said:
        draft.section(symptom.key, symptom.title, *_causes(causes_of(symptom, text)))
    draft.section("experiment", "Next experiment", items(*(text_of(s.experiment) for s in said)))
    topics = dict.fromkeys(topic for symptom in said for topic in symptom.topics)
    commands += [f"aether explain {topic}" for topic in topics]
    draft.section("code", "Code", draft.code("bash", "\n".join(commands) + "\n"))
    draft.section(
        "uncertain",
        "What is uncertain",
        paragraph(
            "No log was read: the causes are engineering practice, not measured on your run. ",
            command("aether diagnose"),
            " holds them against the log and quotes the lines that show them.",
        ),
    )


def symptoms_in(text: Text) -> tuple[Symptom, ...]:
    """The symptoms that a question names, in the order of its words: "no NaN" names none, "validation loss goes up" one."""
    found = [
        (Span(match.start(), match.end()), symptom)
        for symptom in symptoms().values()
        for match in symptom.said.finditer(text.plain)
        if not negated(text, match.start(), 2)
    ]
    whole = [one for one in found if not any(_within(one[0], other) for other, _ in found)]
    ordered = sorted(whole, key=lambda one: one[0].start)
    return tuple({symptom.key: symptom for _, symptom in ordered}.values())


def _within(span: Span, other: Span) -> bool:
    return other.start <= span.start and span.end <= other.end and span != other


def causes_of(symptom: Symptom, text: Text) -> tuple[Cause, ...]:
    """The causes of a symptom, those first that the most words of the question speak for."""
    named = [(clue, words) for clue in clues() if (words := _words(clue, text))]
    causes = [
        Cause(cause, tuple(words for clue, words in named if clue.causes.search(cause))) for cause in symptom.causes
    ]
    return tuple(sorted(causes, key=lambda cause: -len(cause.words)))


def _words(clue: Clue, text: Text) -> str | None:
    match = clue.said.search(text.plain)
    return None if match is None else text.original[text.place(match.start()) : text.end(match.end())]


def _decided(draft: Draft, symptom: Symptom, causes: tuple[Cause, ...]) -> None:
    pointed = "; and at ".join(cause.text for cause in causes if cause.words)
    reason = f"Your words point first at {pointed}." if pointed else "Your words name no cause before another."
    decision = Paragraph(text=text_of(symptom.experiment), tone="decision")
    draft.section("decision", "Decision", decision, paragraph(reason))


def _causes(causes: tuple[Cause, ...]) -> tuple[Block, ...]:
    if not any(cause.words for cause in causes):
        return (paragraph("What may be behind it:"), items(*(text_of(cause.text) for cause in causes)))
    quoted = [", ".join(f"“{words}”" for words in cause.words) for cause in causes]
    rows = [
        (text_of(cause.text), text_of(user(words) if words else "nothing"))
        for cause, words in zip(causes, quoted, strict=True)
    ]
    return (
        table(("what may be behind it", "what you said that speaks for it"), rows),
        note("Those that your words speak for stand first; the others are not ruled out."),
    )
