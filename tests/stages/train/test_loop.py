"""The loop: learns, repeats itself bit for bit, rides over broken data, and goes on from checkpoints as if never stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny_data import VOCABULARY, write_tiny_data
from tiny_training import CONFIG, Cut, context, cut_short, recipe, same_weights, train

from aether.models.weights import load
from aether.spec.errors import EnvironmentFault, InputError
from aether.spec.run import Progress
from aether.stages.train import checkpoint
from aether.stages.train.fakes import CountingTokens, PoisonedTokens
from aether.stages.train.metrics import curve, read_losses
from aether.stages.train.recipe_watch import Spikes
from aether.stages.train.run import run

torch.set_num_threads(1)
GOLDEN = Path(__file__).parents[2] / "golden" / "train_losses.txt"


def test_it_overfits_what_can_be_learnt(tmp_path):
    train(tmp_path, recipe(steps=150, batch_sequences=8))
    losses = list(read_losses(tmp_path / "metrics.jsonl").values())
    assert losses[0] > 4 and losses[-1] < 0.3
    points = curve(dict(enumerate(losses, 1)), lambda step: step * 128)
    assert len(points) <= 22 and points[0]["loss"] > points[-1]["loss"] and points[-1]["tokens"] == 150 * 128


def test_losses_are_the_golden_ones(tmp_path):
    """Regenerate: python tests/stages/train/test_loop.py > tests/golden/train_losses.txt"""
    assert golden(tmp_path) == GOLDEN.read_text()


def golden(out: Path) -> str:
    """Two decimals of the first updates: processors round differently, and training makes that grow."""
    train(out, recipe(steps=20))
    losses = read_losses(out / "metrics.jsonl")
    return "".join(f"{step} {loss:.2f}\n" for step, loss in losses.items() if step in (1, 3, 5, 8, 10))


def test_micro_batches_are_the_batch(tmp_path):
    whole = train(tmp_path / "a", recipe(steps=3))
    parts = train(tmp_path / "b", recipe(steps=3, micro_batch_sequences=1))
    a, b = (list(read_losses(tmp_path / d / "metrics.jsonl").values()) for d in "ab")
    assert a == pytest.approx(b, rel=1e-3)
    assert whole.cursor == parts.cursor == 12


def test_a_ramp_takes_smaller_batches_first(tmp_path):
    ramp = ({"steps_fraction": 0.25, "sequences": 1}, {"steps_fraction": 0.25, "sequences": 2})
    state = train(tmp_path, recipe(steps=8, ramp=ramp))
    assert state.cursor == 2 * 1 + 2 * 2 + 4 * 4
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["tokens"] // 16 for row in rows] == [1, 2, 4, 6, 10, 14, 18, 22]
    assert rows[2]["lr"] / rows[4]["lr"] == pytest.approx(0.5**0.5 / 0.8)


def test_a_run_cut_anywhere_equals_one_that_was_not(tmp_path):
    wanted = recipe(steps=30, spikes=Spikes(snapshot_every_steps=7))
    whole = train(tmp_path / "whole", wanted)
    for cut in (1, 7, 13, 29):
        out = tmp_path / f"cut{cut}"
        cut_short(out, wanted, cut)
        assert same_weights(train(out, wanted), whole)
        steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert steps == list(range(1, 31))


def test_a_damaged_checkpoint_is_passed_over_aloud(tmp_path):
    wanted = recipe(steps=20)
    whole = train(tmp_path / "whole", wanted)
    for damage in ("cut", "state", "missing"):
        out = tmp_path / damage
        cut_short(out, wanted, 12)
        newest = sorted((out / "checkpoint").iterdir())[-1]
        if damage == "cut":
            tensors = newest / "tensors.safetensors"
            tensors.write_bytes(tensors.read_bytes()[:-100])
        elif damage == "state":
            text = (newest / "state.json").read_text()
            (newest / "state.json").write_text(text.replace('"step": 12', '"step": 11', 1))
        else:
            (newest / "state.json").unlink()
        heard: list[Progress] = []
        assert same_weights(train(out, wanted, heard=heard), whole)
        assert any("going on from the checkpoint before it" in p.message for p in heard)
        assert any("going on from step 11" in p.message for p in heard)


def test_another_runs_checkpoint_is_not_gone_on_from(tmp_path):
    checkpoint.save(tmp_path / "checkpoint", 5, {"x": torch.zeros(1)}, {"identity": "other"})
    heard: list[Progress] = []
    state = train(tmp_path, recipe(steps=3), heard=heard)
    assert state.cursor == 12 and any("belongs to another run" in p.message for p in heard)


def test_only_two_checkpoints_stay(tmp_path):
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, {"x": torch.full((2,), float(step))}, {"step": step})
    (tmp_path / "step-000000009.tmp").mkdir()
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix == "") == ["step-000000002", "step-000000003"]
    found = checkpoint.load(tmp_path, damaged=lambda sentence: pytest.fail(sentence))
    assert found is not None and found[1] == {"step": 3} and found[0]["x"].tolist() == [3.0, 3.0]


def poisoned(first_step: int, steps: int, batch: int = 4) -> PoisonedTokens:
    samples = range(first_step * batch, (first_step + steps) * batch)
    return PoisonedTokens(CountingTokens(VOCABULARY, 16), VOCABULARY, samples)


def test_a_bad_batch_is_skipped(tmp_path):
    state = train(tmp_path, recipe(steps=140, batch_sequences=4), poisoned(120, 1))
    assert (state.guard.skipped_steps, state.guard.rewinds) == (1, 0)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[120]["judgement"] == "skip" and rows[-1]["skipped_steps"] == 1
    assert rows[-1]["loss"] < 1


def test_a_bad_stretch_rewinds_and_passes_over_it_and_resumes_exactly(tmp_path):
    wanted = recipe(steps=140, spikes=Spikes(snapshot_every_steps=50, skips_before_rewind=3))
    heard: list[Progress] = []
    whole = train(tmp_path / "whole", wanted, poisoned(120, 3), heard)
    assert (whole.guard.skipped_steps, whole.guard.rewinds) == (3, 1)
    assert any("went back to step 100" in p.message for p in heard)
    assert whole.cursor == (140 + 23) * 4
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert len({(row["step"], row["rewinds"]) for row in rows}) == len(rows)

    class DyingAfterTheRewind:
        def batch(self, first, count):
            if first >= 130 * 4:
                raise Cut
            return poisoned(120, 3).batch(first, count)

    out = tmp_path / "cut"
    with pytest.raises(Cut):
        train(out, wanted.model_copy(update={"checkpoint_every_s": 1e-9}), DyingAfterTheRewind())
    assert same_weights(train(out, wanted, poisoned(120, 3)), whole)


def test_data_that_stays_broken_stops_the_run_with_a_sentence(tmp_path):
    wanted = recipe(steps=140, spikes=Spikes(snapshot_every_steps=50, skips_before_rewind=2, rewinds=2))
    with pytest.raises(InputError, match=r"muon_lr = 0.01: training broke 3 times .* lower the learning rates"):
        train(tmp_path, wanted, poisoned(120, 1000))


def test_the_stage_leaves_a_model_and_its_numbers(tmp_path):
    data = write_tiny_data(tmp_path / "data")
    heard: list[Progress] = []
    evidence = run(recipe(steps=60, batch_sequences=8, peak_flops_per_s=1e12), context(tmp_path / "out", data, heard))
    found = {e.id: e for e in evidence}
    assert (
        found["train.parameters"].value
        == CONFIG.parameters()
        == sum(p.numel() for p in load(tmp_path / "out/model").parameters())
    )
    summary = json.loads((tmp_path / "out" / "train.json").read_text())
    assert found["train.weights"].artefact_sha256 == summary["weights_sha256"]
    assert found["train.loss"].value < 2 and found["train.bits_per_byte"].unit == "bit/byte"
    assert found["train.training_memory"].value > 50e6 and found["train.skipped_steps"].value == 0
    assert summary["curve"][-1]["step"] == 60 and summary["step_s_median"] > 0
    row = json.loads((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["tokens"] == 60 * 8 * 16 and 0 < row["utilisation"] < 1
    again = run(recipe(steps=60, batch_sequences=8, peak_flops_per_s=1e12), context(tmp_path / "again", data))
    exact = {e.id: (e.value, e.artefact_sha256) for e in again if e.repeats == "exact"}
    assert exact == {e.id: (e.value, e.artefact_sha256) for e in evidence if e.repeats == "exact"}


def test_a_wrong_vocabulary_and_a_missing_gpu_are_refused(tmp_path):
    data = write_tiny_data(tmp_path / "data")
    wrong = recipe(model=CONFIG.model_copy(update={"vocab_size": 65}))
    with pytest.raises(InputError, match=r"model.vocab_size = 65: .* 64 entries"):
        run(wrong, context(tmp_path / "out", data))
    if not torch.cuda.is_available():
        with pytest.raises(EnvironmentFault, match="no GPU"):
            run(recipe(device="cuda"), context(tmp_path / "out", data))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_one_gpu_learns_the_same(tmp_path):
    data = write_tiny_data(tmp_path / "data")
    on_gpu = run(recipe(steps=60, device="cuda"), context(tmp_path / "gpu", data))
    on_cpu = run(recipe(steps=60), context(tmp_path / "cpu", data))
    assert on_gpu[0].value == pytest.approx(on_cpu[0].value, rel=0.05)


_CHILD = """
import sys, torch
sys.path[:0] = {path!r}
from pathlib import Path
from tiny_training import context, recipe
from aether.stages.train.run import run
run(recipe(steps=120, checkpoint_every_s=0.05, precision="bfloat16"), context(Path(sys.argv[1]), Path(sys.argv[2])))
"""


def test_sigkill_and_resume_give_the_same_bytes(tmp_path):
    data = write_tiny_data(tmp_path / "data")
    here = Path(__file__).parent
    code = _CHILD.format(path=[str(here), str(here.parents[1] / "helpers")])
    command = [sys.executable, "-c", code]
    subprocess.run([*command, str(tmp_path / "whole"), str(data)], check=True)
    kills = 0
    for attempt in range(2):
        child = subprocess.Popen([*command, str(tmp_path / "killed"), str(data)])
        metrics = tmp_path / "killed" / "metrics.jsonl"
        already = sorted((tmp_path / "killed" / "checkpoint").glob("step-*"))
        deadline = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < deadline:
            now = sorted((tmp_path / "killed" / "checkpoint").glob("step-*"))
            if metrics.exists() and now and now != already:
                time.sleep(0.05 * attempt)
                break
            time.sleep(0.002)
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.wait()
    assert kills == 2
    subprocess.run([*command, str(tmp_path / "killed"), str(data)], check=True)
    for name in ("model/model.safetensors", "model/config.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    losses = [read_losses(tmp_path / folder / "metrics.jsonl") for folder in ("killed", "whole")]
    assert losses[0] == losses[1] and len(losses[0]) == 120


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(golden(Path(folder)))
