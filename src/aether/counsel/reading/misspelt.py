"""Puts misspelt words of quantities and deeds right ("abt 2000 tokns in, frst token undr 1 sec"): only such as a field hangs on.

A word is taken for a misspelt one when it is close to exactly one of the few that are known here, begins like it, and is no form of it.
Places in the person's text stay known.
"""

import re

from aether.counsel.reading.names import mended

_KNOWN = [
    "tokens",
    "token",
    "requests",
    "request",
    "seconds",
    "second",
    "minutes",
    "minute",
    "prompts",
    "prompt",
    "output",
    "training",
    "finetune",
    "context",
    "latency",
    "throughput",
    "first",
    "every",
    "under",
    "maybe",
    "about",
    "questions",
    "question",
    "answers",
    "answer",
    "continuous",
    "batching",
    "quantize",
    "inference",
    "users",
    "messages",
    "message",
    "people",
    "budget",
    "memory",
    "quality",
    "continue",
    "compare",
    "evaluate",
    "merge",
    "pretrain",
    "within",
    "million",
    "billion",
    "length",
]
_OTHERS = frozenset(
    [
        "content",
        "contest",
        "sends",
        "ever",
        "uses",
        "user",
        "trailing",
        "interference",
        "throughout",
        "quantise",
        "bathing",
        "fist",
        "massage",
        "bullion",
        "billing",
    ]
)
"""Words of their own that are close to a known one."""
_SHORT = {"abt": "about", "nite": "night", "wats": "what is", "cn": "can", "hwo": "how", "frm": "from"}
"""Too short for being close to say much."""
_WORD = re.compile(r"(?<![\w./-])[a-z]{2,}(?![\w./-])")
_CLOSE = 0.85
"""The least likeness, by `difflib` (chosen on the golden requests: no word of theirs that is spelt right is changed)."""
_BY_INITIAL = {initial: [word for word in _KNOWN if word[0] == initial] for initial in {word[0] for word in _KNOWN}}


def spelt(plain: str, origin: list[int]) -> tuple[str, list[int]]:
    """The text with those words put right, and for each character its place in the person's text."""
    parts, places, at = [], [], 0
    for match in _WORD.finditer(plain):
        right = _right(match[0])
        if right is None:
            continue
        width = match.end() - match.start()
        parts += [plain[at : match.start()], right]
        places += origin[at : match.start()]
        places += [origin[match.start() + min(width - 1, i * width // len(right))] for i in range(len(right))]
        at = match.end()
    return "".join([*parts, plain[at:]]), places + origin[at:]


def _right(word: str) -> str | None:
    if word in _SHORT:
        return _SHORT[word]
    known = _BY_INITIAL.get(word[0], [])
    if len(word) < 4 or word in known or word in _OTHERS:
        return None
    near = mended(word, known, _CLOSE)
    is_form = near is not None and (near.startswith(word) or word.startswith(near[:-1]))
    return None if is_form else near
