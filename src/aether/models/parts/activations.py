"""The feed-forward part's nonlinearity: SwiGLU and GeGLU (GLU variants, arXiv 2002.05202), gpt-oss's clamped SwiGLU, SiLU, GELU, squared ReLU.

GELU is its tanh form (arXiv 1606.08415, section 2), as GPT-2 and Gemma compute it. Squared ReLU: Primer, arXiv 2109.08668.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from aether.models import kernels

GATED = frozenset({"swiglu", "geglu", "swiglu_clamped"})
"""Kinds that take a fused projection of gate and up, of twice the size."""
CLAMP = 7.0
"""gpt-oss: gate at most this, up within it (published: `swiglu_limit` of its config)."""
SHARPNESS = 1.702
"""gpt-oss: the gate is x sigmoid(1.702 x) (published: its model code)."""


def activate(kind: str, x: Tensor) -> Tensor:
    """`x` [..., F], or gate and up [..., 2 F] for a gated kind, to [..., F]. `kind` as in `DecoderParts.activation`."""
    if kind == "swiglu":
        return kernels.swiglu(x)
    if kind == "geglu":
        gate, up = x.chunk(2, dim=-1)
        return F.gelu(gate, approximate="tanh") * up
    if kind == "swiglu_clamped":
        gate, up = x.chunk(2, dim=-1)
        gate, up = gate.clamp(max=CLAMP), up.clamp(-CLAMP, CLAMP)
        return gate * torch.sigmoid(SHARPNESS * gate) * (up + 1)
    if kind == "relu2":
        return F.relu(x).square()
    return F.silu(x) if kind == "silu" else F.gelu(x, approximate="tanh")
