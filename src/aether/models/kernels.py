"""The decoder's inner operations with hand-written backward passes, for training. Plain torch calls, no compiler.

Each equals a formula of the reference (transformers' Qwen3: RMSNorm, rotary positions with QK-norm, softmax attention,
SwiGLU, cross-entropy over a tied head) and is tested against autograd of that formula in float64. They exist because on
CPU the stock backward passes cost more than the arithmetic: at batch 8, 256 tokens, 4 heads of 64, bfloat16, 2 threads
(Zen 4, torch 2.13) SDPA's flash kernel takes 15.5 ms forward and backward where two matrix products and a softmax take
6.0; F.rms_norm's backward takes 1.3 ms where this one takes 0.4. Reductions are in float32 (float64 for float64 input).
Does not cover dropout, sliding windows or second derivatives.

Shapes: B batch, T tokens, C hidden size, E fused width, H query heads, K key-value heads, G = H / K, D head size, F MLP
size, V vocabulary, N = B * T rows.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

ROWS_PER_CHUNK = 1024
"""Rows of logits that exist at a time in the loss. Measured: 512 to 2048 are within 3% at 4096 entries, 2 threads."""

_LEAST_PROBABILITY = 1e-37
"""Where the loss of one token saturates (85 nats), so that a probability that underflows gives a number."""


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _reciprocal_rms(x: Tensor, eps: float) -> Tensor:
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=_wide(x.dtype))
    return norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_().to(x.dtype)


def _rms_backward(grad_normal: Tensor, normal: Tensor, scale: Tensor) -> Tensor:
    """Gradient of x -> x * rsqrt(mean(x^2) + eps), given that of its output."""
    dot = (grad_normal * normal).sum(-1, keepdim=True, dtype=_wide(normal.dtype)).div_(-normal.shape[-1])
    return torch.addcmul(grad_normal, normal, dot.to(normal.dtype)).mul_(scale)


def _gain_backward(grad: Tensor, normal: Tensor, gain: Tensor | None, learnt: bool) -> tuple[Tensor, Tensor | None]:
    """Gradients of normal -> normal * gain with respect to both."""
    if gain is None:
        return grad, None
    grad_gain = None
    if learnt:
        grad_gain = (grad * normal).sum(tuple(range(grad.ndim - 1)), dtype=_wide(grad.dtype)).to(gain.dtype)
    return grad * gain.to(grad.dtype), grad_gain


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor | None, eps: float) -> Tensor:
        scale = _reciprocal_rms(x, eps)
        normal = x * scale
        ctx.save_for_backward(normal, scale, gain)
        return normal if gain is None else normal * gain.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        normal, scale, gain = ctx.saved_tensors
        grad_normal, grad_gain = _gain_backward(grads[0], normal, gain, ctx.needs_input_grad[1])
        return _rms_backward(grad_normal, normal, scale), grad_gain, None


def rms_norm(x: Tensor, gain: Tensor | None, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * gain over the last dimension. `gain` [C] may be wider than `x`; None stands for ones."""
    return _RmsNorm.apply(x, gain, eps)  # pyright: ignore[reportReturnType]


