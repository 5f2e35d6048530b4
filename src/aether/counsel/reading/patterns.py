"""Patterns that are compiled when they are needed: a grammar takes longer to compile than a text to read, and most texts need little of it."""

import functools
import re
from collections.abc import Iterator
from sys import maxsize


class Lazy:
    """A pattern, made when it is first looked for. `words`: strings, apart by "|", one of which stands in whatever it matches, so that it
    is not even made for a text that has none."""

    def __init__(self, pattern: str, words: str = "") -> None:
        self.pattern, self.words = pattern, tuple(words.split("|"))

    @functools.cached_property
    def made(self) -> re.Pattern[str]:
        """The compiled pattern."""
        return re.compile(self.pattern)

    def may_match(self, plain: str) -> bool:
        """Whether one of its words stands in a text."""
        return any(word in plain for word in self.words)

    def search(self, plain: str, start: int = 0, end: int = maxsize) -> re.Match[str] | None:
        """As a compiled pattern."""
        return self.made.search(plain, start, end) if self.may_match(plain) else None

    def match(self, plain: str, start: int = 0, end: int = maxsize) -> re.Match[str] | None:
        """As a compiled pattern."""
        return self.made.match(plain, start, end) if self.may_match(plain) else None

    def fullmatch(self, plain: str, start: int = 0, end: int = maxsize) -> re.Match[str] | None:
        """As a compiled pattern."""
        return self.made.fullmatch(plain, start, end) if self.may_match(plain) else None

    def finditer(self, plain: str, start: int = 0, end: int = maxsize) -> Iterator[re.Match[str]]:
        """As a compiled pattern."""
        return self.made.finditer(plain, start, end) if self.may_match(plain) else iter(())


Pattern = re.Pattern[str] | Lazy
"""What a text is searched for."""
