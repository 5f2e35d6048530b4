"""How trainers name what they log, and what symptoms in a log may mean: rows of training_logs.toml and training_symptoms.toml.

Data only; `counsel.diagnosis` reads logs and finds symptoms.
"""

import functools
import re
from typing import Literal

from aether.knowledge.sourced import Sourced
from aether.knowledge.tables import table
from aether.spec.base import Noun


class Quantity(Sourced):
    """A series of a log. `is` in the data."""

    name: str
    names: tuple[str, ...]


class Message(Noun):
    """Words in a log that are a symptom by themselves."""

    key: str
    pattern: str


class Symptom(Noun):
    """What may be behind a symptom, and what to try next."""

    key: str
    title: str
    severity: Literal["error", "warning", "info"]
    causes: tuple[str, ...]
    experiment: str
    topics: tuple[str, ...]
    said: re.Pattern[str]
    """How a person names it in a question, in small letters."""


class Clue(Noun):
    """Something else that a question names, and the causes that it speaks for."""

    name: str
    said: re.Pattern[str]
    causes: re.Pattern[str]


@functools.cache
def quantities() -> dict[str, str]:
    """A trainer's name for a quantity, in small letters with spaces -> ours."""
    rows = table("training_logs.toml")["quantity"]
    found = [Quantity.model_validate({"name" if k == "is" else k: v for k, v in row.items()}) for row in rows]
    return {name: row.name for row in found for name in row.names}


@functools.cache
def messages() -> dict[str, re.Pattern[str]]:
    """Key of a symptom -> the words that say it."""
    rows = [Message.model_validate(row) for row in table("training_logs.toml")["message"]]
    return {row.key: re.compile(row.pattern, re.IGNORECASE) for row in rows}


@functools.cache
def symptoms() -> dict[str, Symptom]:
    """Key -> symptom."""
    return {row["key"]: Symptom.model_validate(row) for row in table("training_symptoms.toml")["symptom"]}


@functools.cache
def clues() -> tuple[Clue, ...]:
    """What else a question may name."""
    return tuple(Clue.model_validate(row) for row in table("training_symptoms.toml")["clue"])