def _swap_halves(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((second, first), dim=-1)


def rotate(x: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
    """Rotary positions (RoFormer, arXiv 2104.09864) in the half-split layout; `sin_TD` carries its sign (minus first)."""
    return torch.addcmul(x * cos_TD, _swap_halves(x), sin_TD)


def _rotate_backward(grad: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
    return torch.addcmul(_swap_halves(grad * sin_TD), grad, cos_TD)


class _QueryKeyValue(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv_BTE: Tensor, q_gain: Tensor | None, k_gain: Tensor | None, tables: Any, shape: Any):
        heads, kv_heads, eps = shape
        batch, tokens, width = qkv_BTE.shape
        size = width // (heads + 2 * kv_heads)
        split = (heads, kv_heads, kv_heads)
        q, k, v = (
            p.transpose(1, 2).clone(memory_format=torch.contiguous_format)
            for p in qkv_BTE.view(batch, tokens, -1, size).split(split, dim=2)
        )
        saved = []
        rotated = []
        for part, gain in ((q, q_gain), (k, k_gain)):
            scale = _reciprocal_rms(part, eps)
            normal = part.mul_(scale)
            rotated.append(rotate(normal if gain is None else normal * gain.to(normal.dtype), *tables))
            saved += [normal, scale, gain]
        ctx.save_for_backward(*saved, *tables)
        return rotated[0], rotated[1], v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        *saved, cos_TD, sin_TD = ctx.saved_tensors
        batch, heads, tokens, size = grads[0].shape
        kv_heads = grads[1].shape[1]
        grad_BTHD = grads[0].new_empty(batch, tokens, heads + 2 * kv_heads, size)
        parts = [p.transpose(1, 2) for p in grad_BTHD.split((heads, kv_heads, kv_heads), dim=2)]
        parts[2].copy_(grads[2])
        gains: list[Tensor | None] = [None, None]
        for place, (part, grad) in enumerate(zip(parts[:2], grads[:2], strict=True)):
            normal, scale, gain = saved[3 * place : 3 * place + 3]
            turned = _rotate_backward(grad, cos_TD, sin_TD)
            turned, gains[place] = _gain_backward(turned, normal, gain, ctx.needs_input_grad[1 + place])
            part.copy_(_rms_backward(turned, normal, scale))
        return grad_BTHD.view(batch, tokens, -1), gains[0], gains[1], None, None


def query_key_value(
    qkv_BTE: Tensor,
    gains: tuple[Tensor | None, Tensor | None],
    tables: tuple[Tensor, Tensor],
    heads: int,
    kv_heads: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Split a fused projection into normalised, rotated q [B,H,T,D], k [B,K,T,D] and plain v [B,K,T,D].

    `gains` [D] of query and key, each None for ones; `tables` cosine and signed sine, [T, D].
    """
    shape = (heads, kv_heads, eps)
    return _QueryKeyValue.apply(qkv_BTE, *gains, tables, shape)  # pyright: ignore[reportReturnType]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, bias: Tensor) -> Tensor:
        batch, heads, tokens, size = q_BHTD.shape
        kv_heads = k_BKTD.shape[1]
        q = q_BHTD.reshape(batch * kv_heads, -1, size)
        k, v = k_BKTD.reshape(-1, tokens, size), v_BKTD.reshape(-1, tokens, size)
        scores = torch.bmm(q * size**-0.5, k.mT)
        scores.view(batch, heads, tokens, tokens).add_(bias)
        weights = torch.softmax(scores, dim=-1)
        ctx.save_for_backward(q, k, v, weights)
        out = torch.bmm(weights, v).view(batch, heads, tokens, size)
        return out.transpose(1, 2).reshape(batch, tokens, heads * size)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        q, k, v, weights = ctx.saved_tensors
        batch, tokens = grads[0].shape[:2]
        size = q.shape[-1]
        grad = grads[0].view(batch, tokens, -1, size).transpose(1, 2).reshape(q.shape)
        grad_v = torch.bmm(weights.mT, grad)
        grad_weights = torch.bmm(grad, v.mT)
        grad_scores = torch.ops.aten._softmax_backward_data(grad_weights, weights, -1, weights.dtype).mul_(size**-0.5)
        grad_q = torch.bmm(grad_scores, k).view(batch, -1, tokens, size)
        grad_k = torch.bmm(grad_scores.mT, q).view(batch, -1, tokens, size)
        return grad_q, grad_k, grad_v.view(batch, -1, tokens, size), None


def attention(q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D) + bias) v as [B, T, H * D], for windows whose score matrix fits in the cache.

    `bias` broadcasts to [B, H, T, T]: 0 where a query may look, minus infinity where it may not.
    """
    return _Attention.apply(q_BHTD, k_BKTD, v_BKTD, bias)  # pyright: ignore[reportReturnType]


class _SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        silu = F.silu(gate)
        ctx.save_for_backward(gate_up, silu)
        return silu * up

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        gate_up, silu = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        out = torch.empty_like(gate_up)
        grad_gate, grad_up = out.chunk(2, dim=-1)
        torch.mul(grads[0], silu, out=grad_up)
        torch.ops.aten.silu_backward.grad_input(grads[0] * up, gate, grad_input=grad_gate)
        return out


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up (GLU variants, arXiv 2002.05202) of a fused [..., 2 F] projection, as [..., F]."""
    if torch.compiler.is_compiling():
        # The compiler takes no `out=` of half a tensor, and fuses this formula's own backward pass.
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate) * up
    return _SwiGlu.apply(gate_up)  # pyright: ignore[reportReturnType]


class _TiedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NC: Tensor, head_VC: Tensor, targets_N: Tensor, z_loss: float) -> Tensor:
        wide = _wide(x_NC.dtype)
        total = torch.zeros((), dtype=wide, device=x_NC.device)
        grad_x, grad_head = torch.empty_like(x_NC), torch.zeros(head_VC.shape, dtype=wide, device=x_NC.device)
        rows = x_NC.shape[0]
        for start in range(0, rows, ROWS_PER_CHUNK):
            x, targets = x_NC[start : start + ROWS_PER_CHUNK], targets_N[start : start + ROWS_PER_CHUNK, None]
            logits = torch.mm(x, head_VC.t())
            # Float16 has no probability below 6e-8: the loss would saturate at 17 nats.
            grad = torch.softmax(logits, dim=-1, dtype=wide if x.dtype == torch.float16 else None)
            of_targets = grad.gather(1, targets)
            total -= of_targets.to(wide).clamp_min(_LEAST_PROBABILITY).log_().sum()
            if z_loss:
                factor = 1 + 2 * z_loss * torch.logsumexp(logits.to(wide), dim=-1, keepdim=True)
                grad, of_targets = grad * factor.to(grad.dtype), of_targets * factor.to(grad.dtype)
            grad = grad.to(x.dtype)
            grad[torch.arange(x.shape[0], device=x.device), targets[:, 0]] = (of_targets[:, 0] - 1).to(x.dtype)
            torch.mm(grad, head_VC, out=grad_x[start : start + ROWS_PER_CHUNK])
            grad_head += torch.mm(grad.t(), x)
        ctx.save_for_backward(grad_x, grad_head)
        ctx.rows = rows
        return total / rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        grad_x, grad_head = ctx.saved_tensors
        scale = grads[0] / ctx.rows
        return grad_x * scale.to(grad_x.dtype), (grad_head * scale).to(grad_x.dtype), None, None


def tied_cross_entropy(x_NC: Tensor, head_VC: Tensor, targets_N: Tensor, z_loss: float = 0.0) -> Tensor:
    """Mean cross-entropy in nats of the logits x head^T, never holding more than ROWS_PER_CHUNK rows of them.

    `z_loss` times the squared log of each row's sum of exponentials (PaLM, arXiv 2204.02311, section 5) gives gradients too, and is
    not in the value.

    In bfloat16 the loss of a token is read off its rounded probability: 0.2% at most, with no bias over a batch.
    The gradients are computed with the loss, as in Liger Kernel (arXiv 2410.10989): only call it where they are needed.
    """
    return _TiedCrossEntropy.apply(x_NC, head_VC, targets_N, z_loss)  # pyright: ignore[reportReturnType]
