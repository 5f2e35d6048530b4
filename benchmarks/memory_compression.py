"""What a smaller cache costs: loss by position of held-out code, against the bytes that the cache holds.

    python -m benchmarks.memory_compression
    python -m benchmarks.memory_compression --learnt --trainings FILE [--seconds 420]

The first trains one small decoder on the bytes of the standard library's modules (every eighth file held out), then reads held-out windows
token by token over each cache of `aether.models.compression` and over the whole one. The first `SCORED_FROM` tokens, which every cache
holds, are left out of the loss. Differences are paired by window, with a Student-t interval over windows. The second trains a decoder for each memory of `LEARNT` and
seed; FILE keeps what is trained, so that the work can be done in pieces.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aether.models.cache import Cache, KVCache
from aether.models.compression import QuantisedCache, SinkCache
from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder
from aether.stages.train.recipe import TrainRecipe
from benchmarks.kept import Kept, MoreToDoError
from benchmarks.records import circumstances, mean_interval, write
from benchmarks.stdlib_bytes import Trained, Windows, read, train

CONTEXT = 512
SCORED_FROM = 128
SHAPE = {
    "vocab_size": 256, "hidden_size": 128, "layers": 4, "heads": 4, "kv_heads": 2, "head_size": 32, "mlp_size": 352,
    "context_tokens": CONTEXT,
}  # fmt: skip


def trained(steps: int, seed: int, parts: dict[str, Any] | None = None) -> Trained:
    """The decoder, with `parts` exchanged."""
    model = SHAPE | (parts or {})
    recipe = TrainRecipe.model_validate({"model": model, "steps": steps, "batch_sequences": 4, "precision": "float32"})
    return train(recipe, Windows(read(held_out=False), CONTEXT, seed), seed)


@torch.inference_mode()
def losses(model: Decoder, tokens_ST: torch.Tensor, cache: Cache) -> tuple[np.ndarray, int]:
    """(nats of each token after the first [S, T - 1], the most bytes that the cache held), read token by token."""
    found, most = [], 0
    for place in range(tokens_ST.shape[1] - 1):
        logits = model.extend(tokens_ST[:, place : place + 1], cache)
        found.append(torch.nn.functional.cross_entropy(logits, tokens_ST[:, place + 1], reduction="none"))
        most = max(most, cache.bytes)
    return torch.stack(found, dim=1).numpy(), most


def caches(config: DecoderConfig, slots: int) -> dict[str, Callable[[], Cache]]:
    """Every cache that is measured, the whole one first."""
    found: dict[str, Callable[[], Cache]] = {"whole": lambda: KVCache.allocate(config, slots)}
    for bits in (8, 4):
        found[f"int{bits}"] = lambda bits=bits: QuantisedCache.of(config, slots, bits)
    for budget in (256, 128, 64):
        for sinks in (0, 4):
            name = f"{budget} tokens, {sinks} of them sinks"
            found[name] = lambda s=sinks, b=budget: SinkCache.of(config, slots, s, b - s)
    return found


def measure(model: Decoder, windows: int) -> list[dict[str, Any]]:
    """One row for each cache."""
    tokens, _ = Windows(read(held_out=True), CONTEXT, seed=1).batch(0, windows)
    tokens_ST = torch.from_numpy(tokens[:, :CONTEXT])
    rows, whole = [], None
    for name, make in caches(model.config, windows).items():
        began = time.perf_counter()
        nats, held = losses(model, tokens_ST, make())
        by_window = nats[:, SCORED_FROM:].mean(1)
        whole = by_window if whole is None else whole
        quarters = [nats[:, begin : begin + 128].mean() for begin in range(0, CONTEXT - 1, 128)]
        rows.append(
            {
                "cache": name,
                "bytes_per_sequence": held / windows,
                "loss": mean_interval(by_window.tolist()),
                "more_than_whole": mean_interval((by_window - whole).tolist()),
                "loss_by_quarter": [float(one) for one in quarters],
                "wall_s": time.perf_counter() - began,
            }
        )
        print(name, rows[-1]["bytes_per_sequence"], rows[-1]["loss"]["mean"], rows[-1]["more_than_whole"], flush=True)
    return rows


LEARNT = {
    "every earlier token": {},
    "a window of 64": {"window": 64},
    "segments of 64 and a memory": {"memory": {"segment_tokens": 64}},
    "segments of 64 and a memory by the delta rule": {"memory": {"segment_tokens": 64, "update": "delta"}},
}
"""What is trained with its cache: Infini-attention (arXiv 2404.07143v2, section 3.1) beside a plain window that holds as many keys."""


def learnt_one(name: str, seed: int, steps: int, windows: int) -> dict[str, Any]:
    """One of `LEARNT`, trained: loss of whole passes, which its cache equals (tested), by quarter and by window."""
    tokens, _ = Windows(read(held_out=True), CONTEXT, seed=1).batch(0, windows)
    tokens_ST = torch.from_numpy(tokens)
    found = trained(steps, seed, LEARNT[name])
    with torch.inference_mode():
        logits = torch.cat([found.model(part[:, :CONTEXT]) for part in tokens_ST.split(8)])
        nats = torch.nn.functional.cross_entropy(logits.mT, tokens_ST[:, 1:], reduction="none").numpy()
    config = found.model.config
    kept = config.window or CONTEXT
    return {
        "bytes_per_sequence": config.state_bytes(4) + kept * config.kv_bytes_per_token(4),
        "loss": float(nats[:, SCORED_FROM:].mean()),
        "loss_by_quarter": [float(nats[:, begin : begin + 128].mean()) for begin in range(0, CONTEXT, 128)],
        "trained_cpu_s": found.cpu_s,
    }


def learnt(kept: Kept, seeds: int, steps: int, windows: int) -> list[dict[str, Any]]:
    """One row for each of `LEARNT`, all trained alike; differences from the first are paired by seed. Raises MoreToDoError."""
    found = {
        (name, seed): kept.of(
            {"cache": name, "seed": seed, "steps": steps, "windows": windows},
            lambda name=name, seed=seed: learnt_one(name, seed, steps, windows),
        )
        for seed in range(seeds)
        for name in LEARNT
    }
    rows = []
    for name in LEARNT:
        mine, whole = ([found[n, seed] for seed in range(seeds)] for n in (name, next(iter(LEARNT))))
        rows.append(
            {
                "cache": name,
                "bytes_per_sequence": mine[0]["bytes_per_sequence"],
                "loss": mean_interval([one["loss"] for one in mine]),
                "more_than_whole": mean_interval([a["loss"] - b["loss"] for a, b in zip(mine, whole, strict=True)]),
                "loss_by_quarter": np.mean([one["loss_by_quarter"] for one in mine], axis=0).tolist(),
                "trained_cpu_s": [one["trained_cpu_s"] for one in mine],
            }
        )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| cache | KiB of a sequence | loss | more than whole (95 %) | loss by quarter of the window |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        more = row["more_than_whole"]
        interval = (
            ""
            if row["more_than_whole"]["mean"] == 0
            else f"{more['mean']:+.4f}" + (f" ({more['low']:+.4f} to {more['high']:+.4f})" if "low" in more else "")
        )
        quarters = ", ".join(f"{one:.3f}" for one in row["loss_by_quarter"])
        size, loss = row["bytes_per_sequence"] / 1024, row["loss"]["mean"]
        lines.append(f"| {row['cache']} | {size:.0f} | {loss:.4f} | {interval} | {quarters} |")
    return "\n".join(lines) + "\n"


def record_learnt(rows: list[dict[str, Any]], seeds: int, steps: int, windows: int) -> None:
    """Write the record of `learnt`."""
    here = circumstances(
        "benchmarks.memory_compression", words=["--learnt", "--steps", str(steps), "--trainings", "FILE"]
    )
    head = f"""# A memory that is learnt

