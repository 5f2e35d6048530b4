"""Seconds of one training update, plain and compiled, against other trainers' models of the same shape.

    python -m benchmarks.training_step --threads 2 [--json]
    python -m benchmarks.training_step --peers-python PEERS/bin/python --threads 1 [--json]

Same shape, vocabulary, window, batch and bfloat16 products on each side, random tokens, two documents a window. The peers are
`Qwen3ForCausalLM` (the architecture that Aether exports) and `LlamaForCausalLM`, litgpt's GPT as a Llama and OLMo-core's OLMo 2, under
bfloat16 autocast with AdamW and gradient clipping, SDPA attention, plain causal mask: less work than Aether's (documents that do
not see each other, Newton-Schulz products). litgpt and OLMo-core run in the environment of `peers_outside.py`, each in a
process that waits between its turns. Sides take turns update by update; a ratio is the median over turns of the peer's time
over Aether's; glibc keeps freed memory for all. Says nothing about what an update is worth: `loss_per_compute.py` does.
The first command times Aether compiled as well, and compiling with an empty cache and again from the kernels it left, in a process
each; the second has litgpt and OLMo-core instead. Their records are `training_step` and `training_step_peers`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aether.models.config import DecoderConfig
from aether.models.host import keep_freed_memory
from aether.planning.ladder import decoder
from aether.spec.run import StepContext
from aether.stages.train.compiling import Compilation, compile_for
from aether.stages.train.loop import Loop, new_state
from aether.stages.train.recipe import TrainRecipe
from benchmarks.equal_compute import Shape
from benchmarks.loss_per_compute import OUTSIDE, environment, versions_of
from benchmarks.peers_training import build
from benchmarks.records import circumstances, write

VOCABULARY, CONTEXT = 4096, 256
SHAPES = ((128, 2, 32), (64, 5, 8), (256, 4, 16))
"""(width, layers, windows): what the plan of the demo trained on two cores, a smaller and a larger one of the ladder."""
TURNS, WARM_UPS = 10, 2
INSIDE = ("qwen3", "llama")


class TwoDocuments:
    """Random tokens; each window is cut into two documents at token 100."""

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples first .. first + count - 1."""
        rows = [np.random.default_rng(first + row).integers(0, VOCABULARY, CONTEXT + 1) for row in range(count)]
        ids = np.broadcast_to(np.arange(CONTEXT + 1) >= 100, (count, CONTEXT + 1)).astype(np.int64)
        return np.stack(rows), ids


def aether(recipe: TrainRecipe, folder: Path, threads: int) -> tuple[Callable[[], object], Compilation]:
    """One update of the real loop, and what compiling it took."""
    context = StepContext("train", folder, {}, 0, threads, lambda progress: None)
    state = new_state(recipe, 0)
    compilation = compile_for(recipe, state.model, folder / "kernels")
    assert compilation.used == recipe.compile, compilation.fault
    return Loop(recipe, state, TwoDocuments(), context).update, compilation


def shape_of(config: DecoderConfig) -> Shape:
    """The sizes as the peers take them."""
    return Shape(**{name: getattr(config, name) for name in Shape.__dataclass_fields__})


def peer(kind: str, shape: DecoderConfig, windows: int) -> Callable[[], object]:
    """One update of a transformers model."""
    torch.manual_seed(0)
    model = build(kind, shape_of(shape))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    data, seen = TwoDocuments(), iter(range(0, 1 << 30, windows))

    def update() -> None:
        tokens = torch.from_numpy(data.batch(next(seen), windows)[0])[:, :-1]
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        loss.item()

    return update


