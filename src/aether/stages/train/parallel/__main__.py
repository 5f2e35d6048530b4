"""What torchrun starts in every process: `torchrun ... -m aether.stages.train.parallel RECIPE.json DATA OUT SEED THREADS`.

The first process writes its progress as JSON lines to standard output. A sentence for a person (bad input, a full disk) goes to
OUT/tmp/error.json, and the process ends well: starting again would not mend it.
"""

import json
import sys
from pathlib import Path

import torch

from aether.evidence.files import read_json, write_json
from aether.evidence.hashing import hash_value
from aether.models.host import keep_freed_memory
from aether.spec.errors import AetherError
from aether.spec.run import Progress, StepContext
from aether.stages.train.batches import windows
from aether.stages.train.parallel.loop import ERROR, SharedLoop, new_shared_state
from aether.stages.train.parallel.mesh import joined, team
from aether.stages.train.recipe import TrainRecipe


def identity(recipe: TrainRecipe, data: dict, seed: int) -> str:
    """What a checkpoint must agree in to be gone on from: all but the layout."""
    return hash_value([recipe.model_dump(mode="json", exclude={"parallel", "start"}), data, seed])


def _say(progress: Progress) -> None:
    line = {"done": progress.done, "total": progress.total, "unit": progress.unit, "message": progress.message}
    sys.stdout.write(json.dumps(line | {"numbers": dict(progress.numbers)}) + "\n")
    sys.stdout.flush()


def main(recipe_file: str, data: str, out: str, seed: str, threads: str) -> None:
    """Train to the last step, or go on to it."""
    recipe = TrainRecipe.model_validate(read_json(Path(recipe_file)))
    torch.set_num_threads(int(threads))
    keep_freed_memory()
    described = read_json(Path(data) / "data.json")
    beside = Path(recipe_file).with_name("inputs.json")
    inputs = {n: Path(p) for n, p in read_json(beside).items()} if beside.is_file() else {"data": Path(data)}
    with joined(recipe.device):
        everyone = team(recipe.parallel, recipe.device)
        listener = _say if everyone.first else (lambda progress: None)
        context = StepContext("train", Path(out), inputs, int(seed), int(threads), listener)
        state = new_shared_state(recipe, int(seed), everyone)
        loop = SharedLoop(recipe, state, windows(recipe, inputs, int(seed)), context, everyone)
        loop.run(identity(recipe, described, int(seed)))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except AetherError as error:
        write_json(Path(sys.argv[3]) / ERROR, {"kind": type(error).__name__, "message": str(error)})
