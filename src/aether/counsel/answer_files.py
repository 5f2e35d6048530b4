"""An answer as a folder: answer.md, answer.html, brief.toml, and every file to run as it stands on the page."""

from pathlib import Path

from aether.counsel.answers.brief_text import brief_toml
from aether.evidence.files import write_atomically
from aether.report.page import page_html, page_markdown
from aether.spec.answer import Answer
from aether.spec.report import Code, Paragraph, Verbatim

_NAMED = (".py", ".sh", ".yaml", ".yml", ".json", ".toml")


def write_answer(answer: Answer, folder: Path) -> tuple[str, ...]:
    """Write the answer, and return the names of its files."""
    files = {"answer.md": page_markdown(answer.page), "answer.html": page_html(answer.page)}
    files["brief.toml"] = brief_toml(answer.page.brief)
    files |= dict(named_files(answer))
    for name, text in files.items():
        write_atomically(folder / name, text)
    return tuple(files)


def named_files(answer: Answer) -> list[tuple[str, str]]:
    """(name, text) of each block of code whose paragraph before it names a file."""
    found = []
    for section in answer.page.report.sections:
        name = ""
        for block in section.blocks:
            if isinstance(block, Paragraph):
                first = next((p.text for p in block.text if isinstance(p, Verbatim) and p.role == "command"), "")
                name = first if first.endswith(_NAMED) and " " not in first and "/" not in first else ""
            elif isinstance(block, Code) and name:
                found.append((name, block.text))
                name = ""
    return found
