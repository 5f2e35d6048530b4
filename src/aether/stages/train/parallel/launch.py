"""Starts a recipe's processes on this machine with torchrun, and takes over what they trained.

Under a torchrun around the whole command, on several machines too, its processes train (`crew`). When a process is lost, torchrun
ends the others and starts all again, which go on from the last checkpoint.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import aether
from aether.evidence.files import read_json, write_json
from aether.spec import errors
from aether.spec.errors import EnvironmentFault
from aether.spec.run import StepContext
from aether.stages.train.loop import new_state
from aether.stages.train.parallel import checkpoint, crew
from aether.stages.train.parallel.crew import Job
from aether.stages.train.parallel.loop import ERROR, FOLDER
from aether.stages.train.parallel.pieces import pieces_of
from aether.stages.train.parallel.recipe import Parallel
from aether.stages.train.parallel.sharding import whole
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.state import TrainState

_LAST_LINES = 3


def train(recipe: TrainRecipe, context: StepContext) -> tuple[TrainState, dict[str, Any] | None]:
    """Train to the last step with the recipe's processes: the state of one process with all weights, and the place in the data.

    Raises what the processes raised, and EnvironmentFault when they were lost more often than `parallel.restarts`.
    """
    inputs = {name: path.absolute() for name, path in context.inputs.items()}
    job = Job(
        recipe=recipe,
        step=context.step,
        out=context.out.absolute(),
        inputs=inputs,
        seed=context.seed,
        threads=context.threads,
    )
    company = crew.current()
    if company is not None:
        company.train(job, context.listener)
    else:
        _run(job, context)
    found = checkpoint.newest(context.out / FOLDER, lambda sentence: context.tell(message=sentence))
    assert found is not None, "the processes ended well and left no checkpoint"
    place, plain = found
    state = new_state(recipe, context.seed)
    blocks = whole(state.model)
    parameters = state.model.named_parameters()
    checkpoint.load(place, [p for n, t in parameters for p in pieces_of(t.detach(), blocks[n], "model.")], alone=True)
    state.load_plain(plain | {"snapshot": None})
    return state, plain.get("data")


def command(parallel: Parallel, job: Path) -> list[str]:
    """What is started: torchrun and its processes, which meet on this machine at a port that the system chooses."""
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(parallel.processes)]
    run += ["--max-restarts", str(parallel.restarts), "--local-addr", "127.0.0.1"]
    run += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "-m", "aether.stages.train.parallel"]
    return [*run, str(job)]


def _run(job: Job, context: StepContext) -> None:
    (context.out / ERROR).unlink(missing_ok=True)
    parallel, file = job.recipe.parallel, context.out / "checkpoint" / "job.json"
    write_json(file, job.model_dump(mode="json"))
    log = context.out / "tmp" / "processes.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    source = str(Path(aether.__file__).parents[1])
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        # Else processes that are started again meet in the store of the ones before, and may read where those listened.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")]),
    }
    with log.open("w") as complaints, subprocess.Popen(
        command(parallel, file), env=env, stdout=subprocess.PIPE, stderr=complaints, text=True
    ) as started:  # fmt: skip
        try:
            assert started.stdout is not None
            for line in started.stdout:
                _pass_on(line, context)
        except BaseException:
            # Torchrun ends its processes when it is asked to end.
            started.terminate()
            raise
    if (context.out / ERROR).exists():
        told: dict[str, Any] = read_json(context.out / ERROR)
        raise getattr(errors, told["kind"])(told["message"])
    if started.returncode:
        last = " / ".join(log.read_text(errors="replace").strip().splitlines()[-_LAST_LINES:])
        raise EnvironmentFault(
            f"the {parallel.processes} training processes ended {parallel.restarts + 1} times; the last lines of "
            f"{log}: {last}"
        )


def _pass_on(line: str, context: StepContext) -> None:
    """Progress of the first process; anything else that a library printed is not ours to tell."""
    if line.startswith('{"done"'):
        said = json.loads(line)
        context.tell(said["done"], said["total"], said["unit"], said["message"], **said["numbers"])
