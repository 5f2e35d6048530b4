"""Seconds of an update and peak memory of a training: what the planner says beforehand, and what the training then took.

    python -m benchmarks.training_predictions --data RUN/steps/data [--json]

As in a build, the machine is probed and the planner's own pilots are trained; from these alone it predicts every configuration of
`loss_per_compute`, `shakespeare` and `training_step`, which are trained afterwards. Each training runs the stage's loop, with
snapshots, logs and checkpoints, on random tokens in a process of its own, with one thread: an update's seconds are the processor's,
so that neighbours disturb little, and the median over its updates without the first three. Also shown: the ledger and the
probe's rates without any pilot. The probe's rates want an idle machine.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

from aether.hardware.machine import Machine
from aether.hardware.probe import ProbeRecipe
from aether.hardware.probe import run as probe
from aether.planning.facts import DataFacts, PilotResult
from aether.planning.ladder import decoder
from aether.planning.options import training_memory
from aether.planning.pilots import pilot_steps
from aether.planning.recipes import precision_for
from aether.planning.timing import StepTime, fit_step_time
from aether.policy.brief_file import to_brief
from aether.spec.run import StepContext
from aether.stages.train.recipe import TrainRecipe
from benchmarks.records import circumstances, write

BRIEF = {
    "name": "predictions",
    "intended_use": "an experiment",
    "modality": "code",
    "data": {"sources": "python:stdlib"},
    "hardware": {"name": "this-machine"},
    "targets": ["bits_per_byte <= 2.2", "build_time <= 10 min"],
}
UPDATES, WARM_UPS = 12, 3
CHECKPOINT_S = 1.0
"""Often enough that the peak has a checkpoint in it, as that of a longer run has."""
PROBED = {
    "layer_overhead_s",
    "matmul_by_size",
    "matmul_flops_per_s",
    "memory_bandwidth_bytes_per_s",
    "softmax_values_per_s",
    "threads",
}
"""What an update's time is predicted from without pilots."""
LEVEL_Z = 1.2816
"""Half-width of 80 % in standard deviations: what `planning.budget` makes of a step time's spread."""


def configurations() -> dict[str, TrainRecipe]:
    """Every configuration of the training benchmarks, in so many updates."""
    from benchmarks.aether_training import recipe_of
    from benchmarks.loss_per_compute import AETHER_GRID, SIZES
    from benchmarks.shakespeare import RECIPE
    from benchmarks.training_step import CONTEXT, SHAPES, VOCABULARY

    found = {"loss_per_compute": recipe_of(SIZES | {"vocab_size": VOCABULARY}, AETHER_GRID[0])}
    found["shakespeare"] = RECIPE.model_copy(update={"ramp": ()})
    for width, layers, windows in SHAPES:
        shape = decoder(width, layers, VOCABULARY, CONTEXT)
        name = f"training_step {width}, {layers}, {windows}"
        found[name] = TrainRecipe(model=shape, steps=UPDATES, batch_sequences=windows)
    return found


