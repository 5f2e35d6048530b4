"""Where the best learning rate lies at three widths, with `optimiser.base_width` and without it.

    python -m benchmarks.mup --trainings FILE [--seconds 540] [--kinds adamw muon]

Decoders that are alike but for their width (heads of one size, the feed-forward part in proportion) on bytes of the standard library:
every rate of a grid, every seed. FILE keeps the trainings that are done, so that the work can be done in pieces; with the last one the record is
written. A seed's best rate is the vertex of the parabola through the best rate of the grid and its neighbours, in log2; how far it moves from the narrowest
width to the widest is paired by seed. `regret` is the loss at a width with the rate that was best at the narrowest, less the least there.
"""

import argparse
import itertools
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aether.spec.errors import InputError
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.recipe_optimiser import DEFAULT_LR
from benchmarks.kept import Kept, MoreToDoError
from benchmarks.records import circumstances, mean_interval, write
from benchmarks.stdlib_bytes import Windows, held_out_loss, read, train

WIDTHS, SEEDS, CONTEXT, BATCH, STEPS, LAYERS, HEAD = (32, 64, 128), (0, 1, 2), 64, 8, 100, 2, 16
HELD_OUT_WINDOWS = 128
CENTRE = DEFAULT_LR | {"muon": 0.02}
"""The middle of a kind's grid."""
EXPONENTS = (-3, -2, -1, 0, 1, 2)
"""log2 of the grid's rates over its middle."""
GAIN_RATE, FINAL_GAIN = 0.03, 6.0
"""Of the narrowest width, tuned there by hand: with a last gain of 1 its logits stay small for want of updates."""


def recipe_of(kind: str, carried: bool, width: int, lr: float) -> TrainRecipe:
    """One training; `carried`: with the rates of the narrowest width carried to this one."""
    model = {
        "vocab_size": 256,
        "hidden_size": width,
        "layers": LAYERS,
        "heads": width // HEAD,
        "kv_heads": width // HEAD,
    }
    model |= {"head_size": HEAD, "mlp_size": 2 * width, "context_tokens": CONTEXT}
    optimiser = {"kind": kind, "muon_lr" if kind == "muon" else "lr": lr}
    optimiser |= {"base_width": WIDTHS[0]} if carried else {}
    optimiser |= {} if kind == "muon" else {"groups": [{"kind": "gains", "lr": GAIN_RATE}]}
    return TrainRecipe.model_validate(
        {
            "model": model,
            "steps": STEPS,
            "batch_sequences": BATCH,
            "precision": "bfloat16",
            "schedule": {"warmup_fraction": 0.1},
            "optimiser": optimiser,
            "initial": {"final_gain": FINAL_GAIN},
            "spikes": {"sigmas": 1e9},
            "watch": {"cost_share": 0.0},
        }
    )


def carry_out(kept: Kept, kinds: list[str]) -> list[dict[str, Any]]:
    """All trainings. Raises MoreToDoError. At the narrowest width nothing is carried: those rows are not carried."""
    text, held, rows = read(held_out=False), read(held_out=True), []
    for kind, seed, width, carried, exponent in itertools.product(kinds, SEEDS, WIDTHS, (False, True), EXPONENTS):
        if carried and width == WIDTHS[0]:
            continue
        question = {"kind": kind, "carried": carried, "width": width, "exponent": exponent, "seed": seed}

        def made(seed: int = seed, wanted: tuple[Any, ...] = (kind, carried, width, exponent)) -> dict[str, Any]:
            recipe = recipe_of(*wanted[:3], CENTRE[wanted[0]] * 2.0 ** wanted[3])
            try:
                found = train(recipe, Windows(text, CONTEXT, seed), seed)
            except InputError:
                return {"loss": None, "cpu_s": None}
            loss = held_out_loss(found.model, held, HELD_OUT_WINDOWS)
            return {"loss": loss if math.isfinite(loss) else None, "cpu_s": found.cpu_s}

        rows.append(kept.of(question, made))
    return rows


def vertex(losses: dict[int, float]) -> float:
    """log2 of the best rate over the grid's middle, between its points; the grid's end where the best is there."""
    best = min(losses, key=lambda e: losses[e])
    if best - 1 not in losses or best + 1 not in losses:
        return float(best)
    low, middle, high = (losses[best + step] for step in (-1, 0, 1))
    bend = low - 2 * middle + high
    return best + (0.5 * (low - high) / bend if bend > 0 else 0.0)


