"""Paths, addresses and data sets that a text names, and what the model is for."""

import re

from aether.counsel.reading.text import Span, Text, phrase

_PLACE = re.compile(
    r"(?<![\w@$€£])(?:(?:https?|s3|gs|hf)://[^\s,;\"')]+|hf:[\w./-]+|python:(?:stdlib|package/[\w.]+)|(?:~|\.{0,2})/[\w.*@{}/-]+|[\w*-]+(?:/[\w.*-]+)+/?|[\w*-]+\.(?:jsonl|json|parquet|csv|txt|log|toml|yaml|yml|py|sh|gz|zst|arrow|md|ipynb))(?![\w])"
)
_LOGS = re.compile(r"\.(?:log|out|err)$|trainer_state\.json$|metrics\.jsonl$|^(?:\./)?runs/")
_CODE = re.compile(r"\.(?:py|sh|ya?ml|toml|ipynb)$|requirements[\w-]*\.txt$|dockerfile|config\.json$")
_USES = re.compile(
    r"\b(?:for|as|to (?:power|run|be)|build|make|create|want|need|serve|of)\s+(?P<use>(?:an?|our|the|my|some)?\s*(?:(?!to\b|run\b|and\b)[\w-]+\s+){0,4}?(?:chatbot|chat bot|assistant|copilot|co-pilot|autocomplete|autocompletion|code completion|completion model|summari[sz]ation|summari[sz]er|translation|translator|classification|classifier|customer support|customer service|help ?desk|support bot|search engine|question answering|q&a|rag(?: pipeline| system)?|tutor|agent|transcription|extraction|moderation))\b"
)


def find_places(text: Text) -> tuple[list[tuple[str, Span]], list[tuple[str, Span]]]:
    """(data sources, other files, runs and logs), each with where it stands."""
    sources: list[tuple[str, Span]] = []
    subjects: list[tuple[str, Span]] = []
    for match in text.search(_PLACE):
        span = Span(match.start(), match.end() - (1 if match[0].endswith(".") else 0))
        words = text.words(span)
        if re.fullmatch(r"[\w-]+/[\w-]+", words) and not re.match(
            r"(?:runs|data|logs|src|configs?|scripts|models?|checkpoints?|\.)/", words
        ):
            continue  # "and/or", "input/output", "Qwen/Qwen3"
        if re.fullmatch(
            r"[\w.]+/(?:s|sec|second|min|minute|h|hr|hour|m|user|token|gpu|day|month|request|million)s?", words.lower()
        ):
            continue
        (subjects if _LOGS.search(words.lower()) or _CODE.search(words.lower()) else sources).append((words, span))
        text.take(span)
    return sources, subjects


def find_use(text: Text) -> tuple[str, Span] | None:
    """What the model is for, in the person's words."""
    match = _USES.search(text.plain)
    if match is None:
        return None
    span = Span(match.start("use"), match.end("use"))
    return text.words(span).strip(), span


_CODE_WORDS = [
    phrase(w)
    for w in (
        "code completion",
        "python code",
        "code model",
        "source code",
        "coding",
        "programming",
        "autocomplete",
        "sql",
    )
]
_PROSE_WORDS = [
    phrase(w)
    for w in (
        "prose",
        "english text",
        "books",
        "news",
        "tickets",
        "emails",
        "articles",
        "wikipedia",
        "stories",
        "legal documents",
        "medical records",
    )
]


def find_modality(text: Text) -> tuple[str, Span] | None:
    """Whether the text to learn from is code or prose, where that is said."""
    for kind, patterns in (("code", _CODE_WORDS), ("text", _PROSE_WORDS)):
        for pattern in patterns:
            if match := pattern.search(text.plain):
                return kind, Span(*match.span())
    return None
