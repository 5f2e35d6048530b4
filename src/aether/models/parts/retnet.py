"""Multi-scale retention (RetNet, arXiv 2307.08621): linear attention with a fixed decay for each head.

    S_n = g S_{n-1} + k_n v_n^T,    y_n = S_n^T q_n        (equation 6; equation 5 is its parallel form)

Queries and keys turn with their position as in rotary attention (equation 5), keys are scaled by 1 / sqrt(key size); head h has
g = 1 - 2^(-5 - h), its output is normalised alone and gated by swish (equation 8). Nothing but matrices is learnt. Distances alone
matter, so positions need not start again at a document.

Shapes: B batch, T tokens, H heads, K key size, D value size of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aether.models import kernels
from aether.models.parts.decayed import decayed_attention
from aether.models.parts.feed_forward import linear
from aether.models.parts.recurrent import RecurrentMixer, wide
from aether.models.parts.shared import Pass


def log_decays(heads: int, like: Tensor) -> Tensor:
    """ln g of each head, [H], in the type of `like`."""
    return torch.log1p(-torch.pow(2.0, -5.0 - torch.arange(heads, dtype=like.dtype, device=like.device)))


class Retention(RecurrentMixer):
    """One retention mixer."""

    retnet_in: nn.Parameter

    def start(self, generator: torch.Generator) -> None:
        """It has no vectors."""

    def _turned(self, x_BTHK: Tensor, given: Pass) -> Tensor:
        size = x_BTHK.shape[-1]
        places = torch.arange(0, size, 2, dtype=x_BTHK.dtype, device=x_BTHK.device) / size
        angles = given.places_RT[..., None].to(x_BTHK.dtype) * self.config.rope_theta**-places
        cos, sin = angles.cos(), angles.sin()
        tables = torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)
        return kernels.rotate(x_BTHK, *(table[:, :, None] for table in tables))

    def mix(self, x_BTC: Tensor, held: dict[str, Tensor], given: Pass) -> tuple[Tensor, dict[str, Tensor]]:
        """As `RecurrentMixer.mix`."""
        sizes = self.sizes
        heads, keys = sizes.heads, sizes.heads * (sizes.key_size or 0)
        q, k, v, gate = linear(x_BTC, self.retnet_in, None).split(
            (keys, keys, sizes.inner_size, sizes.inner_size), dim=-1
        )
        q, k, v = (wide(part).unflatten(-1, (heads, -1)) for part in (q, k, v))
        q, k = self._turned(q, given), self._turned(k, given) * k.shape[-1] ** -0.5
        log_decay = log_decays(heads, v).expand(v.shape[:3])
        if given.counted_BT is not None:
            counted = given.counted_BT[..., None]
            k, log_decay = k * counted[..., None], log_decay * counted
        y, state = decayed_attention((q, k, v), log_decay, held.get("state"), given.begins_BT, given.stretches)
        normal = F.layer_norm(y, y.shape[-1:], eps=self.config.norm_eps)
        return normal.flatten(2) * F.silu(wide(gate)), {"state": state}
