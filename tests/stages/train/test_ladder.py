"""Each rung of the ladder on real small trainings: a batch of noise, noise now and then, a stretch of it, too high a rate."""

import shutil
from pathlib import Path

import pytest
import torch
from tiny_data import VOCABULARY, write_tiny_data
from tiny_training import lines, recipe, same_weights, train

from aether.models.packing import PackedTokens
from aether.spec.errors import InputError
from aether.stages.train.batches import ShuffledWindows
from aether.stages.train.blame import MOST_BLAMED, SAMPLES_NAMED, sequence_losses
from aether.stages.train.fakes import CountingTokens, PoisonedTokens
from aether.stages.train.recipe import Optimiser, Schedule, TrainRecipe
from aether.stages.train.recipe_watch import Spikes

torch.set_num_threads(1)
BATCH = 4
NOISE = (60, 64, 68, 72, 80, 81, 82, 83, 84)
"""Updates whose batch is noise: four within the window, later five in a row."""


def poisoned(*steps: int) -> PoisonedTokens:
    samples = [step * BATCH + row for step in steps for row in range(BATCH)]
    return PoisonedTokens(CountingTokens(VOCABULARY, 16), VOCABULARY, samples)


def rungs(rows: list[dict]) -> list[str]:
    return [row["judgement"] for row in rows if row["judgement"] != "apply"]


def test_noise_now_and_then_cuts_the_rates_and_they_recover(tmp_path):
    wanted = recipe(steps=150, schedule=Schedule(decay_fraction=0), spikes=Spikes(sigmas=20, recover_steps=20))
    state = train(tmp_path, wanted, poisoned(96, 100, 104, 108))
    rows = lines(tmp_path)
    assert rungs(rows) == ["skip", "skip", "skip", "cut"]
    rates = {row["step"]: row["lr"] for row in rows}
    assert rates[109] == pytest.approx(rates[100] / 2)
    assert rates[119] == pytest.approx(rates[100] / 2**0.5), "half of the way after half of recover_steps"
    assert rates[130] == rates[100] and state.guard.rate_share == 1 and state.guard.cuts == 1
    assert rows[-1]["loss"] < 1


GOOD = {"steps": 130, "batch_sequences": 8, "schedule": Schedule(decay_fraction=0)}


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """A hundred updates at a good rate, checkpointed."""
    out = tmp_path_factory.mktemp("good")
    train(out, recipe(**GOOD | {"steps": 100}, spikes=Spikes(snapshot_every_steps=25)))
    return out


def go_on(good: Path, out: Path, times: float, spikes: Spikes) -> list[dict]:
    """Go on with `times` the rates."""
    shutil.copytree(good, out)
    rates = {"muon_lr": 0.01, "embedding_lr": 0.03, "gain_lr": 0.03}
    fast = Optimiser.model_validate({name: min(1.0, times * rate) for name, rate in rates.items()})
    train(out, recipe(**GOOD, optimiser=fast, spikes=spikes))
    return lines(out)


def test_too_high_a_rate_is_cut_and_rewound_until_it_holds(tmp_path, good):
    rows = go_on(good, tmp_path / "run", 3, Spikes(snapshot_every_steps=25))
    assert set(rungs(rows)) == {"skip", "cut", "rewind"} and rows[-1]["step"] == 130


def test_a_hopeless_rate_stops_with_a_sentence(tmp_path, good):
    with pytest.raises(InputError, match=r"broke 4 times .* 3 cuts of the learning rates .* blamed.jsonl"):
        go_on(good, tmp_path / "run", 100, Spikes(snapshot_every_steps=25))
    assert lines(tmp_path / "run")[-1]["judgement"] == "stop"


