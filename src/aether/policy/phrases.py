"""Finds concepts (lists of phrases) and patterns of concepts in a text, in bounded time.

A text is sentences of lower-case words; a concept is a list of phrases, `*` at a word's end standing for any ending and `^`
for the start of a sentence; a pattern is concepts in order with a bounded number of words between. It is a plain phrase
matcher: no stems, no grammar, no meaning, English words only. Regular expressions only split words, so no text can make
it backtrack.
"""

import itertools
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MAX_CHARACTERS = 20_000
"""What is read of a text; longer ones are judged on their first and last halves of this (assumed: a request is shorter)."""

_SENTENCE = re.compile(r"[.!?]+(?:\s|$)|\n+")
_WORD = re.compile(r"[^\W_]+")
_INVISIBLE: dict[int, None] = dict.fromkeys((0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF))


@dataclass(frozen=True)
class Span:
    """Words `start` (included) to `end` (excluded) of a sentence that are in a concept."""

    start: int
    end: int


Found = dict[str, list[Span]]
"""Concept -> its spans, in order of their starts."""


@dataclass(frozen=True)
class Pattern:
    """Concepts in order, each a choice; `gaps[i]` words at most between element i and the next."""

    elements: tuple[tuple[str, ...], ...]
    gaps: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """From "a|b ~6 c": a or b, at most six words, then c."""
        parts = text.split()
        elements = tuple(tuple(part.split("|")) for part in parts[::2])
        return cls(elements, tuple(int(part.removeprefix("~")) for part in parts[1::2]))

    def search(self, found: Found) -> Span | None:
        """The first place where the pattern stands."""
        starts = sorted((s for name in self.elements[0] for s in found.get(name, ())), key=lambda s: (s.start, s.end))
        for first in starts:
            end = self._end(found, 1, first.end)
            if end is not None:
                return Span(first.start, end)
        return None

    def _end(self, found: Found, position: int, end: int) -> int | None:
        if position == len(self.elements):
            return end
        last = end + self.gaps[position - 1]
        for name in self.elements[position]:
            spans = found.get(name, [])
            for span in itertools.islice(spans, bisect_left(spans, end, key=lambda s: s.start), None):
                if span.start > last:
                    break
                reached = self._end(found, position + 1, span.end)
                if reached is not None:
                    return reached
        return None


class Lexicon:
    """Concepts, indexed by the first word of each phrase."""

    def __init__(self, concepts: Mapping[str, Sequence[str]], consuming: str) -> None:
        """`consuming` is the concept whose phrases count for no other."""
        self._consuming = consuming
        self._whole: dict[str, list[tuple[str, tuple[str, ...], bool]]] = {}
        self._starts: dict[str, list[tuple[str, tuple[str, ...], bool]]] = {}
        for name, phrases in concepts.items():
            for phrase in phrases:
                words = tuple(phrase.removeprefix("^").split())
                index = self._starts if words[0].endswith("*") else self._whole
                index.setdefault(words[0].removesuffix("*"), []).append((name, words, phrase.startswith("^")))

    def find(self, words: Sequence[str]) -> Found:
        """Concept -> its longest span at each word."""
        best: dict[tuple[str, int], int] = {}
        for at, word in enumerate(words):
            rows = list(self._whole.get(word, ()))
            for length in range(2, len(word) + 1):
                rows += self._starts.get(word[:length], ())
            for name, phrase, first in rows:
                if (at == 0 or not first) and _stands(phrase, words, at):
                    key = (name, at)
                    best[key] = max(best.get(key, 0), at + len(phrase))
        taken = {i for (name, at), end in best.items() if name == self._consuming for i in range(at, end)}
        found: Found = {}
        for (name, at), end in best.items():
            if not taken.intersection(range(at, end)):
                found.setdefault(name, []).append(Span(at, end))
        return found


def _stands(phrase: tuple[str, ...], words: Sequence[str], at: int) -> bool:
    if at + len(phrase) > len(words):
        return False
    return all(
        word.startswith(part[:-1]) if part.endswith("*") else word == part
        for part, word in zip(phrase, words[at:], strict=False)
    )


def sentences(text: str) -> list[list[str]]:
    """The words of each sentence, lower case, compatible forms folded, invisible characters dropped."""
    if len(text) > MAX_CHARACTERS:
        text = text[: MAX_CHARACTERS // 2] + "\n" + text[-MAX_CHARACTERS // 2 :]
    plain = unicodedata.normalize("NFKC", text).translate(_INVISIBLE).casefold().replace("’", "'")
    split = ([word[:40] for word in _WORD.findall(part)] for part in _SENTENCE.split(plain))
    return [words for words in split if words]
