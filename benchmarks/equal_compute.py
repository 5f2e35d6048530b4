"""What the arms of `loss_per_compute.py` and `training_step.py` share, in any environment: torch and numpy only, nothing of Aether.

A folder of work holds `windows-<seed>.npy` [N, T + 1], `held-out.npz` (windows padded to T + 1, their lengths, the bytes behind them)
and `shape.json`. Every arm is charged by the processor's clock, so its schedule follows the share of the budget that is spent.
"""

import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SCORING_BATCH = 16
WARMUP_SHARE = 0.05


class CpuClock:
    """CPU-seconds of this process since the clock was made."""

    def __init__(self, budget_s: float) -> None:
        self.budget_s = budget_s
        self._start_s = time.process_time()

    def spent_s(self) -> float:
        """CPU-seconds so far."""
        return time.process_time() - self._start_s

    def share(self) -> float:
        """The share of the budget that is spent."""
        return self.spent_s() / self.budget_s


@dataclass(frozen=True)
class Shape:
    """A dense decoder's sizes, under the names of the field."""

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    mlp_size: int
    context_tokens: int


@dataclass(frozen=True)
class Settings:
    """What is tuned of a peer."""

    lr: float
    batch: int = 4
    beta2: float = 0.95
    weight_decay: float = 0.1
    schedule: str = "linear"  # "linear" to zero, or "cosine" to a tenth
    bf16: bool = True

    def factor(self, share: float) -> float:
        """Share of the peak learning rate when that share of the budget is spent: a warm-up of a twentieth, then the fall."""
        if share < WARMUP_SHARE:
            return share / WARMUP_SHARE
        done = min(1.0, (share - WARMUP_SHARE) / (1 - WARMUP_SHARE))
        return 1 - done if self.schedule == "linear" else 0.1 + 0.45 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class Arm:
    """One training: who, how, for how long, on which order of the data."""

    side: str
    settings: dict[str, object]
    budget_cpu_s: float
    seed: int
    work: str

    @property
    def shape(self) -> Shape:
        """The sizes that every arm has."""
        return Shape(**json.loads((Path(self.work) / "shape.json").read_text(encoding="utf-8")))

    def windows(self) -> np.ndarray:
        """The training windows [N, T + 1] of this seed, memory-mapped."""
        return np.load(Path(self.work) / f"windows-{self.seed}.npy", mmap_mode="r")


@dataclass(frozen=True)
class Result:
    """What a training cost, and what it reached."""

    cpu_s: float
    steps: int
    tokens: int
    parameters: int
    bits_per_byte: float


def serve(train: Callable[[Arm], Result]) -> None:
    """A training for each arm on standard input, its result on standard output; each in a process of its own.

    The processes are forks of this one, so that libraries are imported once (those that torch imports with the first optimiser too)
    and no training is charged for it; nothing was computed here before.
    """
    importlib.import_module("torch._dynamo")
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)
            print(json.dumps(asdict(train(Arm(**json.loads(line))))), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"a training ended with status {status}: {line}")


def batches(windows: np.ndarray, count: int) -> Iterator[Tensor]:
    """Windows [B, T + 1] as int64, each window once."""
    for first in range(0, len(windows) - count + 1, count):
        yield torch.from_numpy(windows[first : first + count].astype(np.int64))


@torch.inference_mode()
def bits_per_byte(logits: Callable[[Tensor], Tensor], work: Path) -> float:
    """Of the held-out windows; every token after a document's separator once, in float32."""
    held = np.load(work / "held-out.npz")
    windows, lengths = torch.from_numpy(held["windows"].astype(np.int64)), torch.from_numpy(held["lengths"])
    nats = 0.0
    for window, length in zip(windows.split(SCORING_BATCH), lengths.split(SCORING_BATCH), strict=True):
        targets = window[:, 1:].clone()
        targets[torch.arange(targets.shape[1]) >= length[:, None]] = -100
        found = logits(window[:, :-1]).float().flatten(0, 1)
        nats += float(F.cross_entropy(found, targets.flatten(), reduction="sum"))
    return nats / math.log(2) / float(held["size_bytes"])
