"""Attention by FlexAttention and by FlashAttention-3, for the masks and scores of `attention`; see `kernel_choice` for when.

A sink's logit needs no key here: with the log of the sum of exponentials L of a query, softmax with one more logit s is that without it
times sigmoid(L - s). FlexAttention is compiled on a GPU; uncompiled it makes the square, and is for toy sizes in tests alone.

Shapes: as in `attention`.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, create_block_mask, flex_attention

if TYPE_CHECKING:
    from aether.models.parts.attention import Scores, Sight


@functools.cache
def _compiled() -> Callable[..., Any]:
    return torch.compile(flex_attention)


def block_mask(sight: "Sight") -> Any:
    """Which blocks of keys the queries of a whole window see."""
    documents, places = sight.documents_BP, sight.places_BP

    def seen(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        found = q >= k
        if sight.window is not None:
            near = q - k < sight.window
            if sight.sink_tokens:
                near = near | (
                    (k if places is None else places[b if places.shape[0] > 1 else 0, k]) < sight.sink_tokens
                )
            found = found & near
        return found if documents is None else found & (documents[b, q] == documents[b, k])

    rows = None if documents is None else documents.shape[0]
    return create_block_mask(seen, rows, None, sight.keys, sight.keys, device=sight.queries_RT.device)


def flex(q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, sight: "Sight", scores: "Scores") -> Tensor:
    """[B, H, T, D]; ALiBi is already in queries and keys."""
    cap, sink_H = scores.softcap, scores.sink_H

    def capped(score: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        assert cap is not None
        return cap * torch.tanh(score / cap)

    kernel = _compiled() if q_BHTD.is_cuda else flex_attention
    given = {"score_mod": None if cap is None else capped, "block_mask": sight.blocks, "scale": scores.scale}
    out, extra = kernel(q_BHTD, k_BKTD, v_BKTD, enable_gqa=True, return_aux=AuxRequest(lse=True), **given)
    if sink_H is None:
        return out
    assert extra.lse is not None
    return out * torch.sigmoid(extra.lse - sink_H.view(1, -1, 1))[..., None].to(out.dtype)


def flash3(q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, sight: "Sight", scores: "Scores") -> Tensor:
    """[B, H, T, D] by FlashAttention-3."""
    import flash_attn_interface  # pyright: ignore[reportMissingImports]

    window = (-1, -1) if sight.window is None else (sight.window - 1, 0)
    q, k, v = (part.transpose(1, 2) for part in (q_BHTD, k_BKTD, v_BKTD))
    out = flash_attn_interface.flash_attn_func(
        q, k, v, softmax_scale=scores.scale, causal=True, window_size=window, softcap=scores.softcap or 0.0,
        deterministic=torch.are_deterministic_algorithms_enabled(),
    )  # fmt: skip
    return out.transpose(1, 2)
