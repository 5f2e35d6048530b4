"""Each hand-written backward pass against autograd of the plain formula, in float64."""

import pytest
import torch
import torch.nn.functional as F

from aether.models import kernels

torch.set_num_threads(1)


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed + 7 * len(shape))
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


def same(ours, reference, inputs):
    """Values and gradients (for a random upstream gradient) agree to float64 precision."""
    got, wanted = ours(*inputs), reference(*inputs)
    got, wanted = (t if isinstance(t, tuple) else (t,) for t in (got, wanted))
    upstream = [random(*t.shape, seed=5).detach() for t in wanted]
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    grads = [torch.autograd.grad(t, inputs, upstream) for t in (got, wanted)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_rms_norm():
    same(
        lambda x, g: kernels.rms_norm(x, g, 1e-6),
        lambda x, g: F.rms_norm(x, (10,), g, 1e-6),
        [random(2, 5, 10), random(10)],
    )


def test_swiglu():
    def reference(x):
        gate, up = x.chunk(2, -1)
        return F.silu(gate) * up

    same(kernels.swiglu, reference, [random(3, 4, 16)])


@pytest.mark.parametrize("heads, kv_heads", [(4, 2), (3, 3), (4, 1)])
def test_query_key_value(heads, kv_heads):
    tokens, size = 5, 6
    angles = torch.outer(torch.arange(tokens).double(), torch.tensor([1.0, 0.1, 0.01]).double())
    cos, sin = angles.cos(), angles.sin()
    tables = (torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1))

    def reference(qkv, q_gain, k_gain):
        parts = qkv.view(2, tokens, -1, size).split((heads, kv_heads, kv_heads), 2)
        q, k, v = (p.transpose(1, 2) for p in parts)
        turned = []
        for x, gain in ((q, q_gain), (k, k_gain)):
            x = F.rms_norm(x, (size,), gain, 1e-6)
            pair = torch.complex(x[..., : size // 2], x[..., size // 2 :]) * torch.complex(cos, sin)
            turned.append(torch.cat((pair.real, pair.imag), -1))
        return turned[0], turned[1], v

    same(
        lambda qkv, a, b: kernels.query_key_value(qkv, (a, b), tables, heads, kv_heads, 1e-6),
        reference,
        [random(2, tokens, (heads + 2 * kv_heads) * size), random(size), random(size, seed=3)],
    )


@pytest.mark.parametrize("heads, kv_heads", [(4, 2), (3, 3), (4, 1)])
@pytest.mark.parametrize("by_document", [False, True])
def test_attention(heads, kv_heads, by_document):
    batch, tokens, size = 2, 7, 4
    visible = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    if by_document:
        ids = torch.tensor([[0, 0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 0, 0, 0]])
        visible = visible & (ids[:, None, :, None] == ids[:, None, None, :])
    bias = torch.zeros(visible.shape, dtype=torch.float64).masked_fill_(~visible, float("-inf"))

    def reference(q, k, v):
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, enable_gqa=True)
        return out.transpose(1, 2).flatten(2)

    inputs = [random(batch, h, tokens, size, seed=h + i) for i, h in enumerate((heads, kv_heads, kv_heads))]
    same(lambda q, k, v: kernels.attention(q, k, v, bias), reference, inputs)


@pytest.mark.parametrize("rows", [kernels.ROWS_PER_CHUNK + 3, 5])
def test_tied_cross_entropy(rows):
    targets = torch.arange(rows) % 9
    same(
        lambda x, w: kernels.tied_cross_entropy(x, w, targets),
        lambda x, w: F.cross_entropy(F.linear(x, w), targets),
        [random(rows, 6), random(9, 6)],
    )


@pytest.mark.parametrize("rows", [kernels.ROWS_PER_CHUNK + 3, 5])
def test_the_z_loss_gives_its_gradients_and_stays_out_of_the_value(rows):
    targets = torch.arange(rows) % 9

    def with_z(x, w):
        logits = F.linear(x, w)
        extra = 0.1 * torch.logsumexp(logits, dim=-1).square().mean()
        return F.cross_entropy(logits, targets) + extra - extra.detach()

    same(lambda x, w: kernels.tied_cross_entropy(x, w, targets, 0.1), with_z, [random(rows, 6), random(9, 6)])


def test_half_precision_knows_losses_beyond_its_smallest_probability():
    x = torch.tensor([[15.0]], dtype=torch.float16, requires_grad=True)
    head = torch.tensor([[1.0], [-1.0]], dtype=torch.float16)
    loss = kernels.tied_cross_entropy(x, head, torch.tensor([1]))
    assert loss.item() == pytest.approx(30, rel=1e-3)


def test_a_hopeless_token_gives_a_finite_loss():
    x = torch.tensor([[200.0]], requires_grad=True)
    loss = kernels.tied_cross_entropy(x, torch.tensor([[1.0], [-1.0]]), torch.tensor([1]))
    loss.backward()
    assert x.grad is not None and 80 < loss.item() < 90 and torch.isfinite(x.grad).all()
