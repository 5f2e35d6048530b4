"""Bounds on a gradient before its update, each by its paper's formula. Works on any list of named parameters, in place.

Global norm: Pascanu et al., arXiv 1211.5063, by PyTorch's own function. AGC: Brock et al., arXiv 2102.06171, equation 3, units
are rows, and the tied table, being the last layer too, is left alone (its section 4.1). ZClip: Kumar et al., arXiv 2504.02507,
equations 2 to 8, with the global bound on top and the warm-up of its published code.
"""

import statistics
from typing import Any

import torch
from torch import Tensor, nn

from aether.stages.train.recipe_watch import Clipping

Named = list[tuple[str, nn.Parameter]]

_AGC_LEAST_NORM = 1e-3
"""AGC, section 4.1: the floor of a unit's weight norm, so that what starts at zero can move."""
_EPSILON = 1e-6
"""As torch.nn.utils.clip_grad_norm_ and ZClip's code."""
ZCLIP_WARM_UP = 25
"""ZClip's code: norms that are collected before the first one is judged."""


def layer_of(name: str) -> str:
    """The layer of a parameter: "blocks.3", or its own name outside the blocks."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "blocks" else parts[0]


def by_layer(named: Named) -> dict[str, list[nn.Parameter]]:
    """The parameters of each layer, in the model's order."""
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in named:
        found.setdefault(layer_of(name), []).append(parameter)
    return found


class Clipper:
    """One kind of clipping and, for ZClip, the history of norms."""

    def __init__(self, settings: Clipping, clip_norm: float) -> None:
        self.settings, self._clip_norm = settings, clip_norm
        self._warm_up: list[float] = []
        self._mean = self._variance = 0.0

    @torch.no_grad()
    def clip(self, named: Named, norm: float) -> None:
        """Bound the gradients. `norm` is their global norm, which is finite."""
        kind, parameters = self.settings.kind, [p for _, p in named]
        if kind in ("norm", "zclip"):
            bound = self._clip_norm if kind == "norm" else min(self._clip_norm, self._usual(norm))
            torch.nn.utils.clip_grads_with_norm_(parameters, bound, torch.tensor(norm, device=parameters[0].device))
        elif kind == "group":
            for group in by_layer(named).values():
                torch.nn.utils.clip_grad_norm_(group, self._clip_norm)
        elif kind == "value":
            torch.nn.utils.clip_grad_value_(parameters, self.settings.value)
        elif kind == "agc":
            for name, parameter in named:
                if not name.endswith("embedding"):
                    _clip_units(parameter, self.settings.ratio)

    def _usual(self, norm: float) -> float:
        """ZClip's bound for this norm, which then joins the history as it is after clipping."""
        if len(self._warm_up) < ZCLIP_WARM_UP:
            self._warm_up.append(norm)
            if len(self._warm_up) == ZCLIP_WARM_UP:
                self._mean, self._variance = statistics.fmean(self._warm_up), statistics.pvariance(self._warm_up)
            return norm
        deviation, threshold = self._variance**0.5, self.settings.z_threshold
        z = (norm - self._mean) / (deviation + _EPSILON)
        bound = self._mean + threshold**2 / z * deviation if z > threshold else norm
        past = self.settings.smoothing
        self._mean = past * self._mean + (1 - past) * bound
        self._variance = past * self._variance + (1 - past) * (bound - self._mean) ** 2
        return bound

    def state(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return {"warm_up": self._warm_up, "mean": self._mean, "variance": self._variance}

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        self._warm_up, self._mean, self._variance = list(state["warm_up"]), state["mean"], state["variance"]


def _clip_units(parameter: nn.Parameter, ratio: float) -> None:
    """AGC, equation 3: each row's gradient to at most `ratio` of the row's weight norm; a vector is one unit."""
    assert parameter.grad is not None
    most = _unit_norms(parameter).clamp_min_(_AGC_LEAST_NORM).mul_(ratio)
    norms = _unit_norms(parameter.grad)
    parameter.grad.mul_(torch.where(norms > most, most / norms.clamp_min(_EPSILON), 1.0))


def _unit_norms(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x) if x.ndim == 1 else torch.linalg.vector_norm(x, dim=-1, keepdim=True)
