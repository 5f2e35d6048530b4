"""Requests that another part of Aether answers: explanations, and reviews of configurations.

A file that is named and lies below the folder where the question is asked is read and reviewed; any other is left alone, and the
command that reads it is said.
"""

import shlex
from pathlib import Path

from aether.counsel.answers.draft import Draft, command, name, note, table
from aether.report.pieces import user
from aether.spec.report import Paragraph, text_of

USES: frozenset[str] = frozenset()
"""Nothing is weighed here."""


def answer_explain(draft: Draft) -> None:
    """The page of the first topic that was named, and the commands for the others. Raises InputError for an unknown topic."""
    from aether.counsel.explain import explain

    topics = draft.request.topics or draft.request.methods or (draft.request.text,)
    draft.adopt(explain(topics[0], draft.today))
    if topics[1:]:
        commands = "".join(f"aether explain {shlex.quote(topic)}\n" for topic in topics[1:])
        draft.section("others", "The other topics", draft.code("bash", commands))


def answer_review(draft: Draft) -> None:
    """The findings in the files that are named and there; else the command."""
    paths = here(draft)
    if not paths:
        subjects = draft.request.subjects or ("FILE",)
        return handed(draft, "Have the configuration reviewed.", [f"aether review {shlex.quote(s)}" for s in subjects])
    # A hundred rules are loaded where files are reviewed.
    from aether.counsel.review.engine import review
    from aether.counsel.review.output import serious, summary
    from aether.knowledge.review_rules import rules

    found = review(paths)
    decided = "Mend this before you run it." if serious(found.findings) else "No rule speaks against running it."
    draft.section(
        "decision",
        "Decision",
        Paragraph(text=text_of(decided), tone="decision"),
        Paragraph(text=draft.sentence("review", f"{summary(found)}.", "aether review: findings counted")),
    )
    rows = [
        [
            text_of(name(f"{f.path}:{f.line}")),
            text_of(name(f.rule)),
            text_of(f.severity),
            text_of(user(f.message)),
            text_of(user(f.why)),
        ]
        for f in found.findings
    ]
    if rows:
        draft.section("findings", "Findings", table(("where", "rule", "severity", "what", "why"), rows))
    for f in found.findings:
        draft.refer_row(rules()[f.rule])
    commands = [
        f"aether review --fix {shlex.quote(str(path))}  # makes the corrections that are safe" for path in paths
    ]
    draft.section("code", "Code", draft.code("bash", "\n".join(commands) + "\n"))
    outside = note(
        "Rules read the text of a file. What it does to your data, and whether the model is good, they do not see."
    )
    draft.section("uncertain", "What is uncertain", outside)
    return None


def here(draft: Draft) -> list[Path]:
    """The named files and folders that lie below the working folder: nothing else is opened for a question."""
    root = Path.cwd().resolve()
    found = [(root / Path(subject).expanduser()).resolve() for subject in draft.request.subjects]
    return [path.relative_to(root) for path in found if path.is_relative_to(root) and path.exists() and path != root]


def handed(draft: Draft, decision: str, commands: list[str]) -> None:
    """The commands that do what was asked."""
    draft.section("decision", "Decision", Paragraph(text=text_of(decision), tone="decision"))
    draft.section("code", "Code", draft.code("bash", "\n".join(commands) + "\n"))
    follow = note("What is found there can be asked about again with ", command('aether ask --follow "…"'), ".")
    draft.section("experiment", "Next experiment", follow)
