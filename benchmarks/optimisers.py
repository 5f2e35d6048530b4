"""Every `optimiser.kind` at one small scale, each tuned first: held-out loss at equal tokens and at equal CPU seconds.

    python -m benchmarks.optimisers --trainings FILE [--seconds 540]

One decoder on bytes of the standard library. Tuning, with a seed of its own: a grid of the blocks' rate, then of the embedding's and the last gain's (one rate) beside the best of it,
then of the blocks' again beside that; a best value at an end of its grid moves the end. Then three seeds with what was best: at equal tokens, and with as many updates as AdamW's CPU seconds at equal tokens
buy, by each kind's own seconds of an update there. Differences from AdamW are paired by seed. FILE keeps the trainings that are done.
"""

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from aether.spec.errors import InputError
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.recipe_optimiser import DEFAULT_LR
from benchmarks.kept import Kept, MoreToDoError, parser_of_pieces
from benchmarks.records import circumstances, mean_interval, write
from benchmarks.stdlib_bytes import Windows, held_out_loss, read, train

SHAPE = {
    "vocab_size": 256, "hidden_size": 64, "layers": 2, "heads": 4, "kv_heads": 4, "head_size": 16, "mlp_size": 128,
    "context_tokens": 64,
}  # fmt: skip
STEPS, BATCH, SEEDS, TUNING_SEED, HELD_OUT = 150, 8, (0, 1, 2), 100, 128
CENTRE = DEFAULT_LR | {"muon": 0.02}
RATE_EXPONENTS, EMBEDDING_EXPONENTS = (-1, 0, 1), (-1, 0, 1)
"""log2 of the blocks' rate over the kind's middle, log4 of the embedding's over the one it would have: where the grids begin."""
KINDS = ("adamw", "muon", "soap", "lion", "adafactor", "schedule_free")


def optimiser_of(kind: str, exponent: int, embedding: int) -> dict[str, Any]:
    """The recipe's `optimiser` at a point of the grid."""
    lr, factor = CENTRE[kind] * 2.0**exponent, 4.0**embedding
    if kind == "muon":
        return {"kind": kind, "muon_lr": lr, "embedding_lr": 0.03 * factor, "gain_lr": 0.03 * factor}
    own = CENTRE[kind] * factor
    return {"kind": kind, "lr": lr, "groups": [{"kind": of, "lr": own} for of in ("embedding", "gains")]}


class Trainings:
    """Trainings of the one decoder, each made once."""

    def __init__(self, kept: Kept) -> None:
        self._kept, self._text, self._held = kept, read(held_out=False), read(held_out=True)

    def row(self, kind: str, exponent: int, embedding: int, steps: int, seed: int) -> dict[str, Any]:
        """Loss and CPU seconds of one; a run that stopped for good has an infinite loss, kept as None."""
        question = {"kind": kind, "exponent": exponent, "embedding": embedding, "steps": steps, "seed": seed}
        return self._kept.of(question, lambda: self._made(**question))

    def _made(self, kind: str, exponent: int, embedding: int, steps: int, seed: int) -> dict[str, Any]:
        recipe = TrainRecipe.model_validate(
            {
                "model": SHAPE,
                "steps": steps,
                "batch_sequences": BATCH,
                "schedule": {"warmup_fraction": 0.05},
                "optimiser": optimiser_of(kind, exponent, embedding),
                "watch": {"cost_share": 0.0},
            }
        )
        try:
            found = train(recipe, Windows(self._text, SHAPE["context_tokens"], seed), seed)
        except InputError as error:
            return {"loss": None, "cpu_s": None, "said": str(error)}
        loss = held_out_loss(found.model, self._held, HELD_OUT)
        return {"loss": loss if math.isfinite(loss) else None, "cpu_s": found.cpu_s}

    def tuned(self, kind: str) -> tuple[int, int]:
        """(exponent of the blocks' rate, of the embedding's) with the least loss."""

        def loss(exponent: int, embedding: int) -> float:
            found = self.row(kind, exponent, embedding, STEPS, TUNING_SEED)["loss"]
            return math.inf if found is None else found

        rate = best_of(RATE_EXPONENTS, lambda e: loss(e, 0))
        own = best_of(EMBEDDING_EXPONENTS, lambda e: loss(rate, e))
        return best_of((rate - 1, rate, rate + 1), lambda e: loss(e, own)), own


