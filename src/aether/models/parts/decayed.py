"""Linear attention whose state fades by one number for each head: the core of Mamba-2 and of RetNet.

    S_t = exp(a_t) S_{t-1} + k_t v_t^T,    y_t = S_t^T q_t

State space duality (Mamba-2, arXiv 2405.21060, section 6, algorithm 1): within a chunk y = (L o Q K^T) V with L_ij = exp(a_{j+1} + ...
+ a_i), between chunks the state. Retention (RetNet, arXiv 2307.08621, equations 6 and 7) is the same with a constant a. Only
differences of sums are exponentiated, so that strong decay underflows to zero and nothing overflows.

Shapes: as in `recurrent`; queries and keys [B, T, G, N], values [B, T, H, D], decay [B, T, H], state [B, H, N, D].
"""

import torch
from torch import Tensor

from aether.models.parts.recurrent import CHUNK, chunked, first_state, marks
from aether.models.seams import Stretches


def decayed_attention(
    qkv: tuple[Tensor, Tensor, Tensor], log_decay: Tensor, state: Tensor | None, begins_BT: Tensor | None = None,
    stretches: Stretches | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(y [B, T, H, D], the state after the last token). `state` None: zero, or under `stretches` what other processes hand on."""
    k, v = qkv[1:]
    if state is None:
        state = v.new_zeros(v.shape[0], v.shape[2], k.shape[3], v.shape[3])
    if v.shape[1] == 1 and begins_BT is None and stretches is None:
        return _one_token(qkv, log_decay, state)
    return _chunks(qkv, log_decay, state, begins_BT, stretches)


def _one_token(qkv: tuple[Tensor, Tensor, Tensor], log_decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    q, k, v = qkv
    repeat = v.shape[2] // k.shape[2]
    q, k = (x[:, 0].repeat_interleave(repeat, dim=1) for x in (q, k))
    state = state * log_decay[:, 0, :, None, None].exp() + k[..., None] * v[:, 0, :, None]
    return (state * q[..., None]).sum(2)[:, None], state


def _chunks(
    qkv: tuple[Tensor, Tensor, Tensor], log_decay: Tensor, state: Tensor, begins_BT: Tensor | None,
    stretches: Stretches | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    q, k, v = qkv
    batch, tokens, heads, size = v.shape
    groups = k.shape[2]
    chunk = min(CHUNK, tokens)
    chunks = -(-tokens // chunk)
    mark = marks(begins_BT, tokens, chunk, v.device)
    q, k, v, a = (chunked(x, chunk, chunks) for x in (q, k, v, log_decay))
    q, k = q.transpose(2, 3), k.transpose(2, 3)
    sums = a.transpose(2, 3).cumsum(-1)
    # Within a chunk; heads of a group share the product of queries and keys.
    pairs = sums[..., :, None] - sums[..., None, :]
    fading = pairs.masked_fill(~mark.pairs[:, :, None], float("-inf")).exp()
    weights = (q @ k.mT)[:, :, :, None] * fading.unflatten(2, (groups, -1))
    values = v.view(batch, chunks, chunk, groups, -1, size).permute(0, 1, 3, 4, 2, 5)
    y = weights @ values
    # What each chunk adds to the state, and the state that each chunk finds.
    to_end = (sums[..., -1:] - sums).exp() * mark.writes[:, :, None]
    added = (values * to_end.unflatten(2, (groups, -1))[..., None]).transpose(3, 4).flatten(4)
    added = (k.mT @ added).unflatten(-1, (-1, size)).transpose(3, 4).flatten(2, 3)
    keeps = sums[..., -1].exp() * mark.carries[:, :, None]
    if stretches is not None:
        state = first_state(stretches, keeps[..., None, None], added, torch.mul)
    found = []
    for place in range(chunks):
        found.append(state)
        state = state * keeps[:, place, :, None, None] + added[:, place]
    before = torch.stack(found, dim=1).unflatten(2, (groups, -1)).transpose(3, 4).flatten(4)
    from_state = (q @ before).unflatten(-1, (-1, size)).transpose(3, 4)
    y = y + from_state * (sums.exp() * mark.reads[:, :, None]).unflatten(2, (groups, -1))[..., None]
    return y.permute(0, 1, 4, 2, 3, 5).reshape(batch, chunks * chunk, heads, size)[:, :tokens], state
