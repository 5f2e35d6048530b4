"""Where published recipes start: learning rates, schedules and the like, which no arithmetic gives.

Rows of `practice.toml`, each with its source. They are starting points: a sweep on a small share of the tokens decides.
"""

import functools
import math
from typing import Literal

from pydantic import model_validator

from aether.knowledge.sourced import Sourced
from aether.knowledge.tables import table

PracticeTask = Literal["pretrain", "full", "lora", "dpo", "kto", "simpo", "grpo"]


class Choice(Sourced):
    """One choice: a number with a unit, or words."""

    task: PracticeTask
    field: str
    value: float | None = None
    unit: str = "count"
    text: str | None = None
    sizes: tuple[float, float] | None = None
    """Smallest and largest model that the row speaks of, in parameters."""

    @model_validator(mode="after")
    def _one_of_both(self) -> "Choice":
        assert (self.value is None) != (self.text is None), f"{self.name} is a number or words"
        return self


@functools.cache
def choices() -> tuple[Choice, ...]:
    """Every row."""
    return tuple(Choice.model_validate(row) for row in table("practice.toml")["choice"])


def choice(task: PracticeTask, field: str, parameters: float) -> Choice:
    """The row for a model of that size, the nearest in size where none covers it. A missing row is our bug."""
    rows = [row for row in choices() if row.task == task and row.field == field]
    assert rows, f"practice.toml has no {field} for {task}"

    def away(row: Choice) -> float:
        low, high = row.sizes or (parameters, parameters)
        return max(0.0, math.log(low / parameters), math.log(parameters / high))

    return min(rows, key=away)
