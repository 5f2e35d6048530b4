"""Wider layers that compute the same function: units are copied, and what reads them is divided among the copies.

Net2WiderNet (arXiv 1511.05641, section 2.1) for the feed-forward part; for the stream, LEMON (arXiv 2310.07999): copying every
entry as often leaves mean and mean square as they are, so norms see what they saw. A matrix that reads copies gives them unequal
shares that add up to one, so that they learn apart; the tied head cannot, and the last norm divides instead.

Shapes: C hidden size, F inner size, k copies.
"""

import torch
from torch import Tensor

from aether.spec.errors import InputError
from aether.stages.surgery.opened import Opened, demand

_READS = ("qkv", "mlp.gate_up", "mlp.up")
_WRITES = ("out", "out_bias", "mlp.down", "mlp.down_bias")
_ON_HEADS = ("q_norm.gain", "k_norm.gain")


def widen(opened: Opened, hidden_size: int | None, mlp_size: int | None, seed: int) -> Opened:
    """The same function, wider. Raises InputError for sizes that are not larger, and for parts that see the width."""
    demand(opened, "widen", experts=None, mixer="attention", mixer_pattern=None, latent=None)
    generator = torch.Generator().manual_seed(seed)
    if mlp_size is not None:
        opened = _wider_mlp(opened, mlp_size, generator)
    return opened if hidden_size is None else _wider_stream(opened, hidden_size, generator)


def _wider_mlp(opened: Opened, mlp_size: int, generator: torch.Generator) -> Opened:
    now = opened.config.mlp_size
    if mlp_size <= now:
        raise InputError.of("mlp_size", mlp_size, f"more than the model's {now}")
    source = torch.cat((torch.arange(now), torch.randint(now, (mlp_size - now,), generator=generator)))

    def change(name: str, tensor: Tensor) -> Tensor:
        if name in ("mlp.gate_up", "mlp.up", "mlp.up_bias"):
            return torch.cat([part.index_select(0, source) for part in tensor.split(now)])
        return tensor.index_select(1, source) * _shares(source, now, generator) if name == "mlp.down" else tensor

    return opened.resized(opened.mapped(change), mlp_size=mlp_size)


def _wider_stream(opened: Opened, hidden_size: int, generator: torch.Generator) -> Opened:
    now = opened.config.hidden_size
    copies = hidden_size // now
    if copies * now != hidden_size or copies < 2:
        raise InputError.of(
            "hidden_size", hidden_size, f"a multiple of the model's {now}: norms must see every entry as often"
        )
    if opened.config.positions == "sinusoidal":
        raise InputError.of(
            "model.positions", "sinusoidal", "its waves depend on the width: the function cannot be kept"
        )
    source = torch.arange(now).repeat(copies)
    # Gemma's factor on the embedding grows with the width: the embedding shrinks by as much, and so does the head.
    scale = copies**-0.5 if opened.config.scale_embedding else 1.0

    def change(name: str, tensor: Tensor) -> Tensor:
        if name in _READS:
            return tensor.index_select(1, source) * _shares(source, now, generator)
        if name in _WRITES:
            return tensor.index_select(0, source)
        if name == "embedding":
            return tensor.index_select(1, source) * scale
        if name == "position_embedding":
            return tensor.index_select(1, source)
        if name in ("final_norm.gain", "final_norm.bias"):
            return tensor.index_select(0, source) / (copies * scale)
        return tensor.index_select(0, source) if name not in _ON_HEADS and _is_stream_norm(name) else tensor

    return opened.resized(opened.mapped(change), hidden_size=hidden_size)


def _is_stream_norm(name: str) -> bool:
    return name.endswith(("norm.gain", "norm.bias"))


def _shares(source: Tensor, units: int, generator: torch.Generator) -> Tensor:
    """What each copy is read by: random, between one and three parts, and one in sum over the copies of a unit."""
    parts = 1 + 2 * torch.rand(source.numel(), generator=generator, dtype=torch.float64)
    totals = torch.zeros(units, dtype=torch.float64).index_add(0, source, parts)
    return (parts / totals[source]).float()