class Outside:
    """A peer in its own environment: each turn is one line to it, and one line of seconds back."""

    def __init__(self, python: str, kind: str, shape: DecoderConfig, windows: int, threads: int) -> None:
        words = [python, "-m", "benchmarks.peers_outside", "turns", kind, json.dumps(asdict(shape_of(shape)))]
        words += [str(windows), str(threads)]
        around = os.environ | environment() | {"OMP_NUM_THREADS": str(threads)}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env=around)
        assert self._line() == "ready", f"{kind} did not start: the lines above say why"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def update(self) -> tuple[float, float]:
        """Seconds of one update on the wall and of its processor, as the peer's own clocks have them."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        wall_s, cpu_s = map(float, self._line().split())
        return wall_s, cpu_s

    def end(self) -> None:
        """No more turns."""
        self._process.communicate()


def timed(update: Callable[[], object]) -> Callable[[], tuple[float, float]]:
    """The update, returning its seconds on the wall and of the processor."""

    def run() -> tuple[float, float]:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        update()
        return time.perf_counter() - wall_s, time.process_time() - cpu_s

    return run


def measure(width: int, layers: int, windows: int, threads: int, python: str | None) -> dict[str, Any]:
    """Every side on one shape, by turns; `python`: of the peers' environment, or None for the compiled side."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    shape = decoder(width, layers, VOCABULARY, CONTEXT)
    plain = TrainRecipe(model=shape, steps=10_000, batch_sequences=windows)
    with tempfile.TemporaryDirectory() as out:
        kernels = Path(out)
        updates = {"aether": aether(plain, kernels, threads)[0]}
        updates |= {kind: peer(kind, shape, windows) for kind in INSIDE}
        outside, compile_s = {}, {}
        if python is None:
            cold_s = compile_alone(width, layers, windows, threads, kernels)
            compiled, warm = aether(plain.model_copy(update={"compile": "blocks"}), kernels, threads)
            updates["aether-compiled"], compile_s = compiled, {"cold": cold_s, "warm": warm.seconds}
        else:
            outside = {kind: Outside(python, kind, shape, windows, threads) for kind in OUTSIDE}
        turns = {name: timed(update) for name, update in updates.items()}
        turns |= {kind: one.update for kind, one in outside.items()}
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in turns}
        for turn in range(WARM_UPS + TURNS):
            for name, run in turns.items():
                seconds = run()
                if turn >= WARM_UPS:
                    taken[name].append(seconds)
        for one in outside.values():
            one.end()
    own = np.array(taken["aether"])
    step_s = {name: np.median(values, axis=0).tolist() for name, values in taken.items()}
    over = {name: np.median(np.array(values) / own, axis=0).tolist() for name, values in taken.items()}
    return {
        "width": width,
        "layers": layers,
        "windows": windows,
        "threads": threads,
        "parameters": shape.parameters(),
        "step_s": {name: wall_s for name, (wall_s, _) in step_s.items()},
        "step_cpu_s": {name: cpu_s for name, (_, cpu_s) in step_s.items()},
        "over_aether": {name: wall for name, (wall, _) in over.items()},
        "cpu_over_aether": {name: cpu for name, (_, cpu) in over.items()},
        "compile_s": compile_s,
    }


def compile_alone(width: int, layers: int, windows: int, threads: int, folder: Path) -> float:
    """Seconds of a first compilation in a process of its own, which leaves its kernels in `folder`."""
    words = [sys.executable, "-m", "benchmarks.training_step", "--compile", *map(str, (width, layers, windows))]
    words += ["--threads", str(threads), "--folder", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def markdown(record: dict[str, Any]) -> str:
    """The record as a table."""
    machine, versions = (
        record["machine"],
        ", ".join(f"{name} {version}" for name, version in record["packages"].items()),
    )
    lines = ["# One training update, and other trainers' models", ""]
    lines += [f"{record['date']}, {machine['cpu']}, {machine['cores']} cores, {versions}. `{record['command']}`", ""]
    lines += [
        "Medians over turns, on the wall / of the processor. Sides: their time over Aether's (above 1: Aether is faster)."
    ]
    lines += [f"Processes that ran or waited at the end, neighbours with them: {record['load_average']:.1f}.", ""]
    sides = [side for side in record["shapes"][0]["step_s"] if side != "aether"]
    head = ["width, layers, windows, threads", "aether, ms", "tokens/s", *sides, "compile, cold / warm"]
    lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in record["shapes"]:
        tokens, times = row["windows"] * CONTEXT, row["compile_s"]
        wall_s, cpu_s = row["step_s"]["aether"], row["step_cpu_s"]["aether"]
        cells = [f"{row['width']}, {row['layers']}, {row['windows']}, {row['threads']}"]
        cells += [f"{1e3 * wall_s:.1f} / {1e3 * cpu_s:.1f}", f"{tokens / wall_s:.0f} / {tokens / cpu_s:.0f}"]
        cells += [f"{row['over_aether'][side]:.2f} / {row['cpu_over_aether'][side]:.2f}" for side in sides]
        cells.append(f"{times['cold']:.1f} s / {times['warm']:.1f} s" if times else "not timed")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument(
        "--peers-python", help="interpreter of the peers' environment: litgpt and OLMo-core take turns too"
    )
    parser.add_argument("--compile", type=int, nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.compile:
        width, layers, windows = asked.compile
        torch.set_num_threads(asked.threads[0])
        shape = decoder(width, layers, VOCABULARY, CONTEXT)
        recipe = TrainRecipe(model=shape, steps=10_000, batch_sequences=windows, compile="blocks")
        print(aether(recipe, asked.folder, asked.threads[0])[1].seconds)
        return
    python = asked.peers_python
    shapes = [measure(*shape, threads, python) for threads in asked.threads for shape in SHAPES]
    words = ["--peers-python", "PEERS/bin/python"] * (python is not None) + ["--threads", *map(str, asked.threads)]
    record = circumstances("benchmarks.training_step", "transformers", words=words) | {"shapes": shapes}
    if python is not None:
        record["packages"] |= versions_of(python, ("litgpt", "ai2-olmo-core"))
    path = write("training_step" if python is None else "training_step_peers", record, markdown(record))
    print(json.dumps(record) if asked.json else path.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
