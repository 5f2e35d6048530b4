"""The filters: each says yes, or no with a named reason and the numbers. Order is from cheap and certain to judged.

Rules follow Codex (arXiv 2107.03374, section 3.1: line lengths, generated files), StarCoder (arXiv 2305.06161,
section 3.2: alphabetic share) and Gopher (arXiv 2112.11446, table A1: repetition); thresholds and their status are in
`recipe.Filters`. A licence header is never a reason: it is counted and kept. No language model judges quality here.
"""

import re
import zlib
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import Literal

from aether.stages.data.recipe import Filters

Modality = Literal["code", "text"]


class Reason(StrEnum):
    """Why a document is not in the corpus. Every rejection has one of these and is counted under it."""

    UNREADABLE = "unreadable"
    MALFORMED = "malformed"
    ENCODING = "encoding"
    EMPTY = "empty"
    TOO_SHORT = "too-short"
    TOO_LONG = "too-long"
    GENERATED = "generated"
    LONG_LINES = "long-lines"
    DATA_TABLE = "data-table"
    REPETITION = "repetition"
    EXACT_DUPLICATE = "exact-duplicate"
    NEAR_DUPLICATE = "near-duplicate"
    CONTAMINATES = "contaminates-test"
    OVER_CAP = "over-cap"


MEANING: dict[Reason, str] = {
    Reason.UNREADABLE: "the file or folder could not be opened, or its compressed stream is damaged",
    Reason.MALFORMED: "a row is not a JSON object, or has no string under the text field",
    Reason.ENCODING: "not valid UTF-8, or holds a NUL byte",
    Reason.EMPTY: "nothing but white space",
    Reason.TOO_SHORT: "fewer bytes than `filters.min_bytes`",
    Reason.TOO_LONG: "more bytes than `filters.max_bytes`",
    Reason.GENERATED: "a generator signed it in its first lines",
    Reason.LONG_LINES: "code with a line, or a mean line, longer than people write",
    Reason.DATA_TABLE: "mostly numbers, punctuation or literals: a table of data",
    Reason.REPETITION: "most of it repeats its own lines, or compresses to almost nothing",
    Reason.EXACT_DUPLICATE: "the same text, white space at line ends aside, as an earlier document",
    Reason.NEAR_DUPLICATE: "its token shingles overlap those of an earlier, kept document",
    Reason.CONTAMINATES: "a training document that shares long passages with a held-out one",
    Reason.OVER_CAP: "not drawn into the seeded sample that `bytes_max` or `ood_bytes_max` allows",
}

Finding = tuple[Reason, str]

_LITERAL = re.compile(
    r"#.*|\b[rbufRBUF]{0,2}'[^']*'|\b[rbufRBUF]{0,2}\"[^\"]*\"|'[^']*'|\"[^\"]*\"|\b\d[\w.]*|[\s,:;()\[\]{}+-]+"
)
"""Literals, separators and comments: a line that opens with a literal and of which this leaves nothing is a table's row."""
_LICENCES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("spdx", re.compile(r"SPDX-License-Identifier:", re.I)),
    ("apache", re.compile(r"Apache License|Apache Software Foundation", re.I)),
    ("gpl", re.compile(r"GNU (Lesser |Library |Affero )?General Public", re.I)),
    ("mozilla", re.compile(r"Mozilla Public License", re.I)),
    ("psf", re.compile(r"Python Software Foundation|PSF (license|contributor)|Licensed to (the )?PSF", re.I)),
    ("bsd", re.compile(r"Redistribution and use in source and binary|BSD[- ](style )?licen[cs]e", re.I)),
    ("mit", re.compile(r"MIT Licen[cs]e|Permission is hereby granted, free of charge", re.I)),
    ("permissive-notice", re.compile(r"Permission to use, copy, modify", re.I)),
    ("copyright-only", re.compile(r"\bcopyright\b.{0,40}\d{4}|\(c\) .{0,20}\d{4}", re.I)),
)
_OPENS_LITERAL = re.compile(r"[\s(\[{+-]*(?:[rbufRBUF]{0,2}['\"]|\d)")
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TABLE_LINES = 20
"""A shorter file is not a table, whatever its lines (assumed)."""
_LICENCE_HEAD_CHARACTERS = 4000
"""A licence header stands at the top (assumed: 4,000 characters hold the longest common one, BSD with its clauses)."""
_COUNTED_LINE_CHARACTERS = 20
"""Shorter lines repeat in all honest code: `return None`, `else:`, a closing bracket (assumed)."""