def best_of(grid: tuple[int, ...], loss: Callable[[int], float]) -> int:
    """The point with the least loss, inside the grid: a best end moves it by one, five times at most."""
    points = list(grid)
    for _ in range(5):
        best = min(points, key=loss)
        if best not in (points[0], points[-1]):
            break
        points = [points[0] - 1, *points] if best == points[0] else [*points, points[-1] + 1]
    return min(points, key=loss)


def measure(trainings: Trainings) -> list[dict[str, Any]]:
    """A row for each kind."""
    rows = []
    for kind in KINDS:
        point = trainings.tuned(kind)
        equal = [trainings.row(kind, *point, STEPS, seed) for seed in SEEDS]
        step_s = float(np.mean([one["cpu_s"] for one in equal])) / STEPS
        rows.append(
            {"kind": kind, "tuned": optimiser_of(kind, *point), "step_s": step_s, "tokens": equal, "point": point}
        )
    budget_s = rows[0]["step_s"] * STEPS
    for row in rows:
        steps = max(1, round(budget_s / row["step_s"]))
        row["seconds"] = [trainings.row(row["kind"], *row["point"], steps, seed) for seed in SEEDS]
        row["updates_for_seconds"] = steps
    for row in rows:
        for budget in ("tokens", "seconds"):
            losses, base = ([one["loss"] for one in r[budget]] for r in (row, rows[0]))
            row[f"loss_at_equal_{budget}"] = mean_interval(losses)
            row[f"less_adamw_{budget}"] = mean_interval([a - b for a, b in zip(losses, base, strict=True)])
    return rows


def told(value: dict[str, float | int], sign: str = "") -> str:
    """A mean with its interval."""
    return f"{value['mean']:{sign}.3f} ({value['low']:{sign}.3f} to {value['high']:{sign}.3f})"


def markdown(rows: list[dict[str, Any]]) -> str:
    """One table."""
    lines = [
        "| kind | rates | equal tokens: loss | less AdamW | ms of an update | equal seconds: updates | loss | less AdamW |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        rates = ", ".join(f"{k} {v:g}" for k, v in row["tuned"].items() if isinstance(v, float))
        rates += "".join(f", embedding {group['lr']:g}" for group in row["tuned"].get("groups", [])[:1])
        both = ["" if row["kind"] == KINDS[0] else told(row[f"less_adamw_{b}"], "+") for b in ("tokens", "seconds")]
        lines.append(
            f"| `{row['kind']}` | {rates} | {told(row['loss_at_equal_tokens'])} | {both[0]} | {1e3 * row['step_s']:.1f} | "
            f"{row['updates_for_seconds']} | {told(row['loss_at_equal_seconds'])} | {both[1]} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Tune, train, record."""
    options = parser_of_pieces().parse_args()
    torch.set_num_threads(1)
    try:
        rows = measure(Trainings(Kept(options.trainings, options.seconds)))
    except MoreToDoError:
        sys.exit("more to do: the same command again")
    here = circumstances("benchmarks.optimisers", words=["--trainings", "FILE"])
    record = here | {"shape": SHAPE, "steps": STEPS, "batch": BATCH, "tuning_seed": TUNING_SEED, "rows": rows}
    head = f"""# Optimisers at one small scale, each tuned

{here["machine"]["cpu"]}, one thread with other work beside it, {here["date"]}, torch {here["packages"]["torch"]}. `{here["command"]}`

A decoder of width {SHAPE["hidden_size"]} and {SHAPE["layers"]} layers, {STEPS} updates of {BATCH} windows of {SHAPE["context_tokens"]} bytes of the standard library in bfloat16;
held-out nats per byte, three seeds, 95 %; differences paired by seed. Tuned with another seed: the blocks' rate by factors of two, the embedding's and last gain's by factors of four, the blocks' again; no best rate lies at an end of what was tried.

"""
    write("optimisers", record, head + markdown(rows))


if __name__ == "__main__":
    main()
