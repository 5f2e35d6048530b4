"""Lines to complete: which ones, cut where, and when a completion is exact. No torch.

A line is sampled (seeded) from a held-out document, at most a few per document, trivial ones left out. It is cut
between two tokens of the document's own tokenisation, inside its text; the prefix is everything before the cut, up to
the context. The model goes on greedily until a newline; exact means that the bytes up to the newline are the true
rest, trailing white space apart. Cutting between tokens spares the model half-tokens, which favours it: a person's
cursor can stand inside a token.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aether.models.corpus import Tokens
from aether.stages.evaluate.recipe import EvaluateRecipe


@dataclass(frozen=True)
class Line:
    """A line of `document` cut in two: the tokens before the cut, and the bytes that should follow up to a newline."""

    document: str
    group: str
    prefix_ids: tuple[int, ...]
    line_head: str
    """The line's text before the cut, for the record."""
    rest: bytes
    rest_tokens: int


def token_ends(ids: Tokens, bytes_of: Sequence[bytes]) -> list[int]:
    """The byte offset at which each token (t,) ends."""
    return np.cumsum([len(bytes_of[token]) for token in ids.tolist()]).tolist() if len(ids) else []


def _cuts(content: bytes, bounds: tuple[int, int], ends: Sequence[int], recipe: EvaluateRecipe) -> list[int]:
    """Indices of tokens after which the line content[bounds] may be cut."""
    begin, end = bounds
    line = content[begin:end]
    if len(line.strip()) < recipe.line_min_bytes or line.lstrip().startswith(b"#"):
        return []
    text_begin = begin + len(line) - len(line.lstrip())
    text_end = begin + len(line.rstrip())
    first = int(np.searchsorted(ends, text_begin, side="right"))
    last = int(np.searchsorted(ends, text_end - recipe.line_rest_min_bytes, side="right"))
    through = int(np.searchsorted(ends, text_end, side="left"))
    return [at for at in range(first, last) if through - at <= recipe.line_max_tokens]


def lines_of(
    name: tuple[str, str],
    content: bytes,
    ids: Tokens,
    bytes_of: Sequence[bytes],
    recipe: EvaluateRecipe,
    rng: np.random.Generator,
) -> list[Line]:
    """Up to `lines_per_document` cut lines of one document, in a seeded order. `ids` (t,) without the separator.

    A line that is only a comment, or too short, or whose rest is too long, is not eligible; neither is the first
    line (nothing comes before it) nor a last one without a newline.
    """
    ends = token_ends(ids, bytes_of)
    newlines = [place for place, byte in enumerate(content) if byte == 0x0A]
    bounds = [(a + 1, b) for a, b in itertools.pairwise(newlines)]
    found: list[Line] = []
    for index in rng.permutation(len(bounds)).tolist():
        if len(found) == recipe.lines_per_document:
            break
        begin, end = bounds[index]
        cuts = _cuts(content, (begin, end), ends, recipe)
        if not cuts:
            continue
        at = int(rng.choice(cuts))
        cut = ends[at]
        rest = content[cut:end].rstrip()
        tokens = int(np.searchsorted(ends, cut + len(rest), side="left")) - at
        head = content[begin:cut].decode(errors="replace")
        found.append(Line(*name, tuple(ids[: at + 1].tolist()), head, rest, tokens))
    return found


def is_exact(line: Line, produced: bytes) -> bool:
    """Whether the produced bytes reach a newline and are the line's true rest up to it, trailing white space apart."""
    head, newline, _ = produced.partition(b"\n")
    return bool(newline) and head.rstrip() == line.rest
