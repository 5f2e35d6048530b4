"""Requests as `counsel.reading` makes them, written by hand, and what a test wants to know of a page."""

import re
from pathlib import Path
from typing import Any

from aether.counsel.answering import answer
from aether.counsel.answers.asking import with_defaults, with_task
from aether.policy.brief_file import load_brief, to_brief
from aether.report.page import page_markdown
from aether.spec.answer import Answer, Read, Request
from aether.spec.report import Code

FLEET = Path(__file__).parents[2] / "recipes" / "fleet"


def request(text: str, intent: Any, raw: dict | None = None, **more: Any) -> Request:
    """A request whose first word was read as its intent."""
    word = text.split()[0]
    reads = (Read(field="intent", value=intent, words=word, start=0, end=len(word)),)
    brief = to_brief(raw or {}, "test")
    return with_task(Request(text=text, intent=intent, brief=brief, reads=reads, **more))


def of_recipe(text: str, intent: Any, name: str, **raw: Any) -> Request:
    """A request whose brief is one of recipes/fleet."""
    made = request(text, intent)
    brief = load_brief(FLEET / f"{name}.toml")
    return with_task(made.model_copy(update={"brief": brief.model_copy(update=raw)}))


def accepting(asked: Request) -> Answer:
    """The answer with every default taken."""
    full, taken = with_defaults(asked)
    return answer(full, taken)


def headings(found: Answer) -> list[str]:
    """Titles of the page's sections. Rendering it runs the guard."""
    text = page_markdown(found.page)
    return [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]


def words(found: Answer) -> str:
    """The page as Markdown on one line, escapes and footnotes gone."""
    return " ".join(re.sub(r"\[\^\d+\]|\\", "", page_markdown(found.page)).split())


def code_of(found: Answer, language: str) -> list[str]:
    """Every block of code in a language."""
    blocks = (block for section in found.page.report.sections for block in section.blocks)
    return [block.text for block in blocks if isinstance(block, Code) and block.language == language]