def train(recipe: TrainRecipe) -> dict[str, float]:
    """The stage's loop in this process: seconds of an update, and the most memory that it held."""
    import numpy as np
    import torch

    from aether.models.host import keep_freed_memory
    from aether.stages.train.journal import Outcome
    from aether.stages.train.loop import Loop, new_state

    class Timed(Loop):
        """The loop, with the processor's seconds of each update."""

        cpu_s: ClassVar[list[float]] = []

        def update(self) -> Outcome:
            """As it is."""
            began_s = time.process_time()
            outcome = super().update()
            self.cpu_s.append(time.process_time() - began_s)
            return outcome

    class RandomTokens:
        """Windows of two documents."""

        def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
            """Samples first .. first + count - 1."""
            size = (count, recipe.model.context_tokens + 1)
            tokens = np.random.default_rng(first).integers(0, recipe.model.vocab_size, size)
            documents = np.broadcast_to(np.arange(size[1]) >= size[1] // 3, size)
            return tokens, documents.astype(np.int64)

    torch.set_num_threads(1)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as out:
        context = StepContext("train", Path(out), {}, 0, 1, lambda progress: None)
        state = new_state(recipe, 0)
        Timed(recipe, state, RandomTokens(), context).run("predictions")
        loss = json.loads((Path(out) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])["loss"]
    return {"step_s": statistics.median(Timed.cpu_s[WARM_UPS:]), "memory_bytes": state.peak_memory_bytes, "loss": loss}


def alone(recipe: TrainRecipe) -> dict[str, float]:
    """`train` in a process of its own, in `UPDATES` updates."""
    short = recipe.model_copy(update={"steps": UPDATES, "checkpoint_every_s": CHECKPOINT_S})
    words = [sys.executable, "-m", "benchmarks.training_predictions", "--train", short.model_dump_json()]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def probed() -> Machine:
    """This machine, with the rates of one thread."""
    with tempfile.TemporaryDirectory() as out:
        recipe = ProbeRecipe.of_this_machine().model_copy(update={"cores": 1})
        probe(recipe, StepContext("probe", Path(out), {}, 0, 1, lambda progress: None))
        return Machine.read(Path(out))


def pilots_of(machine: Machine, facts: DataFacts) -> tuple[PilotResult, ...]:
    """The planner's pilots, trained."""
    found = []
    for step in pilot_steps(to_brief(BRIEF, "benchmark"), machine, facts):
        recipe = TrainRecipe.model_validate(step.config)
        took = alone(recipe)
        found.append(
            PilotResult(
                name=step.name,
                recipe=recipe,
                loss=took["loss"],
                seconds_per_step=took["step_s"],
                memory_bytes=int(took["memory_bytes"]),
            )
        )
    return tuple(found)


def predicted(recipe: TrainRecipe, time: StepTime, pilots: tuple[PilotResult, ...]) -> dict[str, dict[str, float]]:
    """Value and ends of the 80 % interval, of an update's seconds and of the memory."""
    step_s, half = time.seconds(recipe), LEVEL_Z * time.spread(recipe)
    memory = training_memory(recipe, pilots)
    assert memory.value is not None and memory.interval is not None
    return {
        "step_s": {"value": step_s, "low": step_s * max(0.0, 1 - half), "high": step_s * (1 + half)},
        "memory_bytes": {"value": memory.value, "low": memory.interval.low, "high": memory.interval.high},
    }


def judged(name: str, recipe: TrainRecipe, said: dict[str, Any], took: dict[str, float]) -> dict[str, Any]:
    """A row: predicted, measured, relative error, whether the interval holds it."""
    row: dict[str, Any] = {"name": name, "parameters": recipe.model.parameters(), "batch_tokens": recipe.batch_tokens()}
    for key, interval in said.items():
        measured = took[key]
        row[key] = interval | {
            "measured": measured,
            "error": interval["value"] / measured - 1,
            "inside": interval["low"] <= measured <= interval["high"],
        }
    return row


def measure(facts: DataFacts) -> dict[str, Any]:
    """Probe, pilots, predictions, and then the trainings."""
    machine = probed()
    pilots = pilots_of(machine, facts)
    wanted = {
        name: recipe.model_copy(update={"precision": precision_for(machine)})
        for name, recipe in configurations().items()
    }
    fitted, bare = fit_step_time(machine, pilots), fit_step_time(machine, ())
    said = {name: predicted(recipe, fitted, pilots) for name, recipe in wanted.items()}
    without = {name: predicted(recipe, bare, ()) for name, recipe in wanted.items()}
    took = {name: alone(recipe) for name, recipe in wanted.items()}
    return {
        "probe": machine.model_dump(mode="json", include=PROBED),
        "pilots": [p.model_dump(mode="json", exclude={"loss", "recipe"}) for p in pilots],
        "left_out": list(fitted.left_out),
        "rows": [judged(name, wanted[name], said[name], took[name]) for name in wanted],
        "without_pilots": [judged(name, wanted[name], without[name], took[name]) for name in wanted],
    }


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Predicted with its interval, measured, error."""
    lines = [
        "| configuration | update, ms: predicted (80 %) | measured | error | memory, MB: predicted (80 %) | measured | error |"
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in rows:
        cells = []
        for key, unit in (("step_s", 1e3), ("memory_bytes", 1e-6)):
            one = row[key]
            low, value, high, measured = (one[part] * unit for part in ("low", "value", "high", "measured"))
            outside = "" if one["inside"] else ", outside"
            cells += [
                f"{value:.0f} ({low:.0f} to {high:.0f})",
                f"{measured:.0f}",
                f"{100 * one['error']:+.0f} %{outside}",
            ]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    return lines


def markdown(record: dict[str, Any]) -> str:
    """The record for people."""
    head = f"{record['date']}, {record['machine']['cpu']}, {record['machine']['cores']} cores, "
    lines = [
        "# Predicted and measured trainings",
        "",
        f"{head}torch {record['packages']['torch']}. `{record['command']}`",
    ]
    lines += [
        "",
        "One thread; an update in the processor's seconds. From the planner's pilots:",
        "",
        *table(record["rows"]),
    ]
    lines += ["", "Without pilots (the probe's rates, ledger alone):", "", *table(record["without_pilots"])]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="output folder of a data step, for the pilots' sizes")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.train:
        print(json.dumps(train(TrainRecipe.model_validate_json(asked.train))))
        return
    if asked.data is None:
        parser.error("--data: name the output folder of a data step")
    record: dict[str, Any] = circumstances("benchmarks.training_predictions", words=["--data", "RUN/steps/data"])
    record |= measure(DataFacts.read(asked.data))
    path = write("training_predictions", record, markdown(record))
    print(json.dumps(record) if asked.json else path.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
