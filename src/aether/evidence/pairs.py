"""Pairs of answers to one prompt, to be preferred by people or by a judge: read from a file, or made from two evaluations. No torch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from aether.evidence.items import Item
from aether.spec.base import Noun
from aether.spec.errors import InputError

Side = Literal["a", "b"]


class Pair(Noun):
    """A prompt with two answers."""

    prompt: str
    a: str
    b: str
    a_model: str | None = None
    b_model: str | None = None
    reference: str | None = None
    """A right answer; a language-model judge sees it, people do not."""
    check: Side | None = None
    """The answer that anyone who reads must prefer."""


def read_pairs(path: Path) -> tuple[Pair, ...]:
    """The pairs of a file. Raises InputError naming the line that is none."""
    if not path.is_file():
        raise InputError.of("pairs", str(path), "no such file; give JSON lines with prompt, a and b")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found.append(Pair.model_validate(row))
        except ValueError as error:
            raise InputError.of(
                f"{path.name}, line {number}",
                line[:80],
                "write an object with the texts prompt, a and b (and a_model, b_model, reference, check)",
            ) from error
    if not found:
        raise InputError.of("pairs", str(path), "it holds no pair")
    return tuple(found)


def paired_answers(a: Sequence[Item], b: Sequence[Item], models: tuple[str, str]) -> tuple[Pair, ...]:
    """What two models wrote to the same prompts, in the order of `a`. Raises InputError where they share no prompt.

    Items without an answer in words (a text that was only scored) are left out.
    """
    theirs = {(item.task, item.id, item.variant): item for item in b}
    found = []
    for item in a:
        other = theirs.get((item.task, item.id, item.variant))
        if other is not None and other.prompt == item.prompt and item.answer and other.answer:
            found.append(Pair(prompt=item.prompt, a=item.answer, b=other.answer, a_model=models[0], b_model=models[1],
                              reference=item.target or None))  # fmt: skip
    if not found:
        raise InputError.of("evaluations", 0, "they share no prompt that both answered; evaluate the same suite twice")
    return tuple(found)
