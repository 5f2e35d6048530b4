"""Diagnosis of trainings that really went wrong, made so here, and of logs in the forms that trainers, W&B, TensorBoard and Lightning write."""

import json
import math
import random
from pathlib import Path

import pytest
import torch

from aether.counsel.diagnosis.findings import find
from aether.counsel.diagnosis.logs import read_log
from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder
from aether.spec.run import StepContext
from aether.stages.train.fakes import CountingTokens
from aether.stages.train.loop import Loop, new_state
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.recipe_optimiser import Optimiser, Schedule

torch.set_num_threads(1)
WORDS = 64
CONFIG = DecoderConfig(
    vocab_size=WORDS, hidden_size=32, layers=2, heads=2, kv_heads=1, head_size=16, mlp_size=64, context_tokens=16
)  # fmt: skip


def keys(path: Path) -> list[str]:
    return [found.key for found in find(read_log(path))]


def fitted(path: Path, peak: float, *, rows: int = 64, steps: int = 120, dtype=torch.float32) -> Path:
    """Fit a decoder to a few windows of noise, with a warm-up to `peak`, and write what transformers' trainer would print."""
    torch.manual_seed(0)
    model = Decoder(CONFIG).to(dtype)
    draw = torch.Generator().manual_seed(1)
    seen, held = (torch.randint(0, WORDS, (count, 17), generator=draw) for count in (rows, 64))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)

    def loss_of(windows: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())

    lines = []
    for step in range(1, steps + 1):
        rate = peak * min(1.0, step / (steps / 2))
        optimizer.param_groups[0]["lr"] = rate
        loss = loss_of(seen)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)
        optimizer.step()
        lines.append(str({"loss": loss.item(), "grad_norm": norm.item(), "learning_rate": rate, "epoch": float(step)}))
        if step % 10 == 0:
            with torch.no_grad():
                lines.append(str({"eval_loss": loss_of(held).item(), "epoch": float(step)}))
    path.write_text("\n".join(lines))
    return path


def test_a_rate_that_is_too_high_is_seen_to_diverge(tmp_path):
    found = keys(fitted(tmp_path / "train.log", 2.0))
    assert "diverged" in found and "not-finite" not in found


def test_our_own_trainer_at_a_rate_too_high(tmp_path):
    recipe = TrainRecipe(
        model=CONFIG, steps=120, batch_sequences=4, precision="float32", schedule=Schedule(kind="wsd", warmup_fraction=0.3),
        optimiser=Optimiser(muon_lr=0.5, embedding_lr=0.3, gain_lr=1.0),
    )  # fmt: skip
    context = StepContext("train", tmp_path, {}, 0, 1, lambda progress: None)
    Loop(recipe, new_state(recipe, seed=0), CountingTokens(WORDS, 16), context).run("test")
    assert {"diverged", "spike"} & set(keys(tmp_path / "metrics.jsonl"))


def test_a_few_windows_are_learnt_by_heart(tmp_path):
    assert keys(fitted(tmp_path / "train.log", 1e-2, rows=8)) == ["overfitting"]


def test_sixteen_bits_without_mixed_precision_end_in_nan(tmp_path):
    assert keys(fitted(tmp_path / "train.log", 2e-2, rows=8, steps=40, dtype=torch.float16))[0] == "not-finite"


def curve(count: int = 200) -> list[float]:
    draw = random.Random(1)
    return [2.2 + 1.5 * math.exp(-i / 40) + draw.gauss(0, 0.03) for i in range(1, count + 1)]


def lightning(losses):
    rows = ["epoch,step,train_loss_step,val_loss,train_loss_epoch,lr-AdamW"]
    for i, loss in enumerate(losses):
        rows.append(f"{i // 20},{i * 10},{loss},,,0.0001")
        rows += [f"{i // 20},{i * 10},,{loss + 0.1},,"] * (i % 20 == 19)
    return "\n".join(rows)


def wandb_export(losses):
    head = '"Step","glad-sun-3 - train/loss","glad-sun-3 - train/loss__MIN","glad-sun-3 - train/loss__MAX"'
    return "\n".join([head, *(f'"{i}","{x}","{x}","{x}"' for i, x in enumerate(losses))])


