"""Text as it is matched: small letters, one kind of dash and space, with the way back to the person's own characters.

Parts of a text are taken once: what a field was read from is masked, so that a number never counts twice and what is left over can
be said. Understands nothing.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from aether.counsel.reading.languages import in_english
from aether.counsel.reading.misspelt import spelt
from aether.counsel.reading.patterns import Pattern
from aether.counsel.reading.seams import apart

MAX_CHARACTERS = 20_000
"""What is read of a request; the rest is said to be unread."""
_SAME = {"×": "x", "✕": "x", "–": "-", "—": " - ", "−": "-", "‑": "-", "’": "'", "‘": "'", "“": '"', "”": '"', "≤": "<=", "≥": ">=", "µ": "u", "μ": "u", "⩽": "<=", "⩾": ">=", "~": " ~", "≈": " ~"}  # fmt: skip
_KEYED = re.compile(r'"\s*:')
_QUOTES = re.compile(r"""["{}\[\]]""")
"""Of a request in JSON: its values are read as "key: value"."""
PART_OF_NAME = "·"
"""Stands before what is read of a name ("-awq") and asks for nothing."""
_SHORTENED = ("max", "min", "ca", "avg", "qty", "no", "nos", "approx", "incl", "est", "p50", "p95", "p99")
"""Words after which a full stop before an amount ends nothing: "max. 400 ms"."""
_NO_END = "".join(rf"(?<!\b{word})" for word in _SHORTENED)
_CLAUSE = re.compile(rf"[;\n]|[.!?](?=\s+[^\s\d~<>=$]|\s*$)|{_NO_END}[.!?](?=\s)")


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` of the matched text."""

    start: int
    end: int

    def overlaps(self, other: "Span") -> bool:
        """Whether they share a character."""
        return self.start < other.end and other.start < self.end


@dataclass
class Text:
    """A request while it is read."""

    original: str
    plain: str = ""
    origin: list[int] = field(default_factory=list)
    """Place in `original` of each character of `plain`."""
    taken: list[Span] = field(default_factory=list)

    @classmethod
    def of(cls, original: str) -> "Text":
        """The text, ready to be matched."""
        plain, origin = [], []
        for place, character in enumerate(original[:MAX_CHARACTERS]):
            for one in _SAME.get(character) or unicodedata.normalize("NFKC", character):
                one = "/" if one == "⁄" else " " if one.isspace() and one != "\n" else one.lower()
                plain += one
                origin += [place] * len(one)
        joined = "".join(plain)
        if _KEYED.search(joined):
            joined = _QUOTES.sub(" ", joined)
        return cls(original, *in_english(*spelt(*apart(joined, origin))))

    def words(self, span: Span) -> str:
        """The person's own words at a span."""
        return self.original[self.place(span.start) : self.end(span.end)]

    def place(self, at: int) -> int:
        """Where a character of `plain` stands in `original`."""
        return self.origin[at] if at < len(self.origin) else len(self.original)

    def end(self, at: int) -> int:
        """The end in `original` of what ends at `at` in `plain`."""
        return self.origin[at - 1] + 1 if 0 < at <= len(self.origin) else self.place(at)

    def take(self, span: Span) -> None:
        """Mark characters as read."""
        self.taken.append(span)

    def is_free(self, span: Span) -> bool:
        """Whether nothing was read from these characters yet."""
        return not any(span.overlaps(other) for other in self.taken)

    def search(self, pattern: Pattern, start: int = 0, end: int | None = None) -> Iterator[re.Match[str]]:
        """Matches whose characters are all free."""
        for match in pattern.finditer(self.plain, start, len(self.plain) if end is None else end):
            if match.end() > match.start() and self.is_free(Span(*match.span())):
                yield match

    def phrases(self, words: str) -> Iterator[re.Match[str]]:
        """Where a phrase stands, free or not. Its pattern is made only when all its words are somewhere in the text."""
        if all(part in self.plain for part in words.removesuffix("*").split()):
            yield from phrase(words).finditer(self.plain)

    def clause(self, at: int) -> Span:
        """The clause around a place: up to a full stop, semicolon or line break. Points inside numbers are none."""
        start, end = 0, len(self.plain)
        for match in _CLAUSE.finditer(self.plain):
            if match.end() <= at:
                start = match.end()
            elif match.start() >= at:
                end = match.start()
                break
        return Span(start, end)


@functools.cache
def phrase(words: str) -> re.Pattern[str]:
    """A pattern for a phrase: whole words, any spaces or one hyphen between them; "*" at the end leaves the last word open."""
    open_end = words.endswith("*")
    parts = [re.escape(part) for part in words.removesuffix("*").split()]
    tail = r"\w*" if open_end else r"(?![\w])" if words[-1:].isalnum() or open_end else ""
    return re.compile(r"(?<![\w-])" + r"[\s_-]+".join(parts) + tail)


def of_a_name(text: Text, span: Span) -> bool:
    """Whether what stands at `span` is a part of a name, as "-awq" behind a model's."""
    return text.plain[: span.start].endswith(PART_OF_NAME)


def negated(text: Text, at: int, words: int = 3) -> bool:
    """Whether a word that turns round what follows stands a few words before `at`, in the same clause."""
    before = text.plain[text.clause(at).start : at]
    before = re.split(r"[,:]|\bbut\b|\bjust\b|\bonly\b", _UNDECIDED.sub("", before))[-1]
    if _OPENS.search(before):
        return True
    before = re.split(r"\b(?:on|with|using|at|in|to|for|and|of)\b", before)[-1]
    return any(word in _NEGATIONS for word in re.findall(r"[\w']+", before)[-words:])


_UNDECIDED = re.compile(
    r"\b(?:(?:do ?n[o']?t|does ?n[o']?t|not|no|cannot|can ?'?t)\s+(?:really\s+)?(?:know|sure|care|idea|clue|decide[d]?|certain|tell)|doesn'?t matter)\b(?:\s+(?:if|whether|which|between))?"
)
"""Says that a choice is open, and turns nothing round."""
_OPENS = re.compile(
    r"\b(?:not|no|without|never|avoid|except|instead of|rather than|don't use|do not use|forget(?: about)?|ditch|scrap|get rid of)\s+(?:on|with|using|for|in|at|to)?\s*(?:an?|the|any)?\s*$"
)
_NEGATIONS = frozenset(
    {
        "not",
        "no",
        "without",
        "don't",
        "dont",
        "never",
        "avoid",
        "except",
        "isn't",
        "won't",
        "can't",
        "doesn't",
        "neither",
        "nor",
        "skip",
        "excluding",
    }
)
