"""What updates wait for data, with text tokenised by 0, 1 and 2 worker processes while it trains.

    python -m benchmarks.data_wait [--json]

The real loop over Python's standard library as texts.jsonl, bfloat16, one thread for the updates, as one text and as a mixture of two. The share is
of all updates' wall time. Before the first one, workers start and the first block of each text is tokenised: that start is timed apart. The losses of
every number of workers must be equal to the bit.
"""

import argparse
import json
import statistics
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from aether.models.host import keep_freed_memory
from aether.planning.ladder import decoder
from aether.spec.run import StepContext
from aether.stages.data.tokenizer import save_tokenizer, train_tokenizer
from aether.stages.train.batches import MixedWindows, windows
from aether.stages.train.loop import Loop, new_state
from aether.stages.train.metrics import read_lines
from aether.stages.train.recipe import Mixture, TrainRecipe
from aether.stages.train.recipe_data import Source
from aether.stages.train.streaming import StreamedWindows
from benchmarks.records import circumstances, write

VOCABULARY, CONTEXT = 4096, 256
SHAPES = ((128, 2, 16, 100),)
"""(width, layers, windows, updates): the demo's size."""
WORKERS = (0, 1, 2)
_SAMPLE_BYTES = 2_000_000
"""Text that the tokenizer is learnt from."""


def corpus(folder: Path) -> None:
    """Write all.jsonl, its halves even.jsonl and odd.jsonl, and data/tokenizer."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*/*.py"))
    texts = [text for file in files if (text := file.read_text(encoding="utf-8", errors="ignore")).strip()]
    for name, part in {"all": texts, "even": texts[::2], "odd": texts[1::2]}.items():
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as lines:
            lines.writelines(json.dumps({"text": text}) + "\n" for text in part)
    sample, size = [], 0
    for text in texts[:: max(1, len(texts) // 400)]:
        sample.append(text)
        size += len(text)
        if size > _SAMPLE_BYTES:
            break
    save_tokenizer(train_tokenizer(iter(sample), VOCABULARY), folder / "data" / "tokenizer")


def measure(folder: Path, shape: tuple[int, int, int, int], workers: int, mixed: bool) -> dict[str, Any]:
    """One training."""
    width, layers, batch, updates = shape
    names = ("even", "odd")
    texts: Any = {name: str(folder / f"{name}.jsonl") for name in names} if mixed else str(folder / "all.jsonl")
    sources = tuple(Source(input=name, weight=1) for name in names) if mixed else ()
    recipe = TrainRecipe(
        model=decoder(width, layers, VOCABULARY, CONTEXT),
        steps=updates,
        batch_sequences=batch,
        texts=texts,
        mixture=Mixture(sources=sources),
        workers=workers,
    )
    inputs, out = {"data": folder / "data"}, folder / f"{width}-{workers}-{mixed}"
    batches = windows(recipe, inputs, 0)
    assert isinstance(batches, StreamedWindows | MixedWindows)
    began_s = time.perf_counter()
    batches.ready()
    start_s = time.perf_counter() - began_s
    Loop(recipe, new_state(recipe, 0), batches, StepContext("train", out, inputs, 0, 1, lambda progress: None)).run("x")
    batches.close()
    rows = read_lines(out / "metrics.jsonl")
    waits, steps = [row["data_wait_s"] for row in rows], [row["step_s"] for row in rows]
    return {
        "width": width,
        "layers": layers,
        "windows": batch,
        "updates": updates,
        "workers": workers,
        "texts": 1 + mixed,
        "start_s": start_s,
        "wait_share": sum(waits) / sum(steps),
        "wait_share_after_first": sum(waits[1:]) / sum(steps[1:]),
        "longest_wait_s": max(waits[1:]),
        "first_wait_s": waits[0],
        "step_s_median": statistics.median(steps),
        "tokens_per_s": batch * CONTEXT * updates / sum(steps),
        "losses": [row["loss"] for row in rows],
    }


def markdown(record: dict[str, Any]) -> str:
    """The record as a table."""
    lines = ["# What updates wait for data that is tokenised meanwhile", ""]
    machine = record["machine"]
    lines += [
        f"{record['date']}, {machine['cpu']}, {machine['cores']} cores, torch {record['packages']['torch']}. `{record['command']}`",
        "",
    ]
    lines += ["Losses of 0, 1 and 2 workers are equal to the bit: " + ("yes." if record["losses_equal"] else "NO."), ""]
    lines += [
        "| width, layers, windows, updates | texts | workers | start | waiting, share | first update | longest wait after it | update, median | tokens/s |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for row in record["trainings"]:
        lines.append(
            f"| {row['width']}, {row['layers']}, {row['windows']}, {row['updates']} | {row['texts']} | {row['workers']} "
            f"| {row['start_s']:.2f} s | {row['wait_share']:.2%} | {1e3 * row['first_wait_s']:.1f} ms | {1e3 * row['longest_wait_s']:.1f} ms | {1e3 * row['step_s_median']:.1f} ms "
            f"| {row['tokens_per_s']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        corpus(folder)
        choices = [(mixed, workers) for mixed in (False, True) for workers in WORKERS]
        rows = [measure(folder, shape, workers, mixed) for shape in SHAPES for mixed, workers in choices]
    losses: dict[tuple[int, int], list[list[float]]] = {}
    for row in rows:
        losses.setdefault((row["width"], row["texts"]), []).append(row.pop("losses"))
    equal = all(one == of_shape[0] for of_shape in losses.values() for one in of_shape)
    record = circumstances("benchmarks.data_wait", "tokenizers") | {"losses_equal": equal, "trainings": rows}
    path = write("data_wait", record, markdown(record))
    print(json.dumps(record) if asked.json else path.with_suffix(".md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
