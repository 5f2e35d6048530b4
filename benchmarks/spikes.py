"""The spike guard's false alarms on healthy trainings, what it catches of planted trouble, and what its ladder saves.

    python -m benchmarks.spikes --data RUN/steps/data --trainings FILE [--seeds 3] [--seconds 540]

Small decoders on a data step's real documents in small batches, whose gradient norms have heavy tails. Trainings with the guard off: their losses
and gradient norms are judged afterwards by the guard, by the guard with other `skips_before_cut`, and by what it replaces (mean + 6 standard deviations, three
skips for a cut). Healthy: many seeds, two optimisers. Planted: every 40th batch is noise; ten batches of noise in a row; all rates times 10 and times 30 from
update 150 on. Then trainings of the first shape with the guard on: how often it skips and cuts healthy ones, and the held-out loss that planted trouble leaves with
it and without, paired by seed. `--traces` writes the healthy traces for the tests.
"""

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

from aether.models.decoder import Decoder
from aether.models.packing import PackedTokens
from aether.spec.errors import InputError
from aether.spec.run import StepContext
from aether.stages.train.batches import ShuffledWindows
from aether.stages.train.fakes import PoisonedTokens
from aether.stages.train.loop import Batches, Loop, new_state
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.recipe_watch import Spikes
from aether.stages.train.spikes import LEAST_HISTORY_STEPS, SpikeGuard
from benchmarks.kept import Kept, MoreToDoError, parser_of_pieces
from benchmarks.records import circumstances, mean_interval, write

SHAPES = {"b4": (128, 4, 300), "b2": (64, 2, 300), "b16": (64, 16, 200)}
"""Tokens of a window, windows of an update, updates."""
POISONED, FASTER_FROM, FASTER_UNTIL = tuple(range(100, 300, 40)), 150, 250
STRETCH = tuple(range(150, 160))
OFF = Spikes(sigmas=1e9, skips_before_cut=10**9, skips_before_rewind=10**9)
WINDOW, OLD_SIGMAS, OLD_SKIPS = 128, 6.0, 3
CUTS_TRIED, HELD_OUT_WINDOWS = (2, 3, 4, 5, 6), 64


def questions(seeds: int) -> Iterator[dict[str, Any]]:
    """Every training."""
    for seed in range(seeds):
        for guard in (False, True):
            for planted in ("none", "noise", "stretch", "x30", "x10"):
                yield {"shape": "b4", "kind": "muon", "seed": seed, "planted": planted, "guard": guard}
        yield {"shape": "b2", "kind": "muon", "seed": seed, "planted": "none", "guard": False}
        if seed % 4 == 0:
            yield {"shape": "b4", "kind": "adamw", "seed": seed, "planted": "none", "guard": False}
            yield {"shape": "b16", "kind": "muon", "seed": seed, "planted": "none", "guard": False}


def recipe_of(asked: dict[str, Any], vocab_size: int, steps: int, times: float) -> TrainRecipe:
    """One stretch of a training, its rates `times` the usual ones."""
    (context, batch, _), kind = SHAPES[asked["shape"]], asked["kind"]
    rates = {"muon_lr": 0.01, "embedding_lr": 0.03, "gain_lr": 0.03} if kind == "muon" else {"lr": 0.003}
    model = {"vocab_size": vocab_size, "hidden_size": 32, "layers": 1, "heads": 2, "kv_heads": 2, "head_size": 16}
    return TrainRecipe.model_validate(
        {
            "model": model | {"mlp_size": 64, "context_tokens": context},
            "steps": steps,
            "batch_sequences": batch,
            "precision": "float32",
            "spikes": Spikes() if asked["guard"] else OFF,
            "watch": {"cost_share": 0.0},
            "optimiser": {"kind": kind} | {name: min(1.0, times * rate) for name, rate in rates.items()},
            "schedule": {"decay_fraction": 0.0} if asked["planted"] in ("x10", "x30") else {},
        }
    )