def test_without_cuts_the_same_rate_ends_the_run(tmp_path, good):
    """What the second rung is worth: the run above at 3 times the rate, with rewinds alone."""
    with pytest.raises(InputError, match="0 cuts"):
        go_on(good, tmp_path / "run", 3, Spikes(snapshot_every_steps=25, skips_before_cut=1000))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[TrainRecipe, Path, object]:
    wanted = recipe(steps=95, spikes=Spikes(window_steps=24, snapshot_every_steps=30, recover_steps=60))
    out = tmp_path_factory.mktemp("whole")
    return wanted, out, train(out, wanted, poisoned(*NOISE))


def test_all_rungs_are_counted(whole):
    _, out, state = whole
    climbed = rungs(lines(out))
    assert climbed[:9] == ["skip", "skip", "skip", "cut", "skip", "skip", "skip", "cut", "rewind"]
    last = lines(out)[-1]
    assert (last["skipped_steps"], last["cuts"], last["rewinds"]) == (len(climbed), climbed.count("cut"), 1)
    assert state.guard.rate_share < 1, "still on its way back"


@pytest.mark.parametrize("seen", [61, 74, 83, 86])
def test_a_run_cut_on_any_rung_equals_one_that_was_not(tmp_path, whole, seen):
    """After one skip, after the cut, amid skips in a row, after the rewind."""
    wanted, out, state = whole

    class Dying:
        def batch(self, first, count):
            if first >= seen * BATCH:
                raise KeyboardInterrupt
            return poisoned(*NOISE).batch(first, count)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, wanted.model_copy(update={"checkpoint_every_s": 1e-9}), Dying())
    again = train(tmp_path, wanted, poisoned(*NOISE))
    assert same_weights(again, state) and again.guard.state() == state.guard.state()
    assert (tmp_path / "blamed.jsonl").read_bytes() == (out / "blamed.jsonl").read_bytes()


def test_the_guilty_sample_and_its_documents_are_named(tmp_path):
    windows = ShuffledWindows(PackedTokens(write_tiny_data(tmp_path / "data") / "train", 16, seed=0), seed=0)
    bad = 110 * 8 + 5
    data = PoisonedTokens(windows, VOCABULARY, [bad])
    train(tmp_path, recipe(steps=112, batch_sequences=8, spikes=Spikes(sigmas=3)), data)
    (line,) = [line for line in lines(tmp_path, "blamed.jsonl") if line["step"] == 111]
    worst = line["samples"][0]
    assert worst["index"] == bad and worst["loss"] > 5 * line["median_loss"] and len(line["samples"]) == SAMPLES_NAMED
    documents = windows.documents(bad)
    assert worst["documents"] == [{"id": d.id, "group": "train"} for d in documents[:4]]
    text = (tmp_path / "data/train/tokens.bin").read_bytes()
    for document, of in zip(documents, dict.fromkeys(windows.batch(bad, 1)[1][0].tolist()), strict=True):
        ids = windows.batch(bad, 1)
        piece = ids[0][0][ids[1][0] == of].astype("<u2").tobytes()
        assert piece in text[2 * document.start : 2 * (document.start + document.tokens)]


def test_losses_of_sequences_are_the_batchs(tmp_path):
    state = train(tmp_path, recipe(steps=5))
    tokens, ids = CountingTokens(VOCABULARY, 16).batch(7, 3)
    batch = [torch.from_numpy(a) for a in (tokens, ids)]
    mean = state.model.loss(batch[0][:, :-1], batch[0][:, 1:], batch[1][:, :-1]).item()
    assert sum(sequence_losses(state.model, tokens, ids)) / 3 == pytest.approx(mean, rel=1e-5)


def test_blame_is_bounded_and_counted(tmp_path):
    patient = Spikes(skips_before_cut=1000, skips_before_rewind=1000)
    state = train(tmp_path, recipe(steps=60 + MOST_BLAMED + 6, spikes=patient), poisoned(*range(60, 200)))
    assert state.blamed == MOST_BLAMED + 6 and len(lines(tmp_path, "blamed.jsonl")) == MOST_BLAMED
