"""Norms of the stream: RMSNorm (arXiv 1910.07467), LayerNorm (arXiv 1607.06450), dynamic tanh (DyT, arXiv 2503.10622).

Parameters are named `gain`, `bias` and `alpha`. Statistics are in float32 at least. Where a norm stands is the block's business.
Equal to transformers' LlamaRMSNorm and torch's layer_norm.

Shapes: C normalised size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aether.models import kernels

DYT_ALPHA = 0.5
"""First value of DyT's scale (published: arXiv 2503.10622)."""


class Norm(nn.Module):
    """One norm of `size` values; `kind` as in `DecoderParts.norm`."""

    def __init__(self, kind: str, size: int, eps: float) -> None:
        super().__init__()
        self.kind, self.eps = kind, eps
        self.gain = nn.Parameter(torch.ones(size))
        self.bias = None if kind == "rms" else nn.Parameter(torch.zeros(size))
        self.alpha = nn.Parameter(torch.full((1,), DYT_ALPHA)) if kind == "dyt" else None

    def forward(self, x: Tensor) -> Tensor:
        """x [..., C] normalised."""
        if self.kind == "rms":
            return kernels.rms_norm(x, self.gain, self.eps)
        assert self.bias is not None
        gain, bias = self.gain.to(x.dtype), self.bias.to(x.dtype)
        if self.alpha is None:
            return F.layer_norm(x, self.gain.shape, gain, bias, self.eps)
        return torch.tanh(self.alpha.to(x.dtype) * x) * gain + bias
