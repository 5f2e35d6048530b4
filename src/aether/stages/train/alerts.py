"""Alerts of a running training: the rules of `knowledge.training_alerts` over its own measurements, update by update.

Speed and waiting depend on the clock, so alerts do too; they change nothing that is computed.
"""

import statistics
from collections import deque
from typing import Any

from aether.knowledge.training_alerts import AlertRule, alert_rules
from aether.stages.train.recipe_watch import Watch

_SHORT, _LONG = 20, 50
"""Updates of the medians of speed and waiting, and of gradient norms (assumed)."""


class Alerts:
    """What was measured lately, and how long each rule has been broken. Its whole state is a JSON value."""

    def __init__(self, settings: Watch) -> None:
        self._thresholds = {rule.key: settings.thresholds.get(rule.key, rule.threshold) for rule in alert_rules()}
        self._recent: dict[str, deque[float]] = {
            "speed": deque(maxlen=_SHORT), "wait": deque(maxlen=_SHORT), "norm": deque(maxlen=_LONG)
        }  # fmt: skip
        self._updates = 0
        self._best_speed = self._early_norm = 0.0
        self._broken: dict[str, int] = {}
        self.fired: dict[str, int] = {}
        """How often each alert was given."""

    def update(self, tokens_per_s: float, data_share: float, grad_norm: float) -> list[dict[str, Any]]:
        """Take in one accepted update: the alerts that it gives, {key, value, threshold}."""
        self._updates += 1
        for name, value in (("speed", tokens_per_s), ("wait", data_share), ("norm", grad_norm)):
            self._recent[name].append(value)
        found: dict[str, float] = {}
        if len(self._recent["speed"]) == _SHORT:
            speed = statistics.median(self._recent["speed"])
            self._best_speed = max(self._best_speed, speed)
            found |= {"speed_kept": speed / self._best_speed, "data_share": statistics.median(self._recent["wait"])}
        if self._updates == 2 * _LONG:
            self._early_norm = statistics.median(self._recent["norm"])
        elif self._updates > 2 * _LONG and self._early_norm > 0:
            found["gradient_growth"] = statistics.median(self._recent["norm"]) / self._early_norm
        return self._judged(found)

    def look(self, seen: dict[str, Any]) -> list[dict[str, Any]]:
        """Take in one look at the layers, as `observe.Look.finish` gives it: the alerts that it gives."""
        ratios = [
            one["update"] / one["weight"] for one in seen["layers"].values() if one.get("update") and one["weight"]
        ]
        parts = {"update_ratio": ratios}
        for quantity, name in (("dead_units", "dead"), ("attention_max", "attention_max")):
            parts[quantity] = [one[name] for one in seen["activations"].values() if one.get(name) is not None]
        return self._judged({quantity: max(values) for quantity, values in parts.items() if values})

    def _judged(self, found: dict[str, float]) -> list[dict[str, Any]]:
        given = []
        for rule in alert_rules():
            if rule.quantity not in found:
                continue
            value, threshold = found[rule.quantity], self._thresholds[rule.key]
            beyond = value > threshold if rule.beyond == "above" else value < threshold
            self._broken[rule.key] = self._broken.get(rule.key, 0) + 1 if beyond else 0
            if self._broken[rule.key] == rule.looks:
                self.fired[rule.key] = self.fired.get(rule.key, 0) + 1
                given.append({"key": rule.key, "value": value, "threshold": threshold})
        return given

    def state(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return {
            "recent": {name: list(values) for name, values in self._recent.items()},
            "updates": self._updates,
            "best_speed": self._best_speed,
            "early_norm": self._early_norm,
            "broken": self._broken,
            "fired": self.fired,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        self._recent = {name: deque(values, self._recent[name].maxlen) for name, values in state["recent"].items()}
        self._updates, self._best_speed, self._early_norm = state["updates"], state["best_speed"], state["early_norm"]
        self._broken, self.fired = dict(state["broken"]), dict(state["fired"])


def sentence(alert: dict[str, Any]) -> str:
    """An alert for a person."""
    rule: AlertRule = next(one for one in alert_rules() if one.key == alert["key"])
    return f"alert: {rule.title} ({alert['value']:.3g}, {rule.beyond} {alert['threshold']:.3g}). {rule.advice}"
