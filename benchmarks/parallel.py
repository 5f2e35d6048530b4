"""What each layout of processes costs on one machine: time of an update, bytes sent, memory, beside the planner's ledger.

    python -m benchmarks.parallel [--json]

Every layout trains the same batches in a torchrun of its own, gloo on 127.0.0.1, one thread a process, float32. Bytes sent are those of the
process's own TCP sockets (TCP_INFO, acknowledged by the other side), per process and update, the mean. Memory is a process's largest
resident size during updates less that before the model was made; state is its tensors of weights, gradients and optimiser. Predictions are the
training stage's own (`parallel.memory`), without snapshot and checkpoint, which these updates have not, and beside them
`aether.planning.training.memory.ledger`'s for the same layout, which is of other frameworks on GPUs, with scores in memory where Aether's own
kernel for short windows writes them. `--predict` predicts anew what the record has measured. More processes than cores share cores: their times say what the layout costs
here, and nothing about a machine with a core for each.
"""

import argparse
import ctypes
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from aether.models.config import DecoderConfig
from aether.models.config_parts import Mixture
from aether.models.host import keep_freed_memory
from aether.planning.training.memory import ledger
from aether.planning.training.setup import Layout, Software, TrainingSetup
from aether.spec.run import StepContext
from aether.stages.train.optimisers.optimisers import Optimisers
from aether.stages.train.parallel.loop import SharedLoop, new_shared_state
from aether.stages.train.parallel.memory import memory_bytes
from aether.stages.train.parallel.mesh import Team, joined, team
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.recipe_optimiser import Optimiser
from benchmarks.records import FOLDER, circumstances, write

VOCABULARY, CONTEXT, WINDOWS = 2048, 256, 8
SHAPE = DecoderConfig(
    vocab_size=VOCABULARY, hidden_size=256, layers=4, heads=8, kv_heads=4, head_size=32, mlp_size=704, context_tokens=CONTEXT
)  # fmt: skip
EXPERTS = SHAPE.model_copy(update={"experts": Mixture(count=8, active=2), "mlp_size": 256})
LAYOUTS: dict[str, dict[str, Any]] = {
    "1": {},
    "shard 2": {"shard": 2},
    "replicate 2": {"replicate": 2},
    "tensor 2": {"tensor": 2},
    "ring 2": {"context": 2},
    "ulysses 2": {"context": 2, "attention": "ulysses"},
    "pipeline 2": {"pipeline": 2},
    "experts 1": {},
    "experts 2": {"expert": 2},
    "shard 4": {"shard": 4},
    "shard 2 x tensor 2": {"shard": 2, "tensor": 2},
    "ring 4": {"context": 4},
    "experts 4": {"expert": 4},
}
UPDATES, WARM_UPS = 4, 1


class RandomWindows:
    """Random tokens, one document a window."""

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples first .. first + count - 1."""
        rows = [np.random.default_rng(first + row).integers(0, VOCABULARY, CONTEXT + 1) for row in range(count)]
        return np.stack(rows), np.zeros((count, CONTEXT + 1), np.int64)


def recipe_of(name: str) -> TrainRecipe:
    """The training over a layout: the same model and batch in each."""
    layout = LAYOUTS[name]
    model = EXPERTS if name.startswith("experts") else SHAPE
    micro = 1 if layout.get("pipeline", 1) > 1 else None
    return TrainRecipe(
        model=model,
        steps=100,
        batch_sequences=WINDOWS,
        micro_batch_sequences=micro,
        precision="float32",
        optimiser=Optimiser(kind="muon"),
        parallel=layout,  # pyright: ignore[reportArgumentType]
    )


def sent_bytes() -> int:
    """What this process's TCP connections have sent so far, as far as the other side has it."""
    total = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            if not os.readlink(link).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(link.name))) as connection:
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136)
        except OSError:
            continue  # closed meanwhile, or no TCP
        if len(info) == 136:
            total += struct.unpack_from("Q", info, 120)[0]
    return total


def peak_bytes(begin: bool = False) -> int:
    """The largest resident size since `begin`."""
    if begin:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) * 1024


class Timed:
    """An optimiser's step with its seconds and bytes."""

    def __init__(self, optimisers: Optimisers) -> None:
        self._step, self.seconds, self.sent = optimisers.step, [], []
        optimisers.step = self.step  # pyright: ignore[reportAttributeAccessIssue]

    def step(self, *given: Any) -> None:
        """One step."""
        sent, began_s = sent_bytes(), time.perf_counter()
        self._step(*given)
        self.seconds.append(time.perf_counter() - began_s)
        self.sent.append(sent_bytes() - sent)


