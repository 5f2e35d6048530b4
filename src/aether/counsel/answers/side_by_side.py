"""Techniques side by side from the rows of `knowledge/topics`: what each costs and gives, when each is for, how each fails.

For what no number of ours weighs. Decides nothing that no source decides: it says what would decide, and how to find out. Needs
neither a model nor a device.
"""

from collections.abc import Iterable

from aether.counsel.answers.draft import UNKNOWN, Draft, command, items, name, note, paragraph, table
from aether.counsel.explain import cited_text, number_evidence
from aether.knowledge.topic_lookup import find
from aether.knowledge.topics import Topic, topic
from aether.spec.errors import InputError
from aether.spec.report import Block, Cite, Facts, Paragraph, Text, text_of

_FIELDS = ("accuracy", "speed", "memory", "training_cost", "complexity")
_FAILURES = 2
"""Known failures that are shown of each; its own page has all."""


def topics_of(words: Iterable[str]) -> list[Topic]:
    """The topics that these words name, each once; words that name none are left out."""
    found: dict[str, Topic] = {}
    for each in words:
        try:
            known = find(each.replace("-", " "))
        except InputError:
            continue
        found.setdefault(known, topic(known))
    return list(found.values())


def compare_topics(draft: Draft, topics: list[Topic]) -> None:
    """Decision, options, numbers, protocol, commands, risks, what is uncertain, next experiment."""
    measured = [about for about in topics if about.number]
    _decide(draft, topics)
    draft.section("options", "Options", _options(topics))
    draft.section("numbers", "Published numbers", *(_numbers(measured)))
    draft.section(
        "recipe",
        "Recipe",
        _protocol(),
        note("Each with its whole recipe: ", command('aether ask "…"'), " for the one that is left."),
    )
    tries = [about.command.strip() for about in topics if about.command]
    lines = [*(f"aether explain {about.name}" for about in topics), *tries]
    draft.section("code", "Code", draft.code("bash", "".join(f"{line}\n" for line in dict.fromkeys(lines))))
    draft.section(
        "risks", "Risks", items(*_failures(topics), text_of("Two papers with two protocols compare the protocols."))
    )
    draft.section(
        "uncertain",
        "What is uncertain",
        items(
            text_of(
                "Which is better on your task: ", *UNKNOWN, ". Where two intervals overlap, no difference is shown."
            ),
            *(
                text_of("No published number was read for ", name(about.title), ".")
                for about in topics
                if about not in measured
            ),
        ),
    )
    draft.section(
        "experiment",
        "Next experiment",
        items(
            text_of(
                "Both on a tenth of your data or load, everything else the same, learning rates swept for each, three seeds; then ",
                command("aether compare RUN_A RUN_B"),
                ": the interval of the paired difference decides.",
            )
        ),
    )


def _decide(draft: Draft, topics: list[Topic]) -> None:
    """What would decide, and what of their sources may be cited."""
    titles = " and ".join(about.title for about in topics)
    for about in topics:
        for number in about.number:
            draft.record(number_evidence(about, number))
        for source in about.source:
            if source.kind == "cited":
                draft.refer(source.title, source.address, source.as_of.isoformat())
    draft.section(
        "decision",
        "Decision",
        Paragraph(
            text=text_of("Let what binds you decide between ", name(titles), ": no winner is on record."),
            tone="decision",
        ),
        *(_for(about) for about in topics),
        _shared(topics),
        note(
            "With a model and a device, as in ",
            command('aether ask --follow "for llama-3.1-8b on one L40S"'),
            ", what can be computed of them is.",
        ),
    )


def _shared(topics: list[Topic]) -> Block | None:
    """Sources whose numbers stand in more than one of the topics: one protocol, perhaps."""
    titles: dict[str, list[str]] = {}
    for about in topics:
        used = {number.source for number in about.number}
        for source in about.source:
            if source.key in used and source.kind == "cited":
                titles.setdefault(source.title, []).append(about.name)
    both = [title for title, names in titles.items() if len(set(names)) > 1]
    return (
        paragraph("Numbers of more than one of them stand in ", name("; ".join(both)), ": compare those first.")
        if both
        else None
    )


def _for(about: Topic) -> Block:
    """When to take it, and when not: the first reason of each."""
    return paragraph(
        name(about.title),
        ": ",
        *cited_text(about, about.use_when[0]),
        " Not: ",
        *cited_text(about, about.avoid_when[0]),
    )


def _options(topics: list[Topic]) -> Block:
    rows: list[list[Text]] = []
    for about in topics:
        for row in about.trade_off:
            cells = [cited_text(about, getattr(row, field)) for field in _FIELDS]
            rows.append([text_of(name(about.title)), cited_text(about, row.option), *cells])
    return table(("topic", "option", *(field.replace("_", " ") for field in _FIELDS)), rows)


def _numbers(topics: list[Topic]) -> list[Block]:
    rows: list[list[Text]] = [
        [
            text_of(name(about.title)),
            cited_text(about, number.claim),
            (Cite(id=f"{about.name}.{number.key}"),),
            text_of(number.kind),
        ]
        for about in topics
        for number in about.number
    ]
    return [table(("topic", "what", "value", "kind"), rows)] if rows else []


def _protocol() -> Facts:
    """What has to be the same for both, so that a difference is one of theirs."""
    rows = (
        ("model configuration", "one, written down: sizes, layers, heads, vocabulary, initialisation"),
        ("data and tokens", "the same mix in the same order, the same number of tokens, the same held-out items"),
        (
            "optimiser and hyperparameters",
            "the same schedule and batch; the learning rate swept for each, since its best value moves",
        ),
        (
            "hardware and parallelism",
            "the same devices and layout, unless that is what is compared; software versions recorded",
        ),
        ("evaluation", "paired by item, three seeds at least, an interval; speed and memory measured in the same run"),
    )
    return Facts(title="A fair comparison", facts=tuple((text_of(key), text_of(value)) for key, value in rows))


def _failures(topics: list[Topic]) -> list[Text]:
    return [
        text_of(name(about.title), ": ", *cited_text(about, failure.symptom), " ", *cited_text(about, failure.mend))
        for about in topics
        for failure in about.failure[:_FAILURES]
    ]
