"""Where the best learning rate lies at three widths, with `optimiser.base_width` and without it.

    python -m benchmarks.mup --trainings FILE [--seconds 540] [--kinds adamw muon]

Decoders that are alike but for their width (heads of one size, the feed-forward part in proportion) on bytes of the standard library:
every rate of a grid, every seed. First the last gain is tuned at the narrowest width, with a seed of its own, since muP carries what it finds there. FILE keeps
the trainings that are done, so that the work can be done in pieces; with the last one the record is written, with the coordinate check of
`mup_coordinates.py`. A seed's best rate is the vertex of the parabola through the best rate of the grid and its neighbours, in log2; how far it moves from the
narrowest width to the widest is paired by seed. `regret` is the loss at a width with the rate that was best at the narrowest, less the least there.
"""

import itertools
import math
import sys
from typing import Any

import numpy as np
import torch

from aether.spec.errors import InputError
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.recipe_optimiser import DEFAULT_LR
from benchmarks import mup_coordinates
from benchmarks.kept import Kept, MoreToDoError, parser_of_pieces
from benchmarks.records import circumstances, mean_interval, write
from benchmarks.stdlib_bytes import Windows, held_out_loss, read, train

WIDTHS, SEEDS, CONTEXT, BATCH, STEPS, LAYERS, HEAD = (32, 64, 128), (0, 1, 2), 64, 8, 200, 2, 16
HELD_OUT_WINDOWS, TUNING_SEED = 128, 100
CENTRE = DEFAULT_LR | {"muon": 0.02}
"""The middle of a kind's grid."""
EXPONENTS = (-2, -1, 0, 1, 2, 3)
"""log2 of the grid's rates over its middle."""
GAINS, TUNING_EXPONENTS, GAIN_RATE = (1.0, 3.0, 6.0, 12.0), (0, 1, 2), 0.03
"""First values of the last gain that are tried at the narrowest width, each at these rates; what it is learnt with there."""


def recipe_of(kind: str, carried: bool, width: int, lr: float, gain: float) -> TrainRecipe:
    """One training; `carried`: with the rates and the last `gain` of the narrowest width carried to this one."""
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
            "precision": "float32",
            "schedule": {"warmup_fraction": 0.1},
            "optimiser": optimiser,
            "initial": {"final_gain": gain},
            "spikes": {"sigmas": 1e9},
            "watch": {"cost_share": 0.0},
        }
    )


class Trainings:
    """Held-out losses of trainings, each made once. Raises MoreToDoError."""

    def __init__(self, kept: Kept) -> None:
        self._kept, self._text, self._held = kept, read(held_out=False), read(held_out=True)

    def row(self, kind: str, carried: bool, width: int, exponent: int, seed: int, gain: float) -> dict[str, Any]:
        """Loss and CPU seconds of one; a run that stopped for good has no loss."""
        question = {"kind": kind, "carried": carried, "width": width, "exponent": exponent, "seed": seed, "gain": gain}

        def made() -> dict[str, Any]:
            recipe = recipe_of(kind, carried, width, CENTRE[kind] * 2.0**exponent, gain)
            try:
                found = train(recipe, Windows(self._text, CONTEXT, seed), seed)
            except InputError:
                return {"loss": None, "cpu_s": None}
            loss = held_out_loss(found.model, self._held, HELD_OUT_WINDOWS)
            return {"loss": loss if math.isfinite(loss) else None, "cpu_s": found.cpu_s}

        return self._kept.of(question, made)

    def gain_of(self, kind: str) -> tuple[float, dict[str, float]]:
        """(the last gain with the least loss at the narrowest width, that of each)."""
        least = {}
        for gain in GAINS:
            rows = [self.row(kind, False, WIDTHS[0], e, TUNING_SEED, gain) for e in TUNING_EXPONENTS]
            least[gain] = min((row["loss"] for row in rows if row["loss"] is not None), default=math.inf)
        return min(least, key=lambda gain: least[gain]), {f"{gain:g}": loss for gain, loss in least.items()}


