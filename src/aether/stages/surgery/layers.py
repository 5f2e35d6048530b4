"""Depth: layers stacked (SOLAR) or a run of layers taken out (by angular distance). Neither keeps the function.

Shapes: N windows, C hidden size.
"""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aether.spec.errors import InputError
from aether.stages.surgery.opened import Opened, demand


def depth_up_scale(opened: Opened, layers: int) -> Opened:
    """Two copies of the stack, the last m layers of the first and the first m of the second left out (SOLAR, arXiv 2312.15166,
    section 2). `layers` = 2 (L - m). Raises InputError for another number, or where layers are not alike."""
    _alike(opened, "depth-up-scale")
    now = opened.config.layers
    if layers % 2 or not now < layers <= 2 * now:
        raise InputError.of(
            "layers", layers, f"two copies of {now} layers, cut alike, have an even number from {now + 1} to {2 * now}"
        )
    half = layers // 2
    return opened.with_layers([*range(half), *range(now - half, now)])


def drop_layers(opened: Opened, layers: int, texts: Sequence[NDArray[np.int64]]) -> tuple[Opened, dict[str, object]]:
    """The run of layers whose outcome is nearest to its input taken out (arXiv 2403.17887, equation 7 and section 3.2).

    `texts` are windows of token ids. Raises InputError for a number that is not smaller, or where layers are not alike.
    """
    _alike(opened, "drop-layers")
    now = opened.config.layers
    if not 0 < layers < now:
        raise InputError.of("layers", layers, f"fewer than the model's {now}, and one at least")
    count = now - layers
    distances = angular_distances(opened, count, texts)
    first = min(range(len(distances)), key=distances.__getitem__)
    kept = [layer for layer in range(now) if not first <= layer < first + count]
    return opened.with_layers(kept), {"dropped": list(range(first, first + count)), "angular_distances": distances}


def angular_distances(opened: Opened, count: int, texts: Sequence[NDArray[np.int64]]) -> list[float]:
    """For each first layer l: the mean over texts of arccos(x_l . x_(l + count) / norms) / pi, at the last token."""
    model = opened.model().eval()
    streams: list[list[Tensor]] = [[] for _ in range(opened.config.layers + 1)]

    def keep(place: int, module: object, given: tuple[Tensor, ...]) -> None:
        streams[place].append(given[0][0, -1].double())

    def keep_last(module: object, given: tuple[Tensor, ...], out: Tensor) -> None:
        streams[-1].append(out[0, -1].double())

    hooks = [block.register_forward_pre_hook(partial(keep, place)) for place, block in enumerate(model.blocks)]
    hooks.append(model.blocks[-1].register_forward_hook(keep_last))
    with torch.inference_mode():
        for ids in texts:
            model.hidden(torch.from_numpy(ids)[None])
    for hook in hooks:
        hook.remove()
    found = []
    for first in range(opened.config.layers - count + 1):
        a_NC, b_NC = torch.stack(streams[first]), torch.stack(streams[first + count])
        cosine = torch.nn.functional.cosine_similarity(a_NC, b_NC).clamp(-1, 1)
        found.append(float(cosine.arccos().mean()) / math.pi)
    return found


def _alike(opened: Opened, operation: str) -> None:
    """A pattern over the layers' places would move with them."""
    demand(opened, operation, full_attention_every=None, mixer_pattern=None)
