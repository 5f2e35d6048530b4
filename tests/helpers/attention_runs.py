"""Attention over a window that several processes share, beside attention of one: the largest errors, forward and backward."""

import torch
import torch.distributed as dist
import torch.nn.functional as F

from aether.stages.train.parallel.ring import ring_attention, zigzag
from aether.stages.train.parallel.ulysses import ulysses_attention

TOKENS = 24


def one_process(operands, documents):
    q, k, v = operands
    seen = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    if documents is not None:
        seen = seen & (documents[:, None, :, None] == documents[:, None, None, :])
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)


def attention_errors() -> dict[str, float]:
    """By kind and mask: the largest difference of output and of the gradients of q, k and v, on any process. A collective."""
    place, size = dist.get_rank(), dist.get_world_size()
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 8, TOKENS, 16), (2, 4, TOKENS, 16), (2, 4, TOKENS, 16))
    whole = [torch.randn(shape, generator=generator) for shape in shapes]
    weight = torch.randn((2, 8, TOKENS, 16), generator=generator)
    # One window of a long document and short ones; one whose documents fall together with the chunks.
    ids = torch.tensor([[0] * 13 + [1] * 2 + [2] * 9, [0] * 6 + [1] * 6 + [2] * 6 + [3] * 6])
    everyone, found = dist.group.WORLD, {}
    assert everyone is not None
    for kind, attend in (("ring", ring_attention), ("ulysses", ulysses_attention)):
        for mask, documents in (("causal", None), ("documents", ids)):
            wanted = [x.clone().requires_grad_() for x in whole]
            expected = one_process(wanted, documents)
            (expected * weight).sum().backward()
            mine = zigzag(TOKENS, place, size) if kind == "ring" else torch.arange(TOKENS).chunk(size)[place]
            own = [x[:, :, mine].clone().requires_grad_() for x in whole]
            q, k, v = own
            got = attend(q, k, v, documents, everyone).unflatten(2, (8, 16)).transpose(1, 2)
            (got * weight[:, :, mine]).sum().backward()
            pairs = [(got, expected[:, :, mine])]
            for a, b in zip(own, wanted, strict=True):
                assert a.grad is not None and b.grad is not None
                pairs.append((a.grad, b.grad[:, :, mine]))
            worst = torch.stack([(a - b).abs().max() for a, b in pairs]).max()
            dist.all_reduce(worst, dist.ReduceOp.MAX)
            found[f"{kind} {mask}"] = worst.item()
    return found
