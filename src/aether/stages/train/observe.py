"""What a training looks like inside: norms of gradients, weights and updates by layer, and the activations of one window.

Looked at as often as a share of the updates' time allows: the clock decides when, never what is computed. The activations come
from a pass forward of their own over the first window of the batch, as one document, before its update, by plain blocks: the
updates' own passes are left alone. Meanwhile a copy of the weights is held.

Shapes: H query heads, K key-value heads, T tokens, D head size, F units.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from aether.models import taps
from aether.models.decoder import Decoder
from aether.stages.train.clipping import Named, by_layer
from aether.stages.train.metrics import finite
from aether.stages.train.recipe_watch import Watch

_QUERIES = 128
"""Queries of a window whose scores are looked at, evenly spaced (assumed; bounds the cost for long windows)."""
_DEAD = 1e-3
"""A unit whose largest activation is below this share of its layer's root mean square is dead (assumed)."""
_FIRST_COST = 0.5
"""Updates that the first look is taken to cost, before one was timed (assumed)."""


class Observer:
    """Looks when it can afford to. Its clock begins anew in a process that goes on from a checkpoint."""

    def __init__(self, settings: Watch) -> None:
        self._share = settings.cost_share
        self._worked_s = self._spent_s = 0.0
        self._cost_s: float | None = None

    def worked(self, wall_s: float) -> None:
        """Tell of an update's wall time, looks included."""
        self._worked_s += wall_s
        if self._cost_s is None:
            self._cost_s = _FIRST_COST * wall_s

    @property
    def due(self) -> bool:
        """Whether another look would stay within the share of the time."""
        return self._cost_s is not None and self._spent_s + self._cost_s <= self._share * self._worked_s

    def spent(self, cost_s: float) -> None:
        """Tell what a look took."""
        self._spent_s += cost_s
        self._cost_s = cost_s


class Look:
    """One look: before the update, and after it."""

    @torch.no_grad()
    def __init__(self, model: Decoder, named: Named, window_T: Tensor) -> None:
        began_s = time.perf_counter()
        self._named = named
        self._layers = {layer: _norms(parameters) for layer, parameters in by_layer(named).items()}
        self._activations = activations(model, window_T)
        self._before = [parameter.detach().clone() for _, parameter in named]
        self.cost_s = time.perf_counter() - began_s

    @torch.no_grad()
    def finish(self) -> dict[str, Any]:
        """{layers: {name: {grad, weight, update}}, activations: {name: {rms, max, ...}}}; what is not finite is None."""
        began_s = time.perf_counter()
        moved = [(n, nn.Parameter(p - old)) for (n, p), old in zip(self._named, self._before, strict=True)]
        for layer, parameters in by_layer(moved).items():
            self._layers[layer]["update"] = _norm([p.detach() for p in parameters])
        found = {
            "layers": {name: _numbers(norms) for name, norms in self._layers.items()},
            "activations": {f"blocks.{place}": _numbers(one) for place, one in enumerate(self._activations)},
        }
        self._before = []
        self.cost_s += time.perf_counter() - began_s
        return found


def _norms(parameters: list[nn.Parameter]) -> dict[str, Tensor]:
    gradients = [p.grad for p in parameters if p.grad is not None]
    return {"grad": _norm(gradients), "weight": _norm([p.detach() for p in parameters])}


def _norm(tensors: list[Tensor]) -> Tensor:
    return torch.nn.utils.get_total_norm(tensors)


def _numbers(named: dict[str, Tensor]) -> dict[str, float | None]:
    return {name: finite(value.item()) for name, value in named.items()}


class _Seen:
    """Statistics of each layer of one pass, as tensors: nothing waits for a device before the end."""

    def __init__(self) -> None:
        self.layers: list[dict[str, Tensor]] = []
        self._open: dict[str, Tensor] = {}

    def attention(self, q_BHTD: Tensor, k_BKPD: Tensor, scale: float) -> None:
        """Largest score, and the mean entropy of the weights in nats, over some of the queries."""
        heads, tokens = q_BHTD.shape[1], q_BHTD.shape[2]
        chosen = torch.arange(0, tokens, max(1, tokens // _QUERIES), device=q_BHTD.device)
        q, k = q_BHTD[:1, :, chosen].float(), k_BKPD[:1].float().repeat_interleave(heads // k_BKPD.shape[1], dim=1)
        unseen = torch.arange(tokens, device=q.device) > chosen[:, None]
        scores = (q @ k.mT).mul_(scale).masked_fill_(unseen, float("-inf"))
        logs = torch.log_softmax(scores, dim=-1)
        entropy = -(logs.exp() * logs.masked_fill(unseen, 0.0)).sum(-1).mean()
        self._open |= {"attention_max": scores.max(), "attention_entropy": entropy}

    def inner(self, units: Tensor) -> None:
        """The share of units that no token moves."""
        peaks_F = units.detach().abs().flatten(0, -2).amax(0).float()
        rms = units.detach().float().square().mean().sqrt()
        self._open["dead"] = (peaks_F <= _DEAD * rms).float().mean()

    def block(self, _module: nn.Module, _given: Any, stream: Tensor) -> None:
        """The end of a layer."""
        wide = stream.detach().float()
        self.layers.append({"rms": wide.square().mean().sqrt(), "max": wide.abs().max(), **self._open})
        self._open = {}


@torch.no_grad()
def activations(model: Decoder, window_T: Tensor) -> list[dict[str, Tensor]]:
    """By layer: RMS and largest value of the stream after it, the share of dead units, the largest attention score, the entropy.

    A layer without one of them has none. Windows and softcaps of the scores are not looked at.
    """
    return watched(model, lambda: model.hidden(window_T[None]))


def watched(model: Decoder, forward: Callable[[], object]) -> list[dict[str, Tensor]]:
    """The same of any pass through the model's blocks."""
    seen = _Seen()
    hooks = [block.register_forward_hook(seen.block) for block in model.blocks]
    try:
        with taps.watching(seen):
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return seen.layers
