"""Pipeline parallelism: consecutive layers on each stage, one forward one backward (1F1B), by torch.distributed.pipelining.

PipeDream's schedule with a flush (arXiv 2006.09503). Every stage reads the batch's tokens itself, for masks and targets; only the
stream travels. The tied embedding is held by the first and the last stage, which add their gradients up.

Shapes: B windows of a pass, t tokens of this process, C hidden size.
"""

import torch
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B

from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder
from aether.stages.train.parallel.mesh import Team
from aether.stages.train.parallel.sharding import Cuts


def ends(team: Team) -> tuple[bool, bool]:
    """Whether this process has the first layer, and the last one."""
    place = team.place("pipeline")
    return place == 0, place == team.size("pipeline") - 1


def cut_layers(model: Decoder, cuts: Cuts, team: Team) -> Cuts:
    """Leave this stage's layers in the model; the blocks of what is left, by its name there."""
    place, size = team.place("pipeline"), team.size("pipeline")
    if size == 1:
        return cuts
    count = len(model.blocks) // size
    names = {f"blocks.{place * count + i}.": f"blocks.{i}." for i in range(count)}
    found = {}
    for name, blocks in cuts.items():
        head = ".".join(name.split(".")[:2]) + "."
        if head in names:
            found[names[head] + name[len(head) :]] = blocks
        elif not name.startswith("blocks.") and any(ends(team)):
            found[name] = blocks
    model.compute_dtype = model.dtype
    model.blocks = nn.ModuleList(model.blocks[place * count : (place + 1) * count])
    if not any(ends(team)):
        model.register_parameter("embedding", None)
        model.register_parameter("final_gain", None)
    return found


class Pipeline:
    """The passes of an update through all stages."""

    def __init__(self, config: DecoderConfig, dtype: torch.dtype, stage: nn.Module, team: Team) -> None:
        self._config, self._dtype, self._module, self._team = config, dtype, stage, team
        self._schedules: dict[tuple[int, int], Schedule1F1B] = {}
        self._weight = 0.0

    def backward(self, windows: tuple[Tensor, Tensor, Tensor], passes: int, weight: float) -> Tensor:
        """Gradients of so many passes over (tokens, targets, document ids); the sum of their losses times `weight`, on the
        last stage (zero on others)."""
        self._weight = weight
        tokens, targets, documents = windows
        key = (passes, tokens.shape[0] // passes)
        if key not in self._schedules:
            self._schedules[key] = self._schedule(*key)
        losses: list[Tensor] = []
        opens, closes = ends(self._team)
        inputs, wanted = (tokens,) if opens else (), targets if closes else None
        given = {"tokens": tokens, "targets": targets, "documents": documents}
        self._schedules[key].step(*inputs, target=wanted, losses=losses, return_outputs=False, **given)  # pyright: ignore[reportArgumentType]
        return (
            torch.stack([loss.detach() for loss in losses]).sum()
            if closes
            else tokens.new_zeros((), dtype=torch.float32)
        )

    def _schedule(self, passes: int, windows: int) -> Schedule1F1B:
        """Shapes are given, so that stages need not tell each other."""
        team, config = self._team, self._config
        opens, closes = ends(team)
        own = config.context_tokens // (team.size("context") * team.size("tensor"))
        stream = torch.empty(windows, own, config.hidden_size, dtype=self._dtype, device="meta")
        tokens = torch.empty(windows, config.context_tokens, dtype=torch.int64, device="meta")
        loss = torch.empty((), dtype=torch.float32, device="meta")
        stage = PipelineStage(
            self._module,
            team.place("pipeline"),
            team.size("pipeline"),
            team.device,
            input_args=(tokens if opens else stream.requires_grad_(),),
            output_args=(loss if closes else stream.requires_grad_(),),
            group=team.group("pipeline"),
        )
        return Schedule1F1B(stage, passes, loss_fn=self._loss, scale_grads=False)

    def _loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The last stage's output is the loss already."""
        del target
        return output * self._weight