def summary(rows: list[dict[str, Any]], kind: str, carried: bool) -> dict[str, Any]:
    """Losses by width and rate, the best rate of each seed and width, how far it moves, and what keeping the narrowest's costs."""
    by: dict[tuple[int, int], dict[int, float]] = {}
    for row in rows:
        if (
            row["kind"] == kind
            and row["loss"] is not None
            and row["carried"] == (carried and row["width"] != WIDTHS[0])
        ):
            by.setdefault((row["width"], row["seed"]), {})[row["exponent"]] = row["loss"]
    best = {(width, seed): vertex(losses) for (width, seed), losses in by.items()}
    seeds = sorted({seed for _, seed in by})
    moved = [best[WIDTHS[-1], seed] - best[WIDTHS[0], seed] for seed in seeds]
    kept = {seed: min(by[WIDTHS[0], seed], key=lambda e: by[WIDTHS[0], seed][e]) for seed in seeds}
    regret = [by[WIDTHS[-1], s].get(kept[s], math.inf) - min(by[WIDTHS[-1], s].values()) for s in seeds]
    table = {
        str(width): {
            str(e): float(np.mean([by[width, s][e] for s in seeds if e in by[width, s]]))
            for e in EXPONENTS
            if any(e in by[width, s] for s in seeds)
        }
        for width in WIDTHS
    }
    return {
        "kind": kind,
        "carried": carried,
        "losses": table,
        "best": {str(w): mean_interval([best[w, s] for s in seeds]) for w in WIDTHS},
        "moved": mean_interval(moved),
        "regret": mean_interval(regret) if all(map(math.isfinite, regret)) else None,
    }


def signed(value: dict[str, float | int] | None) -> str:
    """A mean and its interval."""
    if value is None:
        return "diverged"
    ends = f" ({value['low']:+.2f} to {value['high']:+.2f})" if "low" in value else ""
    return f"{value['mean']:+.2f}{ends}"


def markdown(found: list[dict[str, Any]]) -> str:
    """Two tables: where the best rate is, and every loss."""
    lines = [
        "| optimiser | `base_width` | "
        + " | ".join(f"best at {w}" for w in WIDTHS)
        + " | moved | regret at the widest, nats |",
        "|---|---|" + "---|" * (len(WIDTHS) + 2),
    ]
    for one in found:
        places = " | ".join(f"{one['best'][str(w)]['mean']:+.2f}" for w in WIDTHS)
        told = WIDTHS[0] if one["carried"] else "none"
        regret = "diverged" if one["regret"] is None else f"{one['regret']['mean']:.3f}"
        lines.append(f"| {one['kind']} | {told} | {places} | {signed(one['moved'])} | {regret} |")
    lines += [
        "",
        "Loss by rate, mean over seeds:",
        "",
        "| optimiser | `base_width` | width | " + " | ".join(map(str, EXPONENTS)) + " |",
    ]
    lines.append("|---|---|---|" + "---|" * len(EXPONENTS))
    for one in found:
        for width in WIDTHS:
            losses = one["losses"][str(width)]
            cells = " | ".join(f"{losses[str(e)]:.3f}" if str(e) in losses else "-" for e in EXPONENTS)
            lines.append(f"| {one['kind']} | {WIDTHS[0] if one['carried'] else 'none'} | {width} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train what is missing; record when all is there."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trainings", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--kinds", nargs="+", choices=list(CENTRE), default=list(CENTRE))
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        rows = carry_out(Kept(options.trainings, options.seconds), options.kinds)
    except MoreToDoError:
        sys.exit("more to do: the same command again")
    found = [summary(rows, kind, carried) for kind in options.kinds for carried in (False, True)]
    words = ["--trainings", "FILE", "--kinds", *options.kinds]
    here = circumstances("benchmarks.mup", words=words)
    record = here | {
        "widths": WIDTHS,
        "seeds": SEEDS,
        "steps": STEPS,
        "batch": BATCH,
        "context": CONTEXT,
        "centre": CENTRE,
    }
    head = f"""# The best learning rate over widths, with and without `base_width`

{here["machine"]["cpu"]}, one thread, {here["date"]}, torch {here["packages"]["torch"]}. `{here["command"]}`

{LAYERS} layers, heads of {HEAD}, {STEPS} updates of {BATCH} windows of {CONTEXT} bytes of the standard library, {len(SEEDS)} seeds, widths {", ".join(map(str, WIDTHS))}.
Rates are log2 over the middle of a kind's grid ({", ".join(f"{k} {CENTRE[k]:g}" for k in options.kinds)}; Muon's own rate alone, the others of `muon` as
they are); best rates between the grid's points by a parabola, means over seeds; `moved` is from {WIDTHS[0]} to {WIDTHS[-1]}, paired by seed, 95 %.
Regret: held-out loss of the widest with the rate that was best at the narrowest, less its least. The last gain starts at {FINAL_GAIN:g} and gains learn at {GAIN_RATE:g}, both
tuned at {WIDTHS[0]}; with `base_width` they are carried too.

"""
    write("mup", record | {"summary": found, "trainings": rows}, head + markdown(found))


if __name__ == "__main__":
    main()
