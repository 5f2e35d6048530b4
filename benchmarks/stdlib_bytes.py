"""The bytes of Python's standard library as a stream to train on, and small trainings on it: no tokenizer, no download.

Another Python has other bytes. Windows of a batch are of all places, documents are not told apart.
"""

import json
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aether.models.decoder import Decoder
from aether.spec.run import StepContext
from aether.stages.train.loop import Batches, Loop, new_state
from aether.stages.train.recipe import TrainRecipe


def read(held_out: bool) -> np.ndarray:
    """The bytes of the standard library's top modules; of every eighth, or of the others."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    chosen = [file for place, file in enumerate(files) if (place % 8 == 0) == held_out]
    return np.frombuffer(b"\n\n".join(file.read_bytes() for file in chosen), dtype=np.uint8).astype(np.int64)


class Windows:
    """Windows of `context` + 1 bytes at random places; window `index` is a function of the seed and its number."""

    def __init__(self, stream: np.ndarray, context: int, seed: int) -> None:
        self.stream, self.context, self.seed = stream, context, seed

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(tokens [n, T + 1], document ids [n, T + 1])."""
        rows = []
        for index in range(first, first + count):
            start = int(np.random.default_rng((self.seed, index)).integers(len(self.stream) - self.context - 1))
            rows.append(self.stream[start : start + self.context + 1])
        tokens = np.stack(rows)
        return tokens, np.zeros_like(tokens)


@dataclass(frozen=True)
class Trained:
    """What a training left: its model, the CPU seconds of its updates, and the lines of its metrics."""

    model: Decoder
    cpu_s: float
    rows: list[dict[str, Any]]


def train(recipe: TrainRecipe, data: Batches, seed: int) -> Trained:
    """One training in this process, in a folder that goes away."""
    with tempfile.TemporaryDirectory() as out:
        context = StepContext("train", Path(out), {}, seed, 1, lambda progress: None)
        state = new_state(recipe, seed)
        began_s = time.process_time()
        Loop(recipe, state, data, context).run("benchmark")
        cpu_s = time.process_time() - began_s
        rows = [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return Trained(state.model.eval(), cpu_s, rows)


@torch.no_grad()
def held_out_loss(model: Decoder, stream: np.ndarray, windows: int) -> float:
    """Nats per byte over windows of a held-out stream, the same for every model."""
    tokens = torch.from_numpy(Windows(stream, model.config.context_tokens, seed=1).batch(0, windows)[0])
    return float(np.mean([model.loss(part[:, :-1], part[:, 1:]).item() for part in tokens.split(32)]))
