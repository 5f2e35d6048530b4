"""The last look at what was rendered: a digit that no source stands behind raises UnsourcedNumber.

In HTML every sourced number is inside an element whose `data-piece` is the reference itself; the guard looks it up
again and compares the words, so that neither a template nor a hand-written page can say another number. In Markdown
the renderer encloses what is sourced in two private characters, which are taken out after the check.
Axis labels inside a figure's SVG and code to copy are left alone; number words ("two", "half") are not found.
"""

import re
from html.parser import HTMLParser

from aether.report.sources import Sources, read_piece
from aether.spec.errors import UnsourcedNumber
from aether.spec.report import bare_numbers

OPEN, CLOSE = "\ue000", "\ue001"
_SOURCED = re.compile(f"{OPEN}[^{OPEN}{CLOSE}]*{CLOSE}")
_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)
_SPOKEN = ("title", "alt", "aria-label", "data-label", "placeholder")


class _Reader(HTMLParser):
    """Walks visible text with the innermost marked element around it."""

    def __init__(self, sources: Sources) -> None:
        super().__init__(convert_charrefs=True)
        self.sources = sources
        self.stack: list[tuple[str, str | None, bool]] = []
        """(tag, mark, whether digits are free here), outermost first."""
        self.inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        mark = given.get("data-piece")
        outer_free = self.stack[-1][2] if self.stack else False
        marked = self._mark()
        if mark is not None:
            assert marked is None, "a sourced element stands inside another"
            self.inside = []
            self._check_title(mark, given.get("title"))
        elif marked is None and not outer_free:
            for name in _SPOKEN:
                self._refuse_bare(given.get(name) or "", f"the attribute {name}")
        if tag not in _VOID:
            free = outer_free or tag in ("style", "pre") or (tag == "svg" and "data-figure" in given)
            self.stack.append((tag, mark, free))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        assert self.stack and self.stack[-1][0] == tag, f"</{tag}> closes nothing"
        _, mark, _ = self.stack.pop()
        if mark is not None:
            self._check_words(mark, "".join(self.inside))

    def handle_data(self, data: str) -> None:
        if self._mark() is not None:
            self.inside.append(data)
        elif not (self.stack and self.stack[-1][2]):
            self._refuse_bare(data, "the text")

    def _mark(self) -> str | None:
        return next((mark for _, mark, _ in reversed(self.stack) if mark is not None), None)

    def _check_words(self, mark: str, words: str) -> None:
        shown = self.sources.show(read_piece(mark))
        if " ".join(words.split()) != " ".join(shown.text.split()):
            raise UnsourcedNumber(f"the report says {words!r} where its source says {shown.text!r}", mark=mark)

    def _check_title(self, mark: str, title: str | None) -> None:
        if title and title != self.sources.show(read_piece(mark)).source:
            raise UnsourcedNumber(f"the hover text {title!r} is not what its source says", mark=mark)

    def _refuse_bare(self, text: str, where: str) -> None:
        if found := bare_numbers(text):
            raise UnsourcedNumber(
                f"{', '.join(found)} in {where} {text.strip()[:120]!r} has no evidence", numbers=found
            )


def check_html(html: str, sources: Sources) -> str:
    """`html` itself, once every visible number in it was found to be its source's. Raises UnsourcedNumber."""
    reader = _Reader(sources)
    reader.feed(html)
    reader.close()
    assert not reader.stack, f"<{reader.stack[-1][0]}> is never closed"
    return html


def enclose(text: str) -> str:
    """Mark text as sourced, for `release`. Private characters that it already holds are taken out."""
    return f"{OPEN}{text.replace(OPEN, '').replace(CLOSE, '')}{CLOSE}"


def release(text: str) -> str:
    """The text without its marks, once nothing outside them was found to be a number. Raises UnsourcedNumber."""
    if found := bare_numbers(_SOURCED.sub(" ", text)):
        raise UnsourcedNumber(f"{', '.join(found)} in the report has no evidence", numbers=found)
    return text.replace(OPEN, "").replace(CLOSE, "")
