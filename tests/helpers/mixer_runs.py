"""Recurrent mixers over a window that several processes share, beside one process: the largest errors of loss and gradients."""

import torch
import torch.distributed as dist
from parts_toys import random_parts, shape

from aether.models.parts.decoder import PartsDecoder
from aether.models.seams import Seams
from aether.stages.train.parallel.ring import zigzag
from aether.stages.train.parallel.stretches import SharedStretches

TOKENS = 48
HYBRID = ("rwkv7", "gated_delta", "rwkv7", "mamba2")
"""A second RWKV-7 layer, which mixes in the first one's values."""


def gradients(model: PartsDecoder, given: tuple, weight: float) -> tuple[torch.Tensor, list[torch.Tensor]]:
    loss = model.loss(*given) * weight
    model.zero_grad()
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def mixer_errors() -> dict[str, float]:
    """By mixer, order of tokens and mask: the largest difference of loss and summed gradients, in float64. A collective."""
    everyone, place, size = dist.group.WORLD, dist.get_rank(), dist.get_world_size()
    assert everyone is not None
    generator = torch.Generator().manual_seed(0)
    tokens, targets = (torch.randint(0, 61, (2, TOKENS), generator=generator) for _ in range(2))
    # Documents that end within a stretch, at its edge, and within the taps of a convolution behind one.
    ends = [[5, 24, 25], [12, 23, 37]]
    ids = torch.stack([sum((torch.arange(TOKENS) >= end).long() for end in row) for row in ends])  # pyright: ignore[reportArgumentType]
    orders = {
        "ring": ([[p, 2 * size - 1 - p] for p in range(size)], zigzag(TOKENS, place, size)),
        "ulysses": ([[p] for p in range(size)], torch.arange(TOKENS).chunk(size)[place]),
    }
    found = {}
    for kind in ("mamba", "mamba2", "rwkv6", "retnet", "gated_delta", HYBRID):
        parts = {"mixer": kind, "layers": 1} if isinstance(kind, str) else {"mixer_pattern": kind, "layers": 4}
        model = random_parts(shape(**parts)).double()
        for mask, documents in (("causal", None), ("documents", ids)):
            wanted = gradients(model, (tokens, targets, documents), 1.0)
            for order, (every, own) in orders.items():
                stretches = SharedStretches(every, TOKENS, everyone)
                model.join(Seams(own=lambda x, own=own: x[:, own], stretches=stretches))
                loss, grads = gradients(model, (tokens, targets, documents), 1 / size)
                model.join(Seams())
                for part in (loss, *grads):
                    dist.all_reduce(part)
                pairs = zip((loss, *grads), (wanted[0], *wanted[1]), strict=True)
                found[f"{kind} {order} {mask}"] = max((a - b).abs().max().item() for a, b in pairs)
    return found
