"""Logs as trainers write them, for curves that a test chooses: every format with the same numbers."""

import json
import math
import random
from collections.abc import Callable, Sequence

Curve = Sequence[dict[str, float]]


def healthy(steps: int = 200, seed: int = 0) -> list[dict[str, float]]:
    """A loss that falls with noise, under warm-up and cosine decay."""
    draw = random.Random(seed)
    rows = []
    for step in range(1, steps + 1):
        warm = min(1.0, step / 20)
        rate = 3e-4 * warm * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        loss = 2.0 + 8.0 * math.exp(-step / 60) - 0.0015 * step + draw.gauss(0, 0.02)
        rows.append(
            {
                "step": step,
                "loss": loss,
                "grad_norm": 0.8 + draw.gauss(0, 0.05),
                "learning_rate": rate,
                "step_time_s": 0.5,
                "tokens_per_s": 8000.0,
            }
        )
    return rows


def as_transformers(rows: Curve) -> str:
    """Dictionaries as the Trainer prints them; without steps."""

    def line(row):
        said = {
            "loss": round(row["loss"], 4),
            "grad_norm": row["grad_norm"],
            "learning_rate": row["learning_rate"],
            "epoch": round(row["step"] / 100, 2),
        }
        return str(said)

    return "\n".join(map(line, rows))


def as_megatron(rows: Curve) -> str:
    """Megatron-LM's line of a step."""
    return "\n".join(
        f" [2026-11-25 10:00:00] iteration {r['step']:8d}/{len(rows):8d} | consumed samples: {r['step'] * 64:12d} | elapsed time per iteration (ms): "
        f"{r['step_time_s'] * 1000:.1f} | learning rate: {r['learning_rate']:.6E} | global batch size: {64:5d} | lm loss: {r['loss']:.6E} | "
        f"loss scale: 1.0 | grad norm: {r['grad_norm']:.3f} | number of skipped iterations: {0:3d} | number of nan iterations: {0:3d} |"
        for r in rows
    )


def as_torchtitan(rows: Curve) -> str:
    """torchtitan's coloured line."""
    return "\n".join(
        f"[rank0]:2026-11-25 10:00:00,123 - root - INFO - \x1b[31mstep: {r['step']:2}  \x1b[32mloss: {r['loss']:7.4f}  \x1b[33mgrad_norm: {r['grad_norm']:7.4f}  "
        f"\x1b[36mmemory: 30.12GiB(38.01%)  \x1b[34mtps: {round(r['tokens_per_s']):,}  \x1b[35mmfu: 41.20%\x1b[39m"
        for r in rows
    )


def as_nanogpt(rows: Curve) -> str:
    """nanoGPT's line of an iteration."""
    return "\n".join(
        f"iter {r['step']}: loss {r['loss']:.4f}, time {r['step_time_s'] * 1000:.2f}ms, mfu 12.34%" for r in rows
    )


def as_jsonl(rows: Curve) -> str:
    """One object a line, as LLaMA-Factory and Aether write."""
    return "\n".join(json.dumps(r) for r in rows)


def as_csv(rows: Curve) -> str:
    """A table, as experiment trackers export."""
    names = list(rows[0])
    return "\n".join([",".join(names), *(",".join(str(r[n]) for n in names) for r in rows)])


FORMATS: dict[str, Callable[[Curve], str]] = {
    "transformers": as_transformers,
    "megatron": as_megatron,
    "torchtitan": as_torchtitan,
    "nanogpt": as_nanogpt,
    "jsonl": as_jsonl,
    "csv": as_csv,
}
