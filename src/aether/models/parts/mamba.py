"""Mamba (arXiv 2312.00752): a selective state space whose decay differs by channel and state (algorithm 2).

    h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t,    y_t = C_t h_t + D x_t        for each channel

x passes a short convolution and SiLU and then chooses dt (by a low-rank map), B and C; the output is gated. No product of matrices
computes the scan, and a scan by chunks took 1.9 times as long on a CPU as this one under autograd, since memory bounds it: it goes token by
token over all sequences, channels and states, with a backward pass of its own. Equal to transformers' MambaMixer on the
same weights.

Shapes: B batch, T tokens, E inner channels, N state size.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aether.models.config import DecoderConfig
from aether.models.parts.feed_forward import linear
from aether.models.parts.recurrent import RecurrentMixer, first_steps, first_taps, short_convolution, wide
from aether.models.parts.shared import Pass


# Operators of torch, each one node of a compiled graph: traced, it would hold every token of a window.
@torch.library.custom_op("aether::selective_scan", mutates_args=())
def selective_scan(decay: Tensor, added: Tensor, state: Tensor) -> Tensor:
    """Every h [B, T, E, N] of h_t = decay_t h_{t-1} + added_t. A decay of zero begins a document."""
    every = torch.empty_like(added)
    before = state
    for place in range(decay.shape[1]):
        before = torch.addcmul(added[:, place], decay[:, place], before, out=every[:, place])
    return every


@torch.library.custom_op("aether::selective_scan_back", mutates_args=())
def _selective_scan_back(grad: Tensor, decay: Tensor, every: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of (decay, added): what each h gave to the loss through all later ones is the same recurrence from the end."""
    whole = torch.empty_like(every)
    whole[:, -1] = grad[:, -1]
    for place in range(decay.shape[1] - 2, -1, -1):
        torch.addcmul(grad[:, place], decay[:, place + 1], whole[:, place + 1], out=whole[:, place])
    grad_decay = torch.empty_like(decay)
    torch.mul(whole[:, 1:], every[:, :-1], out=grad_decay[:, 1:])
    torch.mul(whole[:, 0], state, out=grad_decay[:, 0])
    return grad_decay, whole


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], output, inputs[2])


def _scan_back(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    decay, every, state = ctx.saved_tensors
    grad_decay, whole = _selective_scan_back(grad, decay, every, state)
    return grad_decay, whole, decay[:, 0] * whole[:, 0]


selective_scan.register_fake(lambda decay, added, state: torch.empty_like(added))
selective_scan.register_autograd(_scan_back, setup_context=_keep)
_selective_scan_back.register_fake(lambda grad, decay, every, state: (torch.empty_like(decay), torch.empty_like(every)))


class Mamba(RecurrentMixer):
    """One Mamba mixer."""

    mamba_in: nn.Parameter
    mamba_select: nn.Parameter
    mamba_dt: nn.Parameter

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__(config, layer)
        inner = self.sizes.inner_size
        self.taps = nn.Parameter(torch.empty(inner * self.sizes.conv_size))
        self.decay_log = nn.Parameter(torch.empty(inner * self.sizes.state_size))
        self.taps_bias, self.step_bias, self.skip = (nn.Parameter(torch.empty(inner)) for _ in range(3))

    @torch.no_grad()
    def start(self, generator: torch.Generator) -> None:
        """A from 1 to N in every channel (S4D-Real, section 3.6), dt from 0.001 to 0.1 over the channels."""
        sizes = self.sizes
        self.taps.copy_(first_taps(sizes.inner_size, sizes.conv_size, generator))
        self.taps_bias.zero_()
        self.decay_log.copy_(torch.arange(1, sizes.state_size + 1).log().repeat(sizes.inner_size))
        self.step_bias.copy_(first_steps(sizes.inner_size))
        self.skip.fill_(1.0)

    def mix(self, x_BTC: Tensor, held: dict[str, Tensor], given: Pass) -> tuple[Tensor, dict[str, Tensor]]:
        """As `RecurrentMixer.mix`."""
        sizes = self.sizes
        inner, rank, size = sizes.inner_size, sizes.dt_rank or 0, sizes.state_size
        x, gate = linear(x_BTC, self.mamba_in, None).split((inner, inner), dim=-1)
        x, past = short_convolution(x, self.taps.view(inner, -1), held.get("past"), given)
        x = F.silu(x + self.taps_bias.to(x.dtype))
        low, b, c = linear(x, self.mamba_select, None).split((rank, size, size), dim=-1)
        steps = F.softplus(wide(linear(low, self.mamba_dt, None)) + self.step_bias)
        if given.counted_BT is not None:
            steps = steps * given.counted_BT[..., None]
        x, b, c = wide(x), wide(b), wide(c)
        log_decay = steps[..., None] * -self.decay_log.exp().view(inner, size)
        decay = log_decay.exp()
        if given.begins_BT is not None:
            decay = decay * ~given.begins_BT[..., None, None]
        state = held.get("state")
        if state is None:
            state = x.new_zeros(x.shape[0], inner, size)
        product = torch.mul if x.shape[1] == 1 else torch.matmul
        added = product((steps * x)[..., None], b[:, :, None])
        if given.stretches is not None:
            keeps = log_decay.sum(1).exp()
            if given.begins_BT is not None:
                keeps = keeps * ~given.begins_BT.any(1)[:, None, None]
            state = given.stretches.state_before(keeps, selective_scan(decay, added, state)[:, -1], torch.mul)
        every = selective_scan(decay, added, state)
        y = (every * c[:, :, None]).sum(-1) if x.shape[1] == 1 else (every @ c[..., None])[..., 0]
        return (y + self.skip * x) * F.silu(wide(gate)), {"state": every[:, -1], "past": past}