def wandb_history(losses):
    return "\n".join(
        json.dumps({"_step": i, "_runtime": 2.0 * i, "train/loss": x, "train/global_step": 10 * i})
        for i, x in enumerate(losses)
    )


def tensorboard_csv(losses):
    return "\n".join(["Wall time,Step,Value", *(f"{1.7e9 + i},{i},{x}" for i, x in enumerate(losses))])


def tensorboard_json(losses):
    return json.dumps([[1.7e9 + i, i, x] for i, x in enumerate(losses)])


def deepspeed(losses):
    return "\n".join(
        f"[2026-05-01 10:00:00,123] [INFO] [logging.py:96:log_dist] [Rank 0] step={10 * i}, skipped=0, lr=[9.65e-06, 9.65e-06], mom=[(0.9, 0.95)]\n"
        f"steps: {10 * i} loss: {x} iter time (s): 1.23 samples/sec: 26.0"
        for i, x in enumerate(losses)
    )


def with_progress_bars(losses):
    return "\n".join(
        f"{i // 2}%|###   | {i}/13000 [00:10<36:34:36, 10.13s/it]"
        + str({"loss": x, "learning_rate": 2e-5, "epoch": i / 100})
        for i, x in enumerate(losses)
    )


REAL = {
    "metrics.csv": lightning,
    "wandb_export.csv": wandb_export,
    "wandb-history.jsonl": wandb_history,
    "run-.-tag-train_loss.csv": tensorboard_csv,
    "run-.-tag-train_loss.json": tensorboard_json,
    "deepspeed.log": deepspeed,
    "bars.log": with_progress_bars,
}


@pytest.mark.parametrize("name", REAL)
def test_a_healthy_log_of_each_form_is_read_and_has_no_finding(tmp_path, name):
    path = tmp_path / name
    path.write_text(REAL[name](curve()))
    assert read_log(path).values("loss") == pytest.approx(curve()) and keys(path) == []


def test_a_curve_on_held_out_data_is_named_by_its_file(tmp_path):
    path = tmp_path / "run-.-tag-eval_loss.csv"
    path.write_text(tensorboard_csv(curve()))
    assert list(read_log(path).series) == ["val_loss"]


def test_losses_on_several_held_out_sets_are_one_curve(tmp_path):
    """As transformers writes them with a dictionary of evaluation sets, one row each."""
    rows = []
    for epoch in range(1, 31):
        rows.append({"epoch": epoch, "loss": 1.2 / epoch, "learning_rate": 1e-5, "step": 400 * epoch})
        rows += [
            {"epoch": epoch, f"eval_{name}_loss": 1.1 + 0.08 * epoch + base, "step": 400 * epoch}
            for name, base in (("a", 0.0), ("b", 1.0))
        ]
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"log_history": rows}))
    assert read_log(path).values("val_loss")[0] == pytest.approx(1.68) and keys(path) == ["overfitting"]


def test_noise_of_evaluations_is_no_overfitting(tmp_path):
    draw = random.Random(2)
    lines = [f"iter {10 * i}: loss {x:.4f}, time 135.61ms, mfu 41.02%" for i, x in enumerate(curve())]
    lines[::20] = [
        f"{line}\nstep {200 * i}: train loss {2.2:.4f}, val loss {2.3 + draw.gauss(0, 0.04):.4f}"
        for i, line in enumerate(lines[::20])
    ]
    path = tmp_path / "train.log"
    path.write_text("\n".join(lines))
    assert "overfitting" not in keys(path)


def test_steps_that_are_logged_as_nothing_after_nan_are_no_leak(tmp_path):
    rows = [{"loss": x, "grad_norm": 1.0} for x in curve(60)] + [{"loss": 0.0, "grad_norm": "nan"}] * 20
    path = tmp_path / "train.log"
    path.write_text("\n".join(map(str, rows)).replace("'nan'", "nan"))
    assert keys(path) == ["not-finite"]
