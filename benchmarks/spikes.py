"""The spike guard's false alarms on healthy trainings, and what it catches of planted trouble.

    python -m benchmarks.spikes --data RUN/steps/data --trainings FILE [--seconds 540]

Small decoders on a data step's real documents in small batches, whose gradient norms have heavy tails. Every training runs with the guard off, and its losses
and gradient norms are judged afterwards by the guard and, beside it, by what it replaces (mean + 6 standard deviations, three skips for a cut). Healthy:
many seeds, two optimisers. Planted: every 40th batch is noise; all rates times 10 and times 30 from update 150 on. `--traces` writes the healthy traces for the tests.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from aether.models.packing import PackedTokens
from aether.spec.run import StepContext
from aether.stages.train.batches import ShuffledWindows
from aether.stages.train.fakes import PoisonedTokens
from aether.stages.train.loop import Batches, Loop, new_state
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.recipe_watch import Spikes
from aether.stages.train.spikes import LEAST_HISTORY_STEPS, SpikeGuard
from benchmarks.kept import Kept, MoreToDoError
from benchmarks.records import circumstances, write

SHAPES = {"b4": (128, 4, 300), "b2": (64, 2, 300), "b16": (64, 16, 200)}
"""Tokens of a window, windows of an update, updates."""
SEEDS, PLANTED_SEEDS = 10, 4
POISONED, FASTER_FROM, FASTER_UNTIL = tuple(range(100, 300, 40)), 150, 250
OFF = Spikes(sigmas=1e9, skips_before_cut=10**9, skips_before_rewind=10**9)
WINDOW, OLD_SIGMAS, OLD_SKIPS = 128, 6.0, 3


def questions() -> Iterator[dict[str, Any]]:
    """Every training."""
    for seed in range(SEEDS):
        yield {"shape": "b4", "kind": "muon", "seed": seed, "planted": "none"}
        yield {"shape": "b2", "kind": "muon", "seed": seed, "planted": "none"}
        if seed < PLANTED_SEEDS:
            for planted in ("noise", "x30", "x10"):
                yield {"shape": "b4", "kind": "muon", "seed": seed, "planted": planted}
        if seed % 4 == 0:
            yield {"shape": "b4", "kind": "adamw", "seed": seed, "planted": "none"}
            yield {"shape": "b16", "kind": "muon", "seed": seed, "planted": "none"}


def recipe_of(vocab_size: int, shape: str, kind: str, steps: int, planted: str, times: float) -> TrainRecipe:
    """One stretch of a training, its rates `times` the usual ones."""
    context, batch, _ = SHAPES[shape]
    rates = {"muon_lr": 0.01, "embedding_lr": 0.03, "gain_lr": 0.03} if kind == "muon" else {"lr": 0.003}
    model = {"vocab_size": vocab_size, "hidden_size": 32, "layers": 1, "heads": 2, "kv_heads": 2, "head_size": 16}
    return TrainRecipe.model_validate(
        {
            "model": model | {"mlp_size": 64, "context_tokens": context},
            "steps": steps,
            "batch_sequences": batch,
            "precision": "float32",
            "spikes": OFF,
            "watch": {"cost_share": 0.0},
            "optimiser": {"kind": kind} | {name: min(1.0, times * rate) for name, rate in rates.items()},
            "schedule": {"decay_fraction": 0.0} if planted in ("x10", "x30") else {},
        }
    )


def made(data: Path, vocab_size: int, shape: str, kind: str, seed: int, planted: str) -> dict[str, Any]:
    """Losses and gradient norms of one training; None where they are not finite."""
    context, batch, steps = SHAPES[shape]
    windows: Batches = ShuffledWindows(PackedTokens(data / "train", context, seed), seed)
    if planted == "noise":
        samples = {step * batch + row for step in POISONED for row in range(batch)}
        windows = PoisonedTokens(windows, vocab_size, samples)
    stretches = [(steps, 1.0)]
    if planted in ("x10", "x30"):
        stretches = [(FASTER_FROM, 1.0), (FASTER_UNTIL, float(planted[1:]))]
    with tempfile.TemporaryDirectory() as out:
        where = StepContext("train", Path(out), {}, seed, 1, lambda progress: None)
        for until, times in stretches:
            recipe = recipe_of(vocab_size, shape, kind, until, planted, times)
            Loop(recipe, new_state(recipe, seed), windows, where).run("benchmark")
        rows = [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {"losses": [row["loss"] for row in rows], "norms": [row["grad_norm"] for row in rows]}


def judged(losses: list[float], norms: list[float]) -> list[str]:
    """What the guard says of each update."""
    guard = SpikeGuard(Spikes(skips_before_rewind=10**9))
    return [guard.judge(loss, norm) for loss, norm in zip(losses, norms, strict=True)]


def judged_before(losses: list[float], norms: list[float]) -> list[str]:
    """What mean + 6 standard deviations say, with a cut at three skips of the window."""
    histories, strikes, said = (deque(maxlen=WINDOW), deque(maxlen=WINDOW)), deque(maxlen=WINDOW), []
    for values in zip(losses, norms, strict=True):
        believed = all(math.isfinite(value) for value in values)
        for value, history in zip(values, histories, strict=True):
            if believed and len(history) >= LEAST_HISTORY_STEPS:
                believed = value <= statistics.fmean(history) + OLD_SIGMAS * statistics.pstdev(history)
        strikes.append(not believed)
        if believed:
            for value, history in zip(values, histories, strict=True):
                history.append(value)
        said.append("apply" if believed else "cut" if sum(strikes) >= OLD_SKIPS else "skip")
        if said[-1] == "cut":
            strikes.clear()
    return said


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each shape, optimiser and plant, by both rules."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["planted"], row["shape"], row["kind"]), []).append(row)
    table = []
    for (planted, shape, kind), group in found.items():
        one: dict[str, Any] = {"planted": planted, "shape": shape, "kind": kind, "runs": len(group)}
        for name, judge in (("now", judged), ("before", judged_before)):
            said = []
            for row in group:
                losses, norms = (
                    [math.inf if value is None else value for value in row[key]] for key in ("losses", "norms")
                )
                said.append(judge(losses, norms))
            one[name] = {
                "updates": sum(map(len, said)),
                "skips": sum(s != "apply" for each in said for s in each),
                "cuts": sum(s == "cut" for each in said for s in each),
                "runs_with_a_cut": sum("cut" in each for each in said),
            }
            if planted == "noise":
                one[name]["caught"] = sum(each[step] != "apply" for each in said for step in POISONED)
            elif planted != "none":
                one[name]["runs_caught"] = sum(any(s != "apply" for s in each[FASTER_FROM:]) for each in said)
        table.append(one)
    return table


def markdown(table: list[dict[str, Any]]) -> str:
    """Two tables: healthy runs, planted trouble."""
    lines = [
        "| healthy | runs | updates | skips now | before | runs with a cut now | before |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in table:
        if one["planted"] == "none":
            now, before, (context, batch, _) = one["now"], one["before"], SHAPES[one["shape"]]
            lines.append(
                f"| {one['kind']}, {batch} windows of {context} | {one['runs']} | {now['updates']} | {now['skips']} | {before['skips']} | "
                f"{now['runs_with_a_cut']} | {before['runs_with_a_cut']} |"
            )
    lines += ["", "| planted | runs | caught now | before |", "|---|---|---|---|"]
    for one in table:
        if one["planted"] == "noise":
            of = one["runs"] * len(POISONED)
            lines.append(
                f"| batches of noise | {one['runs']} | {one['now']['caught']} of {of} | {one['before']['caught']} of {of} |"
            )
        elif one["planted"] != "none":
            told = [
                f"{one[name]['runs_caught']} of {one['runs']} ({one[name]['skips']} updates)"
                for name in ("now", "before")
            ]
            lines.append(f"| rates {one['planted']} | {one['runs']} | {told[0]} | {told[1]} |")
    return "\n".join(lines) + "\n"


def write_traces(file: Path, rows: list[dict[str, Any]]) -> None:
    """The healthy traces, to three digits."""
    kept = [
        {"shape": row["shape"], "kind": row["kind"], "seed": row["seed"]}
        | {key: [float(f"{value:.3g}") for value in row[key]] for key in ("losses", "norms")}
        for row in rows
        if row["planted"] == "none"
    ]
    file.write_text("".join(json.dumps(one, separators=(",", ":")) + "\n" for one in kept), encoding="utf-8")


def main() -> None:
    """Train what is missing, judge, record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--trainings", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--traces", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    vocab_size = json.loads((options.data / "data.json").read_text(encoding="utf-8"))["vocab_size"]
    kept = Kept(options.trainings, options.seconds)
    try:
        rows = [kept.of(asked, lambda asked=asked: made(options.data, vocab_size, **asked)) for asked in questions()]
    except MoreToDoError:
        sys.exit("more to do: the same command again")
    if options.traces:
        write_traces(options.traces, rows)
    table = summary(rows)
    here = circumstances("benchmarks.spikes", words=["--data", "DATA", "--trainings", "FILE"])
    head = f"""# The spike guard on healthy trainings and on planted trouble

{here["machine"]["cpu"]}, one thread, {here["date"]}, torch {here["packages"]["torch"]}. `{here["command"]}`, DATA of the demo (the standard library, {vocab_size:,} entries).

One layer of width 32, the guard off; losses and norms judged afterwards. Now: {Spikes().sigmas:g} spreads (1.4826 median absolute deviations) above the median, norms by their
logarithm, a cut at {Spikes().skips_before_cut} skips among 128. Before: mean + 6 standard deviations, a cut at 3.

"""
    write("spikes", here | {"summary": table}, head + markdown(table))


if __name__ == "__main__":
    main()
