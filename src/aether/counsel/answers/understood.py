"""What was read from a person's words, for them to check; what contradicts itself; what was not understood; what is asked.

Nothing is papered over: a word with a number or a name that no field took is shown.
"""

from collections.abc import Sequence

from aether.counsel.answers.asking import NO_DEADLINE
from aether.counsel.answers.at_once import at_once, names_at_once
from aether.counsel.answers.draft import Draft, command, items, name, note, paragraph, table
from aether.report.pieces import user
from aether.spec.brief import Question
from aether.spec.report import Block, Text, text_of

EXAMPLES = (
    "serve llama-3.1-70b to 40 requests/s, prompts of 1000 tokens, answers of 300, p99 first token below 500 ms, on 64 H100",
    "fine-tune qwen3-8b with LoRA on 200M tokens of our support chats on one H100 within a day",
    "compress llama-3.1-8b for an L4: which format loses least?",
)
"""Requests that are understood; tests ask each."""


def understood(draft: Draft) -> None:
    """The table of what was read, contradictions, and what no field took."""
    request = draft.request
    blocks: list[Block] = []
    if request.reads:
        rows = [[(name(_field(r.field)),), (name(r.value),), (user(r.words),)] for r in request.reads]
        blocks.append(table(("field", "read as", "from your words"), rows))
    if request.contradictions:
        blocks.append(paragraph("These cannot both be meant; say which holds:"))
        blocks.append(items(*(text_of(user(sentence)) for sentence in request.contradictions)))
    # Requests at once stand in the question for a rate.
    asked_about = at_once(request) is not None and "requests_per_s" not in request.brief.load.model_fields_set
    unread = [words for words in request.unread if not (asked_about and names_at_once(words))]
    if unread:
        quoted = ", ".join(f"“{words}”" for words in unread)
        blocks.append(note("Not understood, and not used: ", user(quoted), "."))
    draft.section("understood", "What was understood", *blocks)


def _field(path: str) -> str:
    return path.removeprefix("brief.").replace("_", " ")


def accepted(draft: Draft, taken: Sequence[str]) -> None:
    """The defaults that were taken in the person's place."""
    if taken:
        listed = items(*((*text_of(name(setting)), *_meant(setting)) for setting in taken))
        said = paragraph("Taken where nothing was said. Each can be changed with ", command("--set FIELD=VALUE"), ":")
        draft.section("defaults", "Defaults taken", said, listed)


def _meant(setting: str) -> Text:
    """What a default stands for, where its words alone would mislead."""
    return text_of(" stands for no bound: the time is what is asked for") if setting == f"targets={NO_DEADLINE}" else ()


def still_open(draft: Draft) -> None:
    """What an answer could be given without, and would be better with."""
    brief, found = draft.brief, list[Text]()
    if not (brief.intended_use or "").strip():
        found.append(
            text_of("What is the model used for, by whom, and where does it run? It decides guardrails, monitoring and access, ",
                    "and what is worth measuring (", command("--set intended_use=…"), ").")
        )  # fmt: skip
    found.append(
        text_of("Which quality metric matters most, and how much of it may be lost? Until that is said, a format "
                "whose loss is known and within the bound comes before one whose loss nobody published (", command("--set quality_loss_bound=…"), ").")
    )  # fmt: skip
    draft.section("open", "Still open", items(*found))


def unused(draft: Draft, methods: Sequence[str]) -> None:
    """What was named and has no part in the answer."""
    explained = items(*(text_of(command(f"aether explain {method}")) for method in methods))
    said = paragraph("You named these, and this answer neither uses nor weighs them:")
    draft.section("aside", "Named and not used", said, explained)


def asked(draft: Draft, questions: Sequence[Question]) -> None:
    """The questions, each with its reason, its default, and how to answer."""
    rows = [[_question(q), text_of(user(q.why)), _default(q)] for q in questions]
    how = paragraph(
        "Answer in your own words with ",
        command('aether ask --follow "…"'),
        ", field by field with ",
        command("--set FIELD=VALUE"),
        ", or take every default with ",
        command("--accept-defaults"),
        ".",
    )
    draft.section("questions", "What must be known first", table(("question", "why it matters", "default"), rows), how)


def _question(question: Question) -> Text:
    choices = f" ({', '.join(question.choices)})" if question.choices else ""
    return text_of(name(question.text + choices))


def _default(question: Question) -> Text:
    if question.default is None:
        return text_of("none")
    return text_of(name(f"{question.field}={question.default}"))
