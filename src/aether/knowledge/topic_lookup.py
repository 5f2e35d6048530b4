"""Finds a topic by a person's words: a spelling of it, then words that only it has, then one clearly close spelling.

Never guesses between two topics: where several fit, or none does, the nearest are named and the person says which.
Knows no synonyms but the aliases in the data.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable

from aether.knowledge.topics import Head, heads, spoken
from aether.spec.errors import InputError

_CLOSE = 0.86
"""How alike (difflib's ratio) a misspelt name is to be; assumed. "flashatention" and "flashattention" are 0.96."""
_MARGIN = 0.04
"""By how much it must be closer than any other topic; assumed."""
_ALIKE = 0.6
"""From here on a name is said to be near (assumed): "kueue" and "kv-cache" are 0.5, "rag" and "lora" 0.57."""
_NEAREST = 3


def find(words: str) -> str:
    """The name of the topic that `words` mean. Raises InputError with the nearest topics when none or several are meant."""
    wanted = spoken(words.replace("+", " plus "))  # "LoRA+" is not LoRA
    known = heads()
    if not wanted:
        raise InputError.of("topic", words, "name a topic; `aether explain` lists them")
    for name, head in known.items():
        if wanted in map(spoken, head.spellings()):
            return name
    said = _words(words.replace("+", " plus "))
    holding = [name for name, head in known.items() if any(said <= _words(s) for s in head.spellings())]
    if len(holding) == 1:
        return holding[0]
    likeness = sorted(((_likeness(wanted, head.spellings()), name) for name, head in known.items()), reverse=True)
    (best, nearest_name), (second, _) = likeness[:2]
    if not holding and best >= _CLOSE and best - second >= _MARGIN and _is_misspelt(wanted, said, known[nearest_name]):
        return nearest_name
    alike = [name for like, name in likeness if like >= _ALIKE and name not in holding]
    nearest = [*holding, *alike][:_NEAREST]
    asked = "several topics have these words" if holding else "no topic is called that"
    near = (
        f"; the nearest are {', '.join(nearest)} (`aether explain` lists all)"
        if nearest
        else "; `aether explain` lists all"
    )
    raise InputError(
        f"topic = {words!r}: {asked}{near}",
        field="topic",
        value=words,
        mend=f"{asked}{near}",
        nearest=nearest,
    )


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold()))


def _is_misspelt(wanted: str, said: frozenset[str], head: Head) -> bool:
    """Whether it may be a spelling with a slip: it has no more words and the same digits. "QA-LoRA" is no misspelt QLoRA."""
    close = [
        one
        for one in head.spellings()
        if len(said) <= len(_words(one)) and re.findall(r"\d+", wanted) == re.findall(r"\d+", spoken(one))
    ]
    return bool(close) and _likeness(wanted, close) >= _CLOSE


def _likeness(wanted: str, spellings: Iterable[str]) -> float:
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted)
    best = 0.0
    for spelling in map(spoken, spellings):
        matcher.set_seq1(spelling)
        if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best:
            best = max(best, matcher.ratio())
    return best