def made(data: Path, vocab_size: int, asked: dict[str, Any]) -> dict[str, Any]:
    """Losses and gradient norms of one training, None where they are not finite; what the guard did; the held-out loss after it."""
    (context, batch, steps), seed, planted = SHAPES[asked["shape"]], asked["seed"], asked["planted"]
    windows: Batches = ShuffledWindows(PackedTokens(data / "train", context, seed), seed)
    if planted in ("noise", "stretch"):
        bad = POISONED if planted == "noise" else STRETCH
        windows = PoisonedTokens(windows, vocab_size, {step * batch + row for step in bad for row in range(batch)})
    stretches = [(steps, 1.0)]
    if planted in ("x10", "x30"):
        stretches = [(FASTER_FROM, 1.0), (FASTER_UNTIL, float(planted[1:]))]
    state, stopped = new_state(recipe_of(asked, vocab_size, steps, 1.0), seed), False
    with tempfile.TemporaryDirectory() as out:
        where = StepContext("train", Path(out), {}, seed, 1, lambda progress: None)
        try:
            for until, times in stretches:
                recipe = recipe_of(asked, vocab_size, until, times)
                state = new_state(recipe, seed)  # the second stretch goes on from the first one's checkpoint
                Loop(recipe, state, windows, where).run("benchmark")
        except InputError:
            stopped = True
        rows = [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    guard = {"skips": state.guard.skipped_steps, "cuts": state.guard.cuts, "rewinds": state.guard.rewinds}
    return {
        "losses": [row["loss"] for row in rows],
        "norms": [row["grad_norm"] for row in rows],
        "end": held_out(state.model, data),
    } | (guard | {"stopped": stopped} if asked["guard"] else {})


@torch.no_grad()
def held_out(model: Decoder, data: Path) -> float | None:
    """Nats per token of validation windows, the same for every run; None where the weights are broken."""
    model.eval()
    windows = PackedTokens(data / "validation", model.config.context_tokens, 0)
    tokens, ids = (torch.from_numpy(part) for part in ShuffledWindows(windows, 0).batch(0, HELD_OUT_WINDOWS))
    loss = float(model.loss(tokens[:, :-1], tokens[:, 1:], ids[:, :-1]).item())
    return loss if math.isfinite(loss) else None


def judged(losses: list[float], norms: list[float], skips_before_cut: int | None = None) -> list[str]:
    """What the guard says of each update."""
    more = {} if skips_before_cut is None else {"skips_before_cut": skips_before_cut}
    guard = SpikeGuard(Spikes(skips_before_rewind=10**9, **more))
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


def traces(row: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Losses and norms, infinite where they are not finite."""
    losses, norms = ([math.inf if value is None else value for value in row[key]] for key in ("losses", "norms"))
    return losses, norms


def by_skips(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs with a cut for each number of skips that cuts, judged from trainings with the guard off."""
    table = []
    for skips in CUTS_TRIED:
        one: dict[str, Any] = {"skips_before_cut": skips}
        for planted in ("none", "noise", "x10", "x30"):
            said = [judged(*traces(row), skips) for row in rows if row["planted"] == planted and not row["guard"]]
            one[planted] = {"runs": len(said), "cut": sum("cut" in each for each in said)}
        table.append(one)
    return table


def ladder(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the guard did while it was on, and the held-out loss with it less without, paired by seed."""
    asked = ("shape", "kind", "planted")
    groups: dict[tuple[str, ...], dict[bool, dict[int, dict[str, Any]]]] = {}
    for row in rows:
        sides = groups.setdefault(tuple(row[key] for key in asked), {False: {}, True: {}})
        sides[row["guard"]][row["seed"]] = row
    table = []
    for key, sides in groups.items():
        if not sides[True]:
            continue
        on, off = ([sides[side][seed] for seed in sorted(sides[side])] for side in (True, False))
        one: dict[str, Any] = dict(zip(asked, key, strict=True)) | {"runs": len(on)}
        one |= {name: sum(row[name] for row in on) for name in ("skips", "cuts", "rewinds", "stopped")}
        one["runs_with_a_cut"] = sum(row["cuts"] > 0 for row in on)
        one["broken_without"] = sum(row["end"] is None for row in off)
        whole = [(a["end"], b["end"]) for a, b in zip(on, off, strict=True) if None not in (a["end"], b["end"])]
        if whole:
            one["with"], one["without"] = (mean_interval([pair[side] for pair in whole]) for side in (0, 1))
            one["saved"] = mean_interval([b - a for a, b in whole])
        table.append(one)
    return table


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each shape, optimiser and plant, of trainings with the guard off, by both rules."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["guard"]:
            continue
        found.setdefault((row["planted"], row["shape"], row["kind"]), []).append(row)
    table = []
    for (planted, shape, kind), group in found.items():
        one: dict[str, Any] = {"planted": planted, "shape": shape, "kind": kind, "runs": len(group)}
        for name, judge in (("now", judged), ("before", judged_before)):
            said = [judge(*traces(row)) for row in group]
            one[name] = {
                "updates": sum(map(len, said)),
                "skips": sum(s != "apply" for each in said for s in each),
                "cuts": sum(s == "cut" for each in said for s in each),
                "runs_with_a_cut": sum("cut" in each for each in said),
            }
            if planted in ("noise", "stretch"):
                one[name]["caught"] = sum(each[step] != "apply" for each in said for step in _bad(planted))
            elif planted != "none":
                one[name]["runs_caught"] = sum(any(s != "apply" for s in each[FASTER_FROM:]) for each in said)
        table.append(one)
    return table


def markdown(table: list[dict[str, Any]], skips: list[dict[str, Any]], on: list[dict[str, Any]]) -> str:
    """Four tables: healthy runs, planted trouble, numbers of skips, the ladder."""
    lines = [
        "| healthy | runs | updates | skips now | before | runs with a cut now | before |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in table:
        if one["planted"] == "none":
            now, before = one["now"], one["before"]
            lines.append(
                f"| {_shape(one)} | {one['runs']} | {now['updates']} | {now['skips']} | {before['skips']} | "
                f"{now['runs_with_a_cut']} | {before['runs_with_a_cut']} |"
            )
    lines += ["", "| planted | runs | caught now | before |", "|---|---|---|---|"]
    for one in table:
        told = []
        for name in ("now", "before"):
            said = one[name]
            if "caught" in said:
                told.append(f"{said['caught']} of {one['runs'] * len(_bad(one['planted']))}")
            elif "runs_caught" in said:
                told.append(f"{said['runs_caught']} of {one['runs']} ({said['skips']} updates)")
        if told:
            lines.append(f"| {_PLANTED[one['planted']]} | {one['runs']} | {told[0]} | {told[1]} |")
    lines += ["", "Runs with a cut, by the number of skips among 128 that cuts:", ""]
    lines += ["| skips | healthy | batches of noise | rates x10 | rates x30 |", "|---|---|---|---|---|"]
    for one in skips:
        cells = (f"{one[p]['cut']} of {one[p]['runs']}" for p in ("none", "noise", "x10", "x30"))
        lines.append(f"| {one['skips_before_cut']} | {' | '.join(cells)} |")
    lines += ["", "With the guard on, and the held-out loss after it (nats per token, paired by seed, 95 %):", ""]
    lines += ["| run | runs | skips | cuts (runs) | rewinds | stopped | with | without | without - with |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for one in on:
        cells = [one["runs"], one["skips"], f"{one['cuts']} ({one['runs_with_a_cut']})", one["rewinds"], one["stopped"]]
        saved = one.get("saved")
        cells += ["", "", "broken"] if saved is None else [f"{one[s]['mean']:.3f}" for s in ("with", "without")]
        if saved is not None:
            cells.append(f"{saved['mean']:+.3f} ({saved['low']:+.3f} to {saved['high']:+.3f})")
        lines.append(f"| {_shape(one)}: {_PLANTED[one['planted']]} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


_PLANTED = {
    "none": "healthy",
    "noise": "every 40th batch noise",
    "stretch": "ten batches of noise",
    "x10": "rates x10",
    "x30": "rates x30",
}


def _bad(planted: str) -> tuple[int, ...]:
    return POISONED if planted == "noise" else STRETCH


def _shape(one: dict[str, Any]) -> str:
    context, batch, _ = SHAPES[one["shape"]]
    return f"{one['kind']}, {batch} windows of {context}"


def write_traces(file: Path, rows: list[dict[str, Any]]) -> None:
    """The healthy traces, to three digits."""
    kept = [
        {"shape": row["shape"], "kind": row["kind"], "seed": row["seed"]}
        | {key: [float(f"{value:.3g}") for value in row[key]] for key in ("losses", "norms")}
        for row in rows
        if row["planted"] == "none" and not row["guard"]
    ]
    file.write_text("".join(json.dumps(one, separators=(",", ":")) + "\n" for one in kept), encoding="utf-8")


def main() -> None:
    """Train what is missing, judge, record."""
    parser = parser_of_pieces()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--traces", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    vocab_size = json.loads((options.data / "data.json").read_text(encoding="utf-8"))["vocab_size"]
    kept = Kept(options.trainings, options.seconds)
    try:
        rows = [
            kept.of(asked, lambda asked=asked: made(options.data, vocab_size, asked))
            for asked in questions(options.seeds)
        ]
    except MoreToDoError:
        sys.exit("more to do: the same command again")
    if options.traces:
        write_traces(options.traces, rows)
    table, skips, on = summary(rows), by_skips(rows), ladder(rows)
    here = circumstances("benchmarks.spikes", words=["--data", "DATA", "--trainings", "FILE"])
    head = f"""# The spike guard on healthy trainings and on planted trouble

{here["machine"]["cpu"]}, one thread, {here["date"]}, torch {here["packages"]["torch"]}. `{here["command"]}`, DATA of the demo (the standard library, {vocab_size:,} entries).

One layer of width 32, {options.seeds} seeds. Above the last table the guard is off, and losses and norms are judged afterwards. Now: {Spikes().sigmas:g} spreads (1.4826 median absolute deviations) above the median, norms by their
logarithm, a cut at {Spikes().skips_before_cut} skips among 128. Before: mean + 6 standard deviations, a cut at 3.

"""
    write("spikes", here | {"summary": table, "by_skips": skips, "ladder": on}, head + markdown(table, skips, on))


if __name__ == "__main__":
    main()
