"""A model laid out over a team: cut, joined at its seams, sharded."""

from functools import partial

from aether.models.decoder import Decoder
from aether.models.seams import Seams, as_is
from aether.stages.train.parallel import context, tensor
from aether.stages.train.parallel.mesh import Team
from aether.stages.train.parallel.sharding import Shards, shard, whole


def lay_out(model: Decoder, team: Team) -> Shards:
    """Leave of `model`, with all its first weights, what this process works on. A collective."""
    cuts = whole(model)
    tensor_cut = tensor.cut_matrices(model, cuts, team)
    model.join(_seams(team, model.config.context_tokens))
    shard(model, team, lambda block: None)
    return Shards(model, team, cuts, tensor_cut)


def _seams(team: Team, tokens: int) -> Seams:
    if team.size("context") * team.size("tensor") == 1:
        return Seams()
    queries = context.places(team, tokens)
    own = queries.chunk(team.size("tensor"))[team.place("tensor")]
    enter, leave = as_is, as_is
    if team.size("tensor") > 1:
        group = team.group("tensor")
        enter, leave = partial(tensor.enter, group=group), partial(tensor.leave, group=group)
    attend = context.attention(team) if team.size("context") > 1 else None
    return Seams(lambda x: x[:, own], lambda table: table[queries], enter, leave, attend)