def judge(text: str, modality: Modality, limits: Filters) -> Finding | None:
    """The first reason to reject `text`, with its numbers, or None to keep it. `text` is valid UTF-8 without NUL."""
    return next((found for check in _CHECKS[modality] if (found := check(text, limits)) is not None), None)


def licence_of(text: str) -> str | None:
    """The kind of licence notice in the head of `text`: a name of `_LICENCES`, or None. A count, not legal advice."""
    head = text[:_LICENCE_HEAD_CHARACTERS]
    return next((name for name, pattern in _LICENCES if pattern.search(head)), None)


def _size(text: str, limits: Filters) -> Finding | None:
    if not text.strip():
        return Reason.EMPTY, "only white space"
    size_bytes = len(text.encode())
    if size_bytes < limits.min_bytes:
        return Reason.TOO_SHORT, f"{size_bytes} bytes, at least {limits.min_bytes}"
    if size_bytes > limits.max_bytes:
        return Reason.TOO_LONG, f"{size_bytes} bytes, at most {limits.max_bytes}"
    return None


@lru_cache(maxsize=8)
def _compiled(markers: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{m})" for m in markers) or r"(?!)", re.I)


def _generated(text: str, limits: Filters) -> Finding | None:
    marker = _compiled(limits.generated_markers)
    for number, line in enumerate(text[:20_000].splitlines()[: limits.generated_head_lines], 1):
        if marker.search(line):
            return Reason.GENERATED, f"line {number}: {line.strip()[:120]}"
    return None


def _long_lines(text: str, limits: Filters) -> Finding | None:
    lines = text.splitlines()
    longest = max(map(len, lines), default=0)
    if longest > limits.max_line_characters:
        return Reason.LONG_LINES, f"longest line {longest} characters, at most {limits.max_line_characters}"
    mean = len(text) / len(lines)
    if mean > limits.mean_line_characters:
        return Reason.LONG_LINES, f"mean line {mean:.0f} characters, at most {limits.mean_line_characters:g}"
    return None


def _data_table(text: str, limits: Filters) -> Finding | None:
    if text.isascii():
        letters = len(text) - len(text.encode().translate(None, _LETTERS))
    else:
        letters = sum(map(str.isalpha, text))
    share = letters / len(text)
    if share < limits.min_alphabetic_share:
        return Reason.DATA_TABLE, f"{share:.0%} of characters are letters, at least {limits.min_alphabetic_share:.0%}"
    return None


def _literal_lines(text: str, limits: Filters) -> Finding | None:
    lines = [line for line in text.splitlines() if line.strip()]
    literal = sum(1 for line in lines if _OPENS_LITERAL.match(line) and not _LITERAL.sub("", line))
    share = literal / len(lines)
    if share > limits.max_literal_share and len(lines) >= _TABLE_LINES:
        return Reason.DATA_TABLE, f"{share:.0%} of lines are literals only, at most {limits.max_literal_share:.0%}"
    return None


def _repetition(text: str, limits: Filters) -> Finding | None:
    seen: set[str] = set()
    counted = repeated = 0
    for line in text.splitlines():
        line = line.strip()
        if len(line) >= _COUNTED_LINE_CHARACTERS:
            counted += len(line)
            if line in seen:
                repeated += len(line)
            seen.add(line)
    share = repeated / counted if counted else 0.0
    if share > limits.max_duplicate_share:
        return (
            Reason.REPETITION,
            f"{share:.0%} of characters are in repeated lines, at most {limits.max_duplicate_share:.0%}",
        )
    raw = text.encode()
    ratio = len(zlib.compress(raw, 1)) / len(raw)
    if ratio < limits.min_compressed_ratio:
        return Reason.REPETITION, f"compresses to {ratio:.1%}, at least {limits.min_compressed_ratio:.1%}"
    return None


_Check = Callable[[str, Filters], Finding | None]
_CHECKS: dict[Modality, tuple[_Check, ...]] = {
    "code": (_size, _generated, _long_lines, _data_table, _literal_lines, _repetition),
    "text": (_size, _data_table, _repetition),
}
