"""Tensor parallelism with sequence parallelism: heads and MLP columns shared out, and between the matrices the tokens.

Megatron-LM's cut (Shoeybi et al., arXiv 1909.08053): query, key, value, gate and up by rows, out and down by columns. Around each pair
the stream is gathered and its sum scattered again by tokens (`exchange`; Korthikanti et al., arXiv 2205.05198, section 4.2), so norms, embedding
and loss work on a share of the tokens. The embedding is whole on every process of the axis.
"""

import torch
from torch import nn

from aether.models.decoder import Decoder
from aether.stages.train.parallel.mesh import Team
from aether.stages.train.parallel.pieces import cut
from aether.stages.train.parallel.sharding import Cuts

_CUT_ALONG = {"qkv": 0, "gate_up": 0, "up": 0, "out": 1, "down": 1}
"""Dimension of each matrix that is shared out, by the last part of its name."""


@torch.no_grad()
def cut_matrices(model: Decoder, cuts: Cuts, team: Team) -> set[str]:
    """Leave of each matrix this process's share, in the model and in `cuts`; the names of those that were cut."""
    place, size, found = team.place("tensor"), team.size("tensor"), set()
    if size == 1:
        return found
    for name, parameter in list(model.named_parameters()):
        owner, _, last = name.rpartition(".")
        if not name.startswith("blocks.") or last not in _CUT_ALONG:
            continue
        dim = _CUT_ALONG[last]
        rows = parameter.split([block.sizes[0] for block in cuts[name]])
        own = torch.cat([part.chunk(size, dim)[place] for part in rows])
        setattr(model.get_submodule(owner), last, nn.Parameter(own))
        cuts[name] = cut(cuts[name], dim, place, size)
        found.add(name)
    local = {"heads": model.config.heads // size, "kv_heads": model.config.kv_heads // size}
    for block in model.blocks:
        block.config = model.config.model_copy(update=local)  # pyright: ignore[reportArgumentType]
    return found