def carry_out(trainings: Trainings, kind: str, gain: float) -> list[dict[str, Any]]:
    """Every training of a kind. At the narrowest width nothing is carried: those rows are not carried."""
    rows = []
    for seed, width, carried, exponent in itertools.product(SEEDS, WIDTHS, (False, True), EXPONENTS):
        if not carried or width != WIDTHS[0]:
            rows.append(trainings.row(kind, carried, width, exponent, seed, gain))
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
    kept = {seed: min(by[WIDTHS[0], seed], key=lambda e: by[WIDTHS[0], seed][e]) for seed in seeds}
    table = {
        str(width): {
            str(e): float(np.mean([by[width, s][e] for s in seeds if e in by[width, s]]))
            for e in EXPONENTS
            if any(e in by[width, s] for s in seeds)
        }
        for width in WIDTHS
    }
    found: dict[str, Any] = {"kind": kind, "carried": carried, "losses": table, "moved": {}, "least": {}, "regret": {}}
    found["best"] = {str(w): mean_interval([best[w, s] for s in seeds]) for w in WIDTHS}
    found["at_an_end"] = sum(best[w, s] in (EXPONENTS[0], EXPONENTS[-1]) for w in WIDTHS for s in seeds)
    for width in WIDTHS:
        name, least = str(width), [min(by[width, s].values()) for s in seeds]
        regret = [by[width, s].get(kept[s], math.inf) - low for s, low in zip(seeds, least, strict=True)]
        found["least"][name] = mean_interval(least)
        found["moved"][name] = mean_interval([best[width, s] - best[WIDTHS[0], s] for s in seeds])
        found["regret"][name] = mean_interval(regret) if all(map(math.isfinite, regret)) else None
    return found


def signed(value: dict[str, float | int] | None, form: str = "+.2f") -> str:
    """A mean and its interval."""
    if value is None:
        return "diverged"
    ends = f" ({value['low']:{form}} to {value['high']:{form}})" if "low" in value else ""
    return f"{value['mean']:{form}}{ends}"


def markdown(found: list[dict[str, Any]]) -> str:
    """Two tables: where the best rate is, and every loss."""
    lines = [
        "| optimiser | `base_width` | width | best rate | moved | least loss | regret with the narrowest's rate |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        told = WIDTHS[0] if one["carried"] else "none"
        for width in map(str, WIDTHS):
            first = width == str(WIDTHS[0])
            if first and one["carried"]:
                continue
            cells = [signed(one["best"][width]), "" if first else signed(one["moved"][width])]
            cells += [signed(one["least"][width], ".3f"), "" if first else signed(one["regret"][width], "+.3f")]
            lines.append(f"| {one['kind']} | {told} | {width} | {' | '.join(cells)} |")
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
    parser = parser_of_pieces()
    parser.add_argument("--kinds", nargs="+", choices=list(CENTRE), default=list(CENTRE))
    options = parser.parse_args()
    torch.set_num_threads(1)
    trainings, found, rows, gains = Trainings(Kept(options.trainings, options.seconds)), [], [], {}
    try:
        for kind in options.kinds:
            gain, tried = trainings.gain_of(kind)
            gains[kind] = {"chosen": gain, "tried": tried}
            mine = carry_out(trainings, kind, gain)
            found += [summary(mine, kind, carried) for carried in (False, True)]
            rows += mine
    except MoreToDoError:
        sys.exit("more to do: the same command again")
    record_it(options.kinds, gains, found, rows)


def record_it(kinds: list[str], gains: dict[str, Any], found: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Check the coordinates and write the record."""

    def recipe(kind: str, carried: bool, width: int) -> TrainRecipe:
        return recipe_of(kind, carried, width, 2 * CENTRE[kind], gains[kind]["chosen"])

    checked = [mup_coordinates.check(kind, carried, recipe) for kind in kinds for carried in (False, True)]
    here = circumstances("benchmarks.mup", words=["--trainings", "FILE", "--kinds", *kinds])
    record = here | {"widths": WIDTHS, "seeds": SEEDS, "steps": STEPS, "batch": BATCH, "context": CONTEXT}
    record |= {"centre": CENTRE, "gains": gains, "coordinates": checked, "summary": found, "trainings": rows}
    told = "; ".join(f"{kind} {one['chosen']:g} of {', '.join(one['tried'])}" for kind, one in gains.items())
    ends = sum(one["at_an_end"] for one in found)
    head = f"""# The best learning rate over widths, with and without `base_width`

{here["machine"]["cpu"]}, one thread, {here["date"]}, torch {here["packages"]["torch"]}. `{here["command"]}`

{LAYERS} layers, heads of {HEAD}, {STEPS} updates of {BATCH} windows of {CONTEXT} bytes of the standard library, float32, {len(SEEDS)} seeds, widths {", ".join(map(str, WIDTHS))}.
Rates are log2 over the middle of a kind's grid ({", ".join(f"{k} {CENTRE[k]:g}" for k in kinds)}; Muon's own rate alone, the others of `muon` as
they are); best rates between the grid's points by a parabola, 95 % over seeds; `moved` is from {WIDTHS[0]}, paired by seed. Best rates at an end of the grid: {ends}.
Losses are held-out nats per byte; regret: with the rate that was best at {WIDTHS[0]}, less the least at that width. The last gain's first value was tuned at {WIDTHS[0]} with
another seed ({told}); it learns at {GAIN_RATE:g} there, and with `base_width` both are carried.

"""
    write("mup", record, head + markdown(found) + mup_coordinates.markdown(checked))


if __name__ == "__main__":
    main()
