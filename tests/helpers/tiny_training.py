"""Trainings of seconds on streams that can be learnt, and runs that die where they are told to."""

import json
from pathlib import Path

import pytest
import torch
from tiny_data import VOCABULARY

from aether.models.config import DecoderConfig
from aether.spec.run import Progress, StepContext
from aether.stages.train.fakes import CountingTokens
from aether.stages.train.loop import Loop, new_state
from aether.stages.train.recipe import TrainRecipe

CONFIG = DecoderConfig(
    vocab_size=VOCABULARY, hidden_size=32, layers=2, heads=2, kv_heads=1, head_size=16, mlp_size=64, context_tokens=16
)  # fmt: skip


def recipe(**changes) -> TrainRecipe:
    return TrainRecipe(**({"model": CONFIG, "steps": 40, "batch_sequences": 4, "precision": "float32"} | changes))


def context(out: Path, data: Path | None = None, heard: list[Progress] | None = None) -> StepContext:
    heard = [] if heard is None else heard
    return StepContext("train", out, {} if data is None else {"data": data}, 0, 1, heard.append)


def train(out: Path, wanted: TrainRecipe, data=None, heard: list[Progress] | None = None):
    state = new_state(wanted, seed=0)
    Loop(wanted, state, data or CountingTokens(VOCABULARY, 16), context(out, heard=heard)).run("test")
    return state


def same_weights(one, two) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))


def lines(folder: Path, name: str = "metrics.jsonl") -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


class Cut(Exception):
    pass


def cut_short(out: Path, wanted: TrainRecipe, steps: int) -> None:
    """Run to `steps`, checkpointing each, and die; a half-written line stays behind."""

    class Dying:
        def __init__(self):
            self.inner = CountingTokens(VOCABULARY, 16)

        def batch(self, first, count):
            if first >= steps * wanted.batch_sequences:
                raise Cut
            return self.inner.batch(first, count)

    with pytest.raises(Cut):
        train(out, wanted.model_copy(update={"checkpoint_every_s": 1e-9}), Dying())
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99')
