"""SIGKILL amid the ladder: a run killed on each rung, over a mixture or over text that workers tokenise, ends as one never killed."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_data import write_tiny_data
from tiny_training import lines, recipe

from aether.spec.run import StepContext
from aether.stages.data.tokenizer import save_tokenizer, train_tokenizer
from aether.stages.train import checkpoint
from aether.stages.train.batches import ShuffledWindows, windows
from aether.stages.train.fakes import PoisonedTokens
from aether.stages.train.loop import Loop, new_state
from aether.stages.train.recipe import Schedule, TrainRecipe
from aether.stages.train.recipe_watch import Spikes

torch.set_num_threads(1)
NOISE = (60, 64, 68, 80, 81, 82, 83, 84)
"""Updates whose batch is noise: three within the window, later five in a row."""
KILLS = (61, 66, 69, 82, 86)
"""Updates that are killed before they begin: after a skip, between skips, after the cut, amid the row, after the rewind."""
MIXED = {"sources": [{"input": "data", "weight": 2, "epochs": 9}, {"input": "other", "weight": 1, "epochs": 99}]}


class Deadly(PoisonedTokens):
    """Kills the process that asks for a sample of `deadly`."""

    deadly = frozenset()

    def batch(self, first, count):
        if first in self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batch(first, count)

    def state(self, cursor):
        return self.inner.state(cursor)

    def load(self, state):
        self.inner.load(state)

    def ready(self):
        self.inner.ready()


def train(wanted: TrainRecipe, out: Path, inputs: dict[str, Path], deadly: set[int]) -> None:
    torch.set_num_threads(1)
    noise = [4 * step + row for step in NOISE for row in range(4)]
    batches = windows(wanted, inputs, 0)
    data = Deadly(batches, wanted.model.vocab_size, noise)
    object.__setattr__(data, "deadly", deadly)
    Loop(wanted, new_state(wanted, 0), data, StepContext("train", out, inputs, 0, 1, lambda progress: None)).run("x")
    assert not isinstance(batches, ShuffledWindows)
    batches.close()


def outlived(wanted: TrainRecipe, out: Path, inputs: dict[str, Path], kills: set[int]) -> list[int]:
    """Start again after every kill; what ended each process."""
    ends = []
    while True:
        # Forked: a fresh interpreter would take seconds for each kill.
        child = multiprocessing.get_context("fork").Process(target=train, args=(wanted, out, inputs, kills))
        child.start()
        child.join()
        assert child.exitcode is not None
        ends.append(child.exitcode)
        if child.exitcode != -signal.SIGKILL:
            return ends
        kills = set(sorted(kills)[1:])


def same_ends(wanted: TrainRecipe, tmp_path: Path, inputs: dict[str, Path]) -> None:
    assert outlived(wanted, tmp_path / "whole", inputs, set()) == [0]
    ends = outlived(wanted, tmp_path / "killed", inputs, {4 * step for step in KILLS})
    assert ends == [-signal.SIGKILL] * len(KILLS) + [0]
    found = [checkpoint.load(tmp_path / run / "checkpoint", pytest.fail) for run in ("whole", "killed")]
    assert found[0] is not None and found[1] is not None
    (tensors, plain), (again, plain_again) = found
    assert tensors.keys() == again.keys() and all(torch.equal(tensors[name], again[name]) for name in tensors)
    for name in ("step", "cursor", "guard", "clipper", "blamed", "data"):
        assert plain[name] == plain_again[name], name
    assert plain["guard"]["cuts"] and plain["guard"]["rewinds"]
    rows = [[(r["step"], r["loss"], r["judgement"]) for r in lines(tmp_path / run)] for run in ("whole", "killed")]
    assert rows[0] == rows[1] and {"skip", "cut", "rewind"} <= {judgement for *_, judgement in rows[0]}


LADDER = {
    "steps": 90,
    "schedule": Schedule(decay_fraction=0),
    "spikes": Spikes(recover_steps=20, snapshot_every_steps=25, window_steps=32),
    "checkpoint_every_s": 1e-9,
}


@pytest.mark.slow
def test_a_mixture_killed_on_every_rung(tmp_path):
    inputs = {"data": write_tiny_data(tmp_path / "a"), "other": write_tiny_data(tmp_path / "b", documents=12, seed=3)}
    same_ends(recipe(**LADDER, mixture=MIXED), tmp_path, inputs)


@pytest.mark.slow
def test_text_under_two_workers_killed_on_every_rung(tmp_path):
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(40)]
    texts = [" ".join(words[(start + i) % 40] for i in range(60)) for start in rng.integers(0, 40, 200)]
    inputs = {"data": write_tiny_data(tmp_path / "data")}
    save_tokenizer(train_tokenizer(iter(texts), 280), inputs["data"] / "tokenizer")
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    config, texts = recipe().model.model_copy(update={"vocab_size": 280}), str(tmp_path / "texts.jsonl")
    same_ends(recipe(**LADDER, model=config, texts=texts, workers=2), tmp_path, inputs)
    sources = {"sources": [MIXED["sources"][0], {"input": "other", "weight": 2, "epochs": 9}]}
    mixed = recipe(**LADDER, model=config, mixture=sources, texts={"other": texts}, workers=2)
    same_ends(mixed, tmp_path / "mixed", inputs)
