"""Programs to complete and whether the completion parses: the questions, the cut and the judge. Python sources only.

What it measures: syntax. A prefix of a held-out file ends where a top-level statement would begin, so that it parses
by itself; the model goes on greedily for a fixed number of tokens; the text is cut back to the last boundary between
top-level statements (or, with none, to the last full line); prefix and completion together must be accepted by
`ast.parse`, and at least one line must be code. The true continuation, cut to the same tokens in the same way, gives
the ceiling. It does not measure meaning: `pass` would do. Nothing is ever executed or compiled.
"""

import ast
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from aether.models.corpus import Tokens

_CONTINUES = ("else", "elif", "except", "finally", ")", "]", "}", '"', "'")
"""A line that begins with one of these in column 0 goes on with the statement before it."""


class Verdict(StrEnum):
    """What became of a completion."""

    PARSES = "parses"
    SYNTAX = "syntax_error"
    NO_CODE = "no_code"
    TOO_DEEP = "too_deep"


@dataclass(frozen=True)
class Program:
    """A prefix of document `document`: its tokens end at a top-level statement boundary."""

    document: str
    group: str
    prefix_text: str
    prefix_ids: tuple[int, ...]
    true_ids: tuple[int, ...]


def parse(text: str) -> ast.Module | Verdict:
    """The syntax tree of `text`, or why there is none."""
    try:
        with warnings.catch_warnings():
            # A file's invalid escape is a SyntaxWarning: the file's matter, not ours.
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (RecursionError, MemoryError):
        return Verdict.TOO_DEEP
    except (SyntaxError, ValueError):
        return Verdict.SYNTAX


def boundaries(text: str) -> list[int]:
    """UTF-8 byte offsets in `text` where its second and later top-level statements begin; empty unless it parses.

    Only starts of lines count, decorators included, and only in a text whose lines end with a newline alone.
    """
    tree = parse(text)
    if isinstance(tree, Verdict) or "\r" in text or "\f" in text:
        return []
    starts = [0]
    for line in text.encode().split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    offsets = []
    for before, node in zip(tree.body, tree.body[1:], strict=False):
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        if first > (before.end_lineno or 0):
            offsets.append(starts[first - 1])
    return offsets


def program_at(
    name: tuple[str, str], text: str, ids: Tokens, ends: Sequence[int], rng: np.random.Generator
) -> Program | None:
    """A seeded prefix of the document that ends at a boundary which is also a token's end; None when there is none.

    `ids` (t,) without the separator; `ends[i]` is the byte offset at which token i ends.
    """
    place = {end: index + 1 for index, end in enumerate(ends)}
    content = text.encode()
    cuts = [offset for offset in boundaries(text) if offset in place]
    for cut in rng.permutation(cuts).tolist():
        prefix = content[:cut].decode()
        if not isinstance(parse(prefix), Verdict):
            at = place[cut]
            return Program(*name, prefix, tuple(ids[:at].tolist()), tuple(ids[at:].tolist()))
    return None


def cut_back(completion: str) -> str:
    """The completion up to its last boundary between top-level statements; with none, up to its last full line."""
    lines = completion.split("\n")[:-1]
    for index in range(len(lines) - 1, 0, -1):
        line = lines[index]
        opens = bool(line) and not line[0].isspace() and not line.startswith(_CONTINUES)
        if opens and any(_is_code(earlier) for earlier in lines[:index]):
            return "\n".join(lines[:index]) + "\n"
    return "\n".join(lines) + "\n" if lines else ""


def _is_code(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def judge(prefix: str, completion: str) -> Verdict:
    """Whether prefix + completion (after `cut_back`) parses with at least one line of code added."""
    kept = cut_back(completion)
    if not any(_is_code(line) for line in kept.split("\n")):
        return Verdict.NO_CODE
    tree = parse(prefix + kept)
    return tree if isinstance(tree, Verdict) else Verdict.PARSES
