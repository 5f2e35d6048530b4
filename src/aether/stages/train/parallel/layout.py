"""A model laid out over a team: cut, joined at its seams, sharded."""

from functools import partial

from torch import Tensor, nn

from aether.models.decoder import Decoder
from aether.models.seams import Seams, as_is
from aether.stages.train.parallel import context, experts, pipeline, tensor
from aether.stages.train.parallel.exchange import gather, scatter
from aether.stages.train.parallel.mesh import Team
from aether.stages.train.parallel.sharding import Shards, shard, whole


class Stage(nn.Module):
    """A decoder's training pass as a module's `forward`, which is what FSDP2 and pipelines call."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, stream: Tensor | None, tokens: Tensor, targets: Tensor, documents: Tensor) -> Tensor:
        """As `Decoder.stage`."""
        return self.decoder.stage(stream, tokens, targets, documents)


def lay_out(model: Decoder, team: Team) -> tuple[Stage, Shards]:
    """Leave of `model`, with all its first weights, what this process works on. A collective."""
    cuts = whole(model)
    cuts = pipeline.cut_layers(model, cuts, team)
    tensor_cut = tensor.cut_matrices(model, cuts, team)
    experts.cut_experts(model, cuts, team)
    model.join(_seams(team, model.config.context_tokens))
    stage = Stage(model)
    shard(stage, model.blocks, team, experts.sharded_apart)
    return stage, Shards(model, team, cuts, tensor_cut)


def _seams(team: Team, tokens: int) -> Seams:
    opens, closes = pipeline.ends(team)
    if team.size("context") * team.size("tensor") == 1:
        return Seams(opens, closes)
    queries = context.places(team, tokens)
    own = queries.chunk(team.size("tensor"))[team.place("tensor")]
    enter, leave = as_is, as_is
    if team.size("tensor") > 1:
        enter, leave = (partial(move, dim=1, group=team.group("tensor")) for move in (gather, scatter))
    attend, stretches = None, None
    if team.size("context") > 1:
        attend, stretches = context.attention(team), context.stretches(team, tokens)
    return Seams(opens, closes, lambda x: x[:, own], lambda table: table[queries], enter, leave, attend, stretches)
