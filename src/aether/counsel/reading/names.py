"""Patterns for names as people spell them: "Llama 3.1 70B", "llama-3.1-70b", "LLAMA3.1 70 b" are one; near misses of a family name too.

A pattern is made from a name of `knowledge`: its letters and digits apart, any space, hyphen or underscore between them.
"""

import difflib
import functools
import re
from collections.abc import Iterable

_GAP = r"[\s_-]*"


def spelling(name: str, between: str = "") -> str:
    """The source of a pattern for one name; `between` may stand at every gap, as tuning words do ("llama instruct 70b")."""
    parts = _parts(name)
    gap = _GAP if not between else rf"{_GAP}(?:(?:{between}){_GAP})?"
    return gap.join(re.escape(part) for part in parts)


def _parts(name: str) -> list[str]:
    """Letters, digits and signs of a name, apart."""
    return re.findall(r"[a-z]+|\d+(?:\.\d+)?|[^\sa-z\d_-]", name.lower())


def possible(names: Iterable[str], text: str) -> tuple[str, ...]:
    """Those of `names` all of whose parts stand somewhere in `text`: only these can match, and their pattern is small."""
    return tuple(name for name in names if all(part in text for part in _parts(name)))


@functools.cache
def one_of(names: tuple[str, ...], between: str = "") -> re.Pattern[str]:
    """A pattern for any of the names, the longest first; the name is no part of a longer word or version."""
    ordered = sorted(names, key=lambda n: (len(re.sub(r"[\s_-]", "", n)), n), reverse=True)
    body = "|".join(f"(?P<n{i}>{spelling(name, between)})" for i, name in enumerate(ordered))
    return re.compile(rf"(?:(?<![\w.])|(?<=\dx))(?:{body})(?![a-z]*\d|[a-z]{{2,}}|\.\d)")


def which(match: re.Match[str], names: tuple[str, ...]) -> str:
    """The name that a match of `one_of` is."""
    ordered = sorted(names, key=lambda n: (len(re.sub(r"[\s_-]", "", n)), n), reverse=True)
    return next(ordered[int(key[1:])] for key, value in match.groupdict().items() if value is not None)


def mended(word: str, known: Iterable[str], cutoff: float = 0.8) -> str | None:
    """The only known word that a misspelt one is close to; None where none or several are."""
    near = difflib.get_close_matches(word, known, n=2, cutoff=cutoff)
    if len(near) == 2:
        first, second = (difflib.SequenceMatcher(None, word, n).ratio() for n in near)
        if first - second < 0.05:
            return None
    return near[0] if near else None