{here["machine"]["cpu"]}, one thread, {here["date"]}, torch {here["packages"]["torch"]}, commit {here["commit"]}. `{here["command"]}`

Decoders of the shape of `memory_compression.md`, each trained alike from scratch ({steps} updates of 4 windows of {CONTEXT} bytes of the standard library,
{seeds} seeds, float32), and {windows} held-out windows. Loss in nats per byte from position {SCORED_FROM} on, mean over seeds; differences are paired by seed.

"""
    record = here | {"shape": SHAPE, "steps": steps, "seeds": seeds, "windows": windows, "scored_from": SCORED_FROM}
    write("memory_learnt", record | {"rows": rows}, head + table(rows))


def main() -> None:
    """Train, measure, record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--windows", type=int, default=48)
    parser.add_argument("--learnt", action="store_true", help="memories that are trained, in a record of their own")
    parser.add_argument("--seeds", type=int, default=3, help="of --learnt")
    parser.add_argument("--trainings", type=Path, help="of --learnt")
    parser.add_argument("--seconds", type=float, default=math.inf, help="of --learnt: begin no training after so many")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.learnt:
        if options.trainings is None:
            parser.error("--learnt needs --trainings")
        kept, asked = Kept(options.trainings, options.seconds), (options.seeds, options.steps, options.windows)
        try:
            rows = learnt(kept, *asked)
        except MoreToDoError:
            sys.exit("more to do: the same command again")
        record_learnt(rows, *asked)
        return
    found = trained(options.steps, seed=0)
    model = found.model
    rows = measure(model, options.windows)
    here = circumstances("benchmarks.memory_compression")
    record = here | {"shape": SHAPE, "steps": options.steps, "windows": options.windows, "scored_from": SCORED_FROM}
    record |= {"trained_cpu_s": found.cpu_s, "rows": rows}
    head = f"""# Caches that hold less

{here["machine"]["cpu"]}, one thread, {here["date"]}, torch {here["packages"]["torch"]}, commit {here["commit"]}. `{here["command"]}`

A decoder of {model.config.parameters():,} parameters, {options.steps} updates of 4 windows of {CONTEXT} bytes of the standard library (one seed, float32); then
{options.windows} held-out windows, read byte by byte. Loss in nats per byte from position {SCORED_FROM} on; differences are paired by window.

"""
    write("memory_compression", record, head + table(rows))


if __name__ == "__main__":
    main()
