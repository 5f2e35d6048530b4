"""What several processes do in the tests of parallel training: train a toy over a layout, one after another in one launch."""

import json
import os
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from attention_runs import attention_errors
from mixer_runs import mixer_errors

from aether.models.config import DecoderConfig
from aether.spec.run import StepContext
from aether.stages.train.fakes import CountingTokens, PoisonedTokens
from aether.stages.train.metrics import read_losses
from aether.stages.train.optimisers.portions import WORK_VALUES
from aether.stages.train.optimisers.rule import Rates
from aether.stages.train.optimisers.weights import weights_of
from aether.stages.train.parallel.handing import Handed
from aether.stages.train.parallel.loop import SharedLoop, new_shared_state
from aether.stages.train.parallel.mesh import joined, team
from aether.stages.train.parallel.muon import SharedMuon
from aether.stages.train.parallel.recipe import Parallel
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.recipe_optimiser import Optimiser

TOY = DecoderConfig(
    vocab_size=64, hidden_size=32, layers=4, heads=4, kv_heads=2, head_size=16, mlp_size=64, context_tokens=16
)  # fmt: skip


def muon_errors() -> dict[str, float]:
    """Muon shared out in many rounds beside one: how many, and how far the weights lie apart after two updates. A collective."""
    everyone = team(Parallel(shard=int(os.environ["WORLD_SIZE"])), "cpu")
    moved, counts = [], []
    for work_values in (3000, WORK_VALUES):
        shards = new_shared_state(toy_recipe(parallel=everyone.parallel), 0, everyone).shards
        settings = Optimiser(muon_weight_decay=0.1)
        matrices = [weight for weight in weights_of(shards, settings) if weight.kind == "matrices"]
        muon = SharedMuon(shards.blocks, matrices, settings, torch.float32, work_values)
        for update in range(2):
            for place, weight in enumerate(matrices):
                generator = torch.Generator().manual_seed(100 * update + place)
                weight.parameter.grad = torch.randn(weight.parameter.shape, generator=generator)
            muon.step(Rates(1.0, 0.9))
        moved.append(torch.cat([weight.parameter.detach().flatten() for weight in matrices]))
        counts.append(len(muon.rounds))
    return {"many": counts[0], "one": counts[1], "apart": (moved[0] - moved[1]).abs().max().item()}


CHECKS = {"attention": attention_errors, "mixers": mixer_errors, "muon": muon_errors}


def toy_recipe(**changes) -> TrainRecipe:
    return TrainRecipe(**({"model": TOY, "steps": 8, "batch_sequences": 12, "precision": "float32"} | changes))


class Cut(Exception):
    pass


class CutShort:
    """The toy's stream to window `end`, where the run is cut, `noise` at some windows. Most windows hold two documents."""

    def __init__(self, tokens: int, end: int | None, noise: Collection[int] = ()) -> None:
        self._inner, self._end = PoisonedTokens(CountingTokens(64, tokens), 64, noise), end

    def batch(self, first, count):
        if self._end is not None and first >= self._end:
            raise Cut
        tokens, ids = self._inner.batch(first, count)
        border = 3 + np.arange(first, first + count)[:, None] % tokens.shape[1]
        return tokens, 2 * ids + (np.arange(tokens.shape[1]) >= border)


def losses_of(
    recipe: TrainRecipe, out: Path, end: int | None = None, noise: Collection[int] = (), data: str | None = None
) -> list[float]:
    """Train over the recipe's layout, to window `end`, or on its texts with the folder `data`. A collective."""
    everyone = team(recipe.parallel, "cpu")
    context = StepContext("train", out, {}, 0, 1, lambda progress: None)
    state = new_shared_state(recipe, 0, everyone)
    batches = CutShort(recipe.model.context_tokens, end, noise)
    if data is not None:
        batches = Handed.of(everyone, recipe, {"data": Path(data)}, 0)
    with suppress(Cut):
        SharedLoop(recipe, state, batches, context, everyone).run("toy")
    everyone.tell_all(None)
    return list(read_losses(out / "metrics.jsonl").values())


if __name__ == "__main__":
    torch.set_num_threads(1)
    out, runs = Path(sys.argv[1]), json.loads(sys.argv[2])
    with joined("cpu"):
        found = {}
        for name, changes in runs.items():
            if (check := changes.get("check")) is not None:
                found[name] = CHECKS[check]()
                continue
            extra = {key: changes.pop(key) for key in ("end", "noise", "data") if key in changes}
            found[name] = losses_of(toy_recipe(**changes), out / name, **extra)
    if os.environ["RANK"] == "0":
        Path(os.environ["RESULT"]).write_text(json.dumps(found))