def in_team(name: str, out: Path) -> None:
    """What every process of a layout does."""
    torch.set_num_threads(1)
    keep_freed_memory()
    recipe = recipe_of(name)
    with joined("cpu"):
        everyone = team(recipe.parallel, "cpu")
        before = psutil.Process().memory_info().rss
        state = new_shared_state(recipe, 0, everyone)
        context = StepContext("train", out, {}, 0, 1, lambda progress: None)
        loop = SharedLoop(recipe, state, RandomWindows(), context, everyone)
        timed = Timed(state.optimisers)
        for _ in range(WARM_UPS):
            loop.update()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        peak_bytes(begin=True)
        sent, step_s = sent_bytes(), []
        for _ in range(UPDATES):
            began_s = time.perf_counter()
            loop.update()
            step_s.append(time.perf_counter() - began_s)
        held = sum(h.tensor.nbytes * 2 for h in state.shards.held)
        held += sum(tensor.nbytes for tensor in state.optimisers.tensors().values())
        own = {
            "step_s": statistics.median(step_s),
            "optimiser_s": statistics.median(timed.seconds[WARM_UPS:]),
            "sent_bytes": (sent_bytes() - sent) / UPDATES,
            "optimiser_sent_bytes": statistics.median(timed.sent[WARM_UPS:]),
            "peak_bytes": peak_bytes() - before,
            "state_bytes": held,
        }
        own["load"] = os.getloadavg()[0]
        own["unshared_optimiser_s"] = unshared_s(recipe, everyone)
        found: list[Any] = [None] * recipe.parallel.processes
        torch.distributed.all_gather_object(found, own)
        if everyone.first:
            mean = {key: statistics.fmean(one[key] for one in found) for key in own}
            mean["largest_peak_bytes"] = max(one["peak_bytes"] for one in found)
            (out / "found.json").write_text(json.dumps(mean))


def unshared_s(recipe: TrainRecipe, everyone: Team) -> float:
    """Seconds of a step in which every process updates every weight itself, all at the same time."""
    from aether.stages.train.loop import new_model
    from aether.stages.train.optimisers.rule import Rates

    model, taken = new_model(recipe, 0), []
    optimisers = Optimisers(model, recipe.optimiser)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3) if parameter.requires_grad else None
    for _ in range(WARM_UPS + UPDATES):
        everyone.tell_all(None)
        began_s = time.perf_counter()
        optimisers.step(Rates(1e-6, 0.9))
        taken.append(time.perf_counter() - began_s)
    return statistics.median(taken[WARM_UPS:])


def predicted(recipe: TrainRecipe) -> dict[str, float]:
    """The training stage's own prediction, in bytes a process."""
    windows = recipe.micro_batch_sequences or WINDOWS // recipe.parallel.readers
    parts = memory_bytes(recipe.model, recipe.parallel, windows, 4)
    peak = sum(value for name, value in parts.items() if name not in ("snapshot", "checkpoint"))
    return parts | {"state_bytes": sum(parts[n] for n in ("weights", "gradients", "optimiser")), "peak_bytes": peak}


def by_ledger(recipe: TrainRecipe) -> dict[str, float]:
    """The planner's ledger for this layout, in bytes a process."""
    p = recipe.parallel
    layout = Layout(
        tp=p.tensor,
        pp=p.pipeline,
        cp=p.context,
        ep=p.expert,
        dp=p.readers,
        zero_stage=3 if p.pipeline == 1 and p.processes // p.tensor > 1 and p.replicate == 1 else 0,
    )
    setup = TrainingSetup(
        architecture=recipe.model.architecture(),
        device="cpu",
        devices=layout.devices,
        seq_tokens=CONTEXT,
        global_batch=WINDOWS,
        micro_batch=recipe.micro_batch_sequences or WINDOWS // p.readers,
        precision="fp32",
        layout=layout,
        recompute="none",
        optimiser="muon",
        software=Software(framework="torchtitan", attention="flash" if p.context > 1 else "materialised"),
    )
    found = ledger(setup, "none")
    state = found.weights_bytes + found.gradients_bytes + found.optimiser_bytes
    return {"state_bytes": state, "allocated_bytes": found.allocated_bytes} | {
        name: value for name, value in asdict(found).items() if name.endswith("_bytes")
    }


