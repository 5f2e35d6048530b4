"""Aether's side of `loss_per_compute.py`: the train stage's own loop, update by update, until the CPU-seconds are spent.

    echo '{"side": "aether", ...}' | python -m benchmarks.aether_training DATA

The stage counts steps, since a result must not depend on the clock there; here `Loop.update` is told which share of its steps the
spent share of the budget is. Snapshots of the spike ladder are taken and charged; checkpoints and logs are not written, nor are
the peers'.
"""

import functools
import sys
import tempfile
from pathlib import Path
from typing import Any

from aether.models.config import DecoderConfig
from aether.models.packing import PackedTokens
from aether.spec.run import StepContext
from aether.stages.train.batches import ShuffledWindows
from aether.stages.train.loop import Loop, new_state
from aether.stages.train.recipe import TrainRecipe
from benchmarks.equal_compute import Arm, CpuClock, Result, bits_per_byte, serve

PROGRESS_STEPS = 100_000
"""The recipe's schedules are functions of a step: the share of the budget is handed to them in this many steps."""


def recipe_of(shape: dict[str, int], settings: dict[str, Any]) -> TrainRecipe:
    """A recipe of that shape with the train stage's defaults but for `settings`."""
    return TrainRecipe.model_validate({"model": DecoderConfig(**shape), "steps": PROGRESS_STEPS, **settings})


def train(data: Path, arm: Arm) -> Result:
    """One training by the processor's clock, and its score."""
    windows = ShuffledWindows(PackedTokens(data / "train", arm.shape.context_tokens, arm.seed), arm.seed)
    with tempfile.TemporaryDirectory() as out:
        context = StepContext("train", Path(out), {"data": data}, arm.seed, 1, lambda progress: None)
        clock = CpuClock(arm.budget_cpu_s)
        recipe = recipe_of(vars(arm.shape), arm.settings)
        state = new_state(recipe, arm.seed)
        loop = Loop(recipe, state, windows, context)
        updates = 0
        while (share := clock.share()) < 1:
            if updates % recipe.spikes.snapshot_every_steps == 0 and state.guard.calm:
                state.take_snapshot()
            state.step = int(share * PROGRESS_STEPS)
            loop.update()
            updates += 1
        spent_s = clock.spent_s()
    state.model.compute_dtype = None
    score = bits_per_byte(state.model.eval(), Path(arm.work))
    tokens = state.cursor * arm.shape.context_tokens
    return Result(spent_s, updates, tokens, recipe.model.parameters(), score)


if __name__ == "__main__":
    serve(functools.partial(train, Path(sys.argv[1])))
