"""Topics of `aether explain` that a text names in full, where they stand; a longer name hides what is part of it."""

import re

from aether.counsel.reading.text import Span, Text
from aether.knowledge.topics import heads

_LEAST = 4
"""Letters of a spelling that counts: shorter ones are words of other things too."""
_FEW = 6
"""Words of a text in which a spelling of three letters counts too."""
_PREFIX = re.compile(r"(?<![\w-])[a-z]{1,3}-$")
"""Before a name it makes it another one: "QA-LoRA", "R-DPO"."""
_SEPARATORS = re.compile(r"[^a-z0-9]")


def find_topics(text: Text) -> list[tuple[str, Span]]:
    """(name, place), in order, each name once."""
    flat = f" {_SEPARATORS.sub(' ', text.plain)} "  # one character for one: places stay
    long = len(flat.split()) > _FEW
    found: list[tuple[int, int, str]] = []
    for name, head in heads().items():
        for spelling in {re.sub(r"[^a-z0-9]+", " ", words.lower()).strip() for words in head.spellings()}:
            if len(spelling) < (_LEAST if long else _LEAST - 1) or spelling.split()[0] not in flat:
                continue
            match = re.search(rf"(?<= ){spelling.replace(' ', ' +')}s?(?= )", flat)
            if match and not _PREFIX.search(text.plain, 0, match.start() - 1):
                found.append((match.start() - 1, match.end() - 1, name))
    whole = [
        one
        for one in found
        if not any(o[0] <= one[0] and one[1] <= o[1] and o[1] - o[0] > one[1] - one[0] for o in found)
    ]
    names: dict[str, Span] = {}
    for start, end, name in sorted(whole):
        names.setdefault(name, Span(start, end))
    return list(names.items())
