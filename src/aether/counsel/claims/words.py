"""Words of a text: those that say what it is about, and its letters alone, to see whether it was said before."""

import re

_STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "for",
        "and",
        "or",
        "to",
        "in",
        "on",
        "at",
        "by",
        "with",
        "from",
        "is",
        "are",
        "was",
        "be",
        "it",
        "its",
        "this",
        "that",
        "as",
        "per",
        "than",
        "then",
        "so",
        "if",
        "not",
        "no",
        "into",
        "over",
        "under",
        "about",
        "each",
        "every",
        "all",
        "any",
        "one",
        "two",
        "up",
        "zero",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "hundred",
        "thousand",
    ]
)


def content_words(text: str) -> frozenset[str]:
    """The words of a text that say what it is about, without endings of the plural."""
    text = re.sub(r"\bp(?:\s*(?=[=<≈])|[\s_-]values?\b)", " pvalue ", text.lower())
    words = re.findall(r"[a-z][a-z0-9]+", text.replace("_", " "))
    return frozenset(stem(w) for w in words if w not in _STOP and not re.fullmatch(r"p\d\d", w))


def stem(word: str) -> str:
    if word.startswith("seq"):
        return "sequence"
    if word in ("activate", "activates", "activated", "activating"):
        return "active"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def squeezed(text: str) -> str:
    """A sentence without marks, case and spaces, to see whether it was said before."""
    return re.sub(r"[\W_]+", "", text.lower())
