"""One training carried out by the processes of a torchrun: Aether's own, or one that somebody started around a whole command.

In `torchrun --nproc-per-node 2 -m aether build RECIPE` the first process is the command and the others wait: where it comes to a training
of several processes, it writes the job into torchrun's store, and all of them train. Bad input ends the training in every process alike,
and the first one says so.
"""

import itertools
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch.distributed import DistStoreError
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from aether.evidence.files import read_json
from aether.evidence.hashing import hash_value
from aether.models.host import keep_freed_memory
from aether.spec.base import Noun
from aether.spec.errors import AetherError
from aether.spec.run import Listener, StepContext
from aether.stages.train.batches import windows
from aether.stages.train.parallel.handing import Handed
from aether.stages.train.parallel.loop import SharedLoop, new_shared_state
from aether.stages.train.parallel.mesh import joined, team
from aether.stages.train.parallel.recipe import fitted
from aether.stages.train.recipe import TrainRecipe

_PATIENCE = timedelta(days=30)
"""How long a process waits for a job: longer than any command (assumed); torchrun ends it when the first one ends."""
_GOODBYE = timedelta(seconds=10)
"""How long the first process waits for the others to have heard of the end: one that hangs in a training that broke never will."""
_END = "end"


class Job(Noun):
    """A training, as every process must know it. Paths are of a folder that all of them see."""

    recipe: TrainRecipe
    step: str
    out: Path
    inputs: dict[str, Path]
    seed: int
    threads: int
    """Of each machine, shared out among its processes."""

    def context(self, listener: Listener) -> StepContext:
        """The step's context in this process."""
        return StepContext(self.step, self.out, self.inputs, self.seed, self.threads, listener)


def carry_out(job: Job, listener: Listener, store: Store | None = None) -> None:
    """Train to the last step, or go on to it. A collective of all processes; only the first one tells `listener`.

    They meet in `store`, None: in that of torchrun.
    """
    recipe, seed = _here(job.recipe), job.seed
    torch.set_num_threads(max(1, job.threads // int(os.environ["LOCAL_WORLD_SIZE"])))
    keep_freed_memory()
    # What a checkpoint must agree in to be gone on from: all but the layout.
    described = read_json(job.inputs["data"] / "data.json")
    choices = recipe.model_dump(mode="json", exclude={"parallel", *recipe.circumstance})
    identity = hash_value([choices, described, seed])
    with joined(recipe.device, store):
        everyone = team(recipe.parallel, recipe.device)
        context = job.context(listener if everyone.first else lambda progress: None)
        state = new_shared_state(recipe, seed, everyone)
        batches = Handed.of(everyone, recipe, job.inputs, seed) if recipe.texts else windows(recipe, job.inputs, seed)
        SharedLoop(recipe, state, batches, context, everyone).run(identity)


def _here(recipe: TrainRecipe) -> TrainRecipe:
    """The recipe over the processes that torchrun started."""
    batches = [sequences for _, sequences in recipe.stages()]
    parallel = fitted(recipe.parallel, int(os.environ["WORLD_SIZE"]), batches, recipe.micro_batch_sequences)
    return recipe.model_copy(update={"parallel": parallel})


class Crew:
    """The processes of a torchrun around a command."""

    def __init__(self) -> None:
        self._store, self.rank, self._size = next(rendezvous("env://"))
        self._jobs = itertools.count()

    def train(self, job: Job, listener: Listener) -> None:
        """As the first process: train with the others. Raises what this process's part raises."""
        number, threads = next(self._jobs), torch.get_num_threads()
        self._store.set(f"job-{number}", job.model_dump_json())
        try:
            carry_out(job, listener, PrefixStore(f"of-job-{number}", self._store))
        finally:
            torch.set_num_threads(threads)

    def serve(self) -> None:
        """As another process: take part in every training until the command ends."""
        for number in self._jobs:
            self._store.wait([f"job-{number}"], _PATIENCE)
            said = self._store.get(f"job-{number}")
            if said == _END.encode():
                self._store.set(f"heard-{self.rank}", _END)
                return
            job = Job.model_validate_json(said)
            with suppress(AetherError):
                carry_out(job, lambda progress: None, PrefixStore(f"of-job-{number}", self._store))

    def dismiss(self) -> None:
        """As the first process: nothing more comes. The store may end with this process, so the others are waited for."""
        self._store.set(f"job-{next(self._jobs)}", _END)
        with suppress(DistStoreError):
            self._store.wait([f"heard-{rank}" for rank in range(1, self._size)], _GOODBYE)


_crew: Crew | None = None


def current() -> Crew | None:
    """The crew that a torchrun around this command brought; None without one."""
    return _crew


def under_torchrun(command: Callable[[], Any]) -> None:
    """Run `command` in the first process, and train with it in the others."""
    global _crew
    _crew = Crew()
    if _crew.rank > 0:
        _crew.serve()
        return
    try:
        command()
    finally:
        _crew.dismiss()