def measure(name: str, folder: Path) -> dict[str, Any]:
    """One layout in a torchrun of its own; what lies in `folder` already is not measured again."""
    recipe, out = recipe_of(name), folder / name.replace(" ", "-")
    if not (out / "found.json").exists():
        out.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(recipe.parallel.processes)]
        words += ["--local-addr", "127.0.0.1", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
        words += ["-m", "benchmarks.parallel", "--in-team", name, "--out", str(out)]
        subprocess.run(words, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True)
    found = json.loads((out / "found.json").read_text())
    return row_of(name, found)


def row_of(name: str, measured: dict[str, float]) -> dict[str, Any]:
    """A layout's row of the record."""
    recipe = recipe_of(name)
    said = {"predicted": predicted(recipe), "ledger": by_ledger(recipe)}
    return {"layout": name, "processes": recipe.parallel.processes, "measured": measured} | said


def markdown(record: dict[str, Any]) -> str:
    """The record as tables."""
    machine, rows = record["machine"], record["layouts"]
    lines = ["# Layouts of processes: time, bytes, memory", ""]
    lines += [
        f"{record['date']}, {machine['cpu']}, {machine['cores']} cores, torch {record['packages']['torch']}, gloo. "
        f"`{record['command']}`. {record['parameters']:,} weights ({record['expert_parameters']:,} with experts), "
        f"{WINDOWS} windows of {CONTEXT} tokens. Load of the machine: {min(row['measured']['load'] for row in rows):.0f} to "
        f"{max(row['measured']['load'] for row in rows):.0f}.",
        "",
        "Memory is beyond the process before it had a model, of the one that holds most. Error: predicted over measured, less one; of the training",
        "stage's own prediction, whose allocator's share was fitted to this table, and of the planner's ledger, which is of other frameworks on GPUs.",
        "",
        "| layout | update | sent a process | state, predicted | measured | error | ledger's error | peak, predicted | measured | error | ledger's error |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        got, said, ledger_said = row["measured"], row["predicted"], row["ledger"]
        most = got["largest_peak_bytes"]
        lines.append(
            f"| {row['layout']} | {1e3 * got['step_s']:.0f} ms | {got['sent_bytes'] / 1e6:.1f} MB | {said['state_bytes'] / 1e6:.1f} MB "
            f"| {got['state_bytes'] / 1e6:.1f} MB | {said['state_bytes'] / got['state_bytes'] - 1:+.1%} "
            f"| {ledger_said['state_bytes'] / got['state_bytes'] - 1:+.0%} | {said['peak_bytes'] / 1e6:.0f} MB | {most / 1e6:.0f} MB "
            f"| {said['peak_bytes'] / most - 1:+.0%} | {ledger_said['allocated_bytes'] / most - 1:+.0%} |"
        )
    lines += ["", "Muon shared out, beside every process updating every weight at the same time:", ""]
    lines += ["| layout | shared | unshared | ratio | sent a process by the shared one |", "|---|---|---|---|---|"]
    for row in rows:
        got = row["measured"]
        lines.append(
            f"| {row['layout']} | {1e3 * got['optimiser_s']:.0f} ms | {1e3 * got['unshared_optimiser_s']:.0f} ms "
            f"| {got['unshared_optimiser_s'] / got['optimiser_s']:.2f} | {got['optimiser_sent_bytes'] / 1e6:.1f} MB |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--in-team", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="Keep each layout's numbers here, and go on from them.")
    parser.add_argument("--predict", action="store_true", help="Keep what the record has measured, and predict anew.")
    asked = parser.parse_args()
    if asked.in_team:
        in_team(asked.in_team, asked.out)
        return
    if asked.predict:
        record = json.loads((FOLDER / "parallel.json").read_text(encoding="utf-8"))
        record["layouts"] = [row_of(row["layout"], row["measured"]) for row in record["layouts"]]
        print(write("parallel", record, markdown(record)).with_suffix(".md").read_text(encoding="utf-8"))
        return
    with tempfile.TemporaryDirectory() as temporary:
        rows = [measure(name, asked.out or Path(temporary)) for name in LAYOUTS]
    sizes = {"parameters": SHAPE.parameters(), "expert_parameters": EXPERTS.parameters()}
    record = circumstances("benchmarks.parallel", words=[]) | sizes | {"layouts": rows}
    path = write("parallel", record, markdown(record))
    print(json.dumps(record) if asked.json else path.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
