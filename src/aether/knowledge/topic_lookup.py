"""Finds a topic by a person's words: a spelling of it, then words that only it has, then one clearly close spelling.

Never guesses between two topics: where several fit, or none does, the nearest are named and the person says which.
Knows no synonyms but the aliases in the data.
"""

import difflib
import re
import unicodedata

from aether.knowledge.topics import Head, heads, spoken
from aether.spec.errors import InputError

_CLOSE = 0.86
"""How alike (difflib's ratio) a misspelt name is to be; assumed. "flashatention" and "flashattention" are 0.96."""
_MARGIN = 0.04
"""By how much it must be closer than any other topic; assumed."""
_NEAREST = 3


def find(words: str) -> str:
    """The name of the topic that `words` mean. Raises InputError with the nearest topics when none or several are meant."""
    wanted = spoken(words)
    known = heads()
    if not wanted:
        raise InputError.of("topic", words, "name a topic; `aether explain` lists them")
    for name, head in known.items():
        if wanted in map(spoken, head.spellings()):
            return name
    said = _words(words)
    holding = [name for name, head in known.items() if any(said <= _words(s) for s in head.spellings())]
    if len(holding) == 1:
        return holding[0]
    likeness = sorted(((_likeness(wanted, head), name) for name, head in known.items()), reverse=True)
    if not holding and likeness and likeness[0][0] >= _CLOSE:
        second = likeness[1][0] if len(likeness) > 1 else 0.0
        if likeness[0][0] - second >= _MARGIN:
            return likeness[0][1]
    nearest = [*holding, *(name for _, name in likeness if name not in holding)][:_NEAREST]
    asked = "several topics have these words" if holding else "no topic is called that"
    raise InputError(
        f"topic = {words!r}: {asked}; the nearest are {', '.join(nearest)} (`aether explain` lists all)",
        field="topic",
        value=words,
        nearest=nearest,
    )


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold()))


def _likeness(wanted: str, head: Head) -> float:
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted)
    best = 0.0
    for spelling in map(spoken, head.spellings()):
        matcher.set_seq1(spelling)
        if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best:
            best = max(best, matcher.ratio())
    return best
