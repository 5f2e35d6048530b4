"""When a training calls for a look while it runs: rows of training_alerts.toml. Data only; the train stage applies them."""

import functools
from typing import Literal

from aether.knowledge.tables import table
from aether.spec.base import Noun


class AlertRule(Noun):
    """A quantity beyond a threshold for so many looks in a row."""

    key: str
    title: str
    quantity: Literal["update_ratio", "dead_units", "attention_max", "data_share", "speed_kept", "gradient_growth"]
    beyond: Literal["above", "below"]
    threshold: float
    looks: int
    """In a row: of layers for what is seen in layers, else updates."""
    advice: str


@functools.cache
def alert_rules() -> tuple[AlertRule, ...]:
    """Every rule."""
    return tuple(AlertRule.model_validate(row) for row in table("training_alerts.toml")["alert"])
