"""Several processes train as one does: same losses over every layout, checkpoints that fit any, and a lost process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from ranks import run_ranks
from team_runs import TOY, CutShort, toy_recipe
from tiny_data import VOCABULARY, write_tiny_data

from aether.models.config import DecoderConfig
from aether.models.config_parts import Mixture
from aether.models.weights import load as load_folder
from aether.spec.run import StepContext
from aether.stages.data.tokenizer import save_tokenizer, train_tokenizer
from aether.stages.train.batches import windows
from aether.stages.train.loop import Loop, new_model, new_state
from aether.stages.train.metrics import read_lines, read_losses
from aether.stages.train.parallel import checkpoint
from aether.stages.train.parallel.loop import FOLDER
from aether.stages.train.parallel.pieces import pieces_of
from aether.stages.train.parallel.recipe import Parallel
from aether.stages.train.parallel.sharding import whole
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.run import run

SCRIPT = Path(__file__).parents[3] / "helpers" / "team_runs.py"
MIXTURE = Mixture(count=4, active=2, balance_loss=0.05, z_loss=0.01, bias_rate=0.001, shared_size=32)
PARTS = TOY.model_copy(update={"norm": "layer", "positions": "learned", "activation": "gelu", "qk_norm": "none"})
EXPERTS = TOY.model_copy(update={"experts": MIXTURE})
HYBRID = TOY.model_copy(update={"mixer_pattern": ("mamba2", "attention", "gated_delta", "attention")})
NOISE = list(range(10 * 7, 12 * 7))
"""The windows of two updates of the ladder's runs."""
LADDER = {
    "steps": 15,
    "batch_sequences": 7,
    "spikes": {"window_steps": 8, "sigmas": 3.0, "skips_before_rewind": 2, "snapshot_every_steps": 2},
}
LOOKS = {"watch": {"cost_share": 1.0}}
EVERY_STEP = {"checkpoint_every_s": 1e-9, "spikes": {"snapshot_every_steps": 3}}


def alone(out: Path, recipe: TrainRecipe, noise: Collection[int] = ()) -> tuple[list[float], torch.nn.Module]:
    torch.set_num_threads(1)
    state = new_state(recipe, 0)
    data = CutShort(recipe.model.context_tokens, None, noise)
    Loop(recipe, state, data, StepContext("train", out, {}, 0, 1, lambda progress: None)).run("toy")
    return list(read_losses(out / "metrics.jsonl").values()), state.model


def together(processes: int, out: Path, runs: dict) -> dict[str, Any]:
    return run_ranks(processes, SCRIPT, out, json.dumps(runs))


def streamed(folder: Path) -> dict[str, Any]:
    """Changes of a toy's recipe that mix a corpus with a text that is tokenised meanwhile."""
    rng, words = np.random.default_rng(0), [f"w{number}" for number in range(40)]
    texts = [" ".join(words[(start + i) % 40] for i in range(60)) for start in rng.integers(0, 40, 200)]
    data, file = write_tiny_data(folder / "data"), folder / "texts.jsonl"
    save_tokenizer(train_tokenizer(iter(texts), 280), data / "tokenizer")
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    sources = [{"input": "data", "weight": 1, "epochs": 9}, {"input": "web", "weight": 2}]
    model = TOY.model_copy(update={"vocab_size": 280}).model_dump(mode="json")
    return {"model": model, "texts": {"web": str(file)}, "mixture": {"sources": sources}, "workers": 0}


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """Everything that two processes do in the fast tests, in one launch."""
    out = tmp_path_factory.mktemp("two")
    text = streamed(out / "streamed")
    runs = {
        "shard": {"parallel": {"shard": 2}} | LOOKS,
        "replicate": {"parallel": {"replicate": 2}, "micro_batch_sequences": 2},
        "ring": {"parallel": {"context": 2}} | LOOKS,
        "ulysses": {"parallel": {"context": 2, "attention": "ulysses"}},
        "tensor": {"parallel": {"tensor": 2}} | LOOKS,
        "pipeline": {"parallel": {"pipeline": 2}, "micro_batch_sequences": 3} | LOOKS,
        "attention": {"check": "attention"},
        "mixers": {"check": "mixers"},
        "muon": {"check": "muon"},
        "hybrid": {"parallel": {"context": 2}, "model": HYBRID.model_dump(mode="json")},
        "shard experts": {"parallel": {"shard": 2}, "model": EXPERTS.model_dump(mode="json")},
        "expert": {"parallel": {"expert": 2}, "model": EXPERTS.model_dump(mode="json")},
        "parts ring": {"parallel": {"context": 2}, "model": PARTS.model_dump(mode="json")},
        "parts tensor": {"parallel": {"tensor": 2}, "model": PARTS.model_dump(mode="json")},
        "ladder": {"parallel": {"shard": 2}, "noise": NOISE} | LADDER,
        "uneven": {"parallel": {"shard": 2}, "batch_sequences": 10, "micro_batch_sequences": 2},
        "uneven experts": {"parallel": {"expert": 2}, "batch_sequences": 7, "model": EXPERTS.model_dump(mode="json")},
        "cut": {"parallel": {"shard": 2}, "end": 60} | EVERY_STEP,
        "text": {"parallel": {"shard": 2}, "data": str(out / "streamed" / "data")} | text,
    }
    return out, together(2, out, runs)


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> tuple[list[float], torch.nn.Module]:
    return alone(tmp_path_factory.mktemp("one"), toy_recipe())


@pytest.mark.parametrize("name", ["shard", "replicate", "ring", "ulysses", "tensor", "pipeline"])
def test_two_processes_have_the_losses_of_one(one, two, name):
    assert len(one[0]) == 8
    assert two[1][name] == pytest.approx(one[0], abs=2e-6)


def test_text_that_the_first_process_tokenises_is_that_of_one(two, tmp_path):
    wanted, inputs = toy_recipe(**streamed(tmp_path)), {"data": tmp_path / "data"}
    torch.set_num_threads(1)
    context = StepContext("train", tmp_path / "out", inputs, 0, 1, lambda progress: None)
    Loop(wanted, new_state(wanted, 0), windows(wanted, inputs, 0), context).run("toy")
    losses = list(read_losses(tmp_path / "out" / "metrics.jsonl").values())
    assert two[1]["text"] == pytest.approx(losses, abs=2e-6)


def test_windows_that_processes_do_not_divide_weigh_the_same(two, tmp_path):
    """Five windows of each in passes of one, two and two; three and four of seven, whose counts the balance loss sees together."""
    for name, changes in {
        "uneven": {"batch_sequences": 10},
        "uneven experts": {"batch_sequences": 7, "model": EXPERTS},
    }.items():
        wanted = alone(tmp_path / name, toy_recipe(**changes))[0]
        assert two[1][name] == pytest.approx(wanted, abs=2e-6), name


def test_a_rewind_of_two_processes_is_that_of_one(two, tmp_path):
    """What a skipped batch's passes had gathered must not hide the weights that come back; of seven windows one has three."""
    alone(tmp_path, toy_recipe(**LADDER), NOISE)
    one, shared = (read_lines(out / "metrics.jsonl") for out in (tmp_path, two[0] / "ladder"))
    assert {"skip", "rewind"} <= {row["judgement"] for row in one}
    for wanted, row in zip(one, shared, strict=True):
        assert (row["step"], row["judgement"]) == (wanted["step"], wanted["judgement"])
        assert row["loss"] == pytest.approx(wanted["loss"], abs=2e-6)
    blamed = [
        {sample["index"]: sample["loss"] for row in read_lines(out / "blamed.jsonl") for sample in row["samples"]}
        for out in (tmp_path, two[0] / "ladder")
    ]
    assert blamed[0] and blamed[1] == pytest.approx(blamed[0], abs=1e-4)


@pytest.mark.parametrize("name", ["shard", "ring", "tensor", "pipeline"])
def test_looks_of_two_processes_are_those_of_one(looked, two, name):
    rows = {row["step"]: row for row in read_lines(two[0] / name / "layers.jsonl")}
    both = looked.keys() & rows.keys()
    assert both, "the clock gives a look at every update from the second on, or nearly"
    for step in both:
        for layer, norms in looked[step]["layers"].items():
            assert rows[step]["layers"][layer] == pytest.approx(norms, rel=1e-3, abs=1e-7), (step, layer)
        for layer, seen in rows[step]["activations"].items():
            one = looked[step]["activations"][layer]
            assert seen.keys() == one.keys() - ({"attention_max", "attention_entropy"} if name == "ring" else set())
            if name != "shard":
                # The same window: exactly that of one process. A unit's share is judged by the units that a process has.
                wanted = {key: one[key] for key in seen if key != "dead"}
                assert {key: seen[key] for key in wanted} == pytest.approx(wanted, rel=1e-4), (step, layer)
    assert bool(rows[max(rows)]["activations"]) == (name != "pipeline")


@pytest.fixture(scope="module")
def looked(tmp_path_factory) -> dict[int, dict[str, Any]]:
    """The looks of one process, by update."""
    out = tmp_path_factory.mktemp("looked")
    alone(out, toy_recipe(**LOOKS))
    return {row["step"]: row for row in read_lines(out / "layers.jsonl")}


@pytest.mark.parametrize("name", ["parts ring", "parts tensor"])
def test_exchanged_parts_are_shared_out_too(two, tmp_path, name):
    assert two[1][name] == pytest.approx(alone(tmp_path, toy_recipe(model=PARTS))[0], abs=5e-6)


def test_experts_on_two_processes_are_those_of_one_with_their_losses_and_their_bias(two, tmp_path):
    """The balance loss is of the whole batch's counts, and so is the bias: both would differ if each process counted alone."""
    wanted = alone(tmp_path / "one", toy_recipe(model=EXPERTS))[0]
    unbalanced = EXPERTS.model_copy(update={"experts": MIXTURE.model_copy(update={"balance_loss": 0.0})})
    assert alone(tmp_path / "other", toy_recipe(model=unbalanced))[0] != pytest.approx(wanted, abs=1e-4)
    for name in ("shard experts", "expert"):
        assert two[1][name] == pytest.approx(wanted, abs=2e-6), name


def test_attention_over_two_processes_is_that_of_one(two):
    errors = two[1]["attention"]
    assert len(errors) == 4 and max(errors.values()) < 1e-5, errors


def test_muon_in_many_rounds_is_muon_in_one(two):
    found = two[1]["muon"]
    assert found["one"] == 1 < found["many"] and found["apart"] < 1e-6, found


def test_recurrent_mixers_over_two_processes_are_those_of_one(two, tmp_path):
    errors = two[1]["mixers"]
    assert len(errors) == 24 and max(errors.values()) < 1e-12, errors
    assert two[1]["hybrid"] == pytest.approx(alone(tmp_path, toy_recipe(model=HYBRID))[0], abs=2e-6)


@pytest.mark.slow
def test_four_processes_share_windows_tokens_heads_and_weights_at_once(one, tmp_path):
    runs = {
        "ring": {"parallel": {"context": 4}},
        "shard x tensor": {"parallel": {"shard": 2, "tensor": 2}},
        "shard x ring": {"parallel": {"shard": 2, "context": 2}},
        "tensor x ring": {"parallel": {"tensor": 2, "context": 2}},
        "replicate x ulysses": {"parallel": {"replicate": 2, "context": 2, "attention": "ulysses"}},
        "pipeline": {"parallel": {"pipeline": 4}, "micro_batch_sequences": 3},
        "pipeline x shard": {"parallel": {"pipeline": 2, "shard": 2}, "micro_batch_sequences": 2},
        "pipeline x tensor": {"parallel": {"pipeline": 2, "tensor": 2}, "micro_batch_sequences": 3},
        "attention": {"check": "attention"},
        "mixers": {"check": "mixers"},
        "muon": {"check": "muon"},
    }
    hybrid = {
        "hybrid ring": {"parallel": {"context": 4}},
        "hybrid shard x ulysses": {"parallel": {"shard": 2, "context": 2, "attention": "ulysses"}},
    }
    runs |= {name: run | {"model": HYBRID.model_dump(mode="json")} for name, run in hybrid.items()}
    mixed = {
        "expert": {"parallel": {"expert": 4}},
        "expert x shard": {"parallel": {"expert": 2, "shard": 2}},
        "expert x ring": {"parallel": {"expert": 2, "context": 2}},
        "expert x replicate": {"parallel": {"expert": 2, "replicate": 2}},
    }
    model = {"model": EXPERTS.model_dump(mode="json")}
    found = together(4, tmp_path, runs | {name: run | model for name, run in mixed.items()})
    wanted = alone(tmp_path / "experts", toy_recipe(model=EXPERTS))[0]
    for name in mixed:
        assert found.pop(name) == pytest.approx(wanted, abs=2e-6), name
    wanted = alone(tmp_path / "hybrid", toy_recipe(model=HYBRID))[0]
    for name in hybrid:
        assert found.pop(name) == pytest.approx(wanted, abs=2e-6), name
    errors = found.pop("mixers")
    assert max(errors.values()) < 1e-12, errors
    errors = found.pop("attention")
    assert max(errors.values()) < 1e-5, errors
    muon = found.pop("muon")
    assert muon["apart"] < 1e-6, muon
    for name, losses in found.items():
        assert losses == pytest.approx(one[0], abs=2e-6), name


def test_a_sharded_checkpoint_is_safetensors_and_holds_the_weights_of_one_process(one, two):
    folder = two[0] / "shard" / FOLDER
    assert {path.suffix for path in folder.rglob("*.*")} == {".json", ".safetensors"}
    found = checkpoint.newest(folder, pytest.fail)
    assert found is not None and found[1]["step"] == 8 and found[1]["cursor"] == 96
    model = new_model(toy_recipe(), seed=1)
    blocks = whole(model)
    pieces = [p for n, t in model.named_parameters() for p in pieces_of(t.detach(), blocks[n], "model.")]
    checkpoint.load(found[0], pieces, alone=True)
    for (name, got), wanted in zip(model.named_parameters(), one[1].parameters(), strict=True):
        assert torch.allclose(got, wanted, atol=2e-5), name


def test_a_damaged_checkpoint_is_passed_over_aloud(two, tmp_path):
    shutil.copytree(two[0] / "cut" / FOLDER, tmp_path / "c")
    newest = sorted((tmp_path / "c").iterdir())[-1]
    file = next(newest.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    heard: list[str] = []
    found = checkpoint.newest(tmp_path / "c", heard.append)
    assert found is not None and found[0] != newest and "not what was written" in heard[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "parallel"), [(1, {}), (3, {"shard": 3}), (4, {"shard": 2, "replicate": 2})], ids=["1", "3", "4"]
)
def test_a_checkpoint_of_two_processes_is_gone_on_from_by_any_number(two, tmp_path, processes, parallel):
    assert len(two[1]["cut"]) == 5
    shutil.copytree(two[0] / "cut", tmp_path / "more")
    found = together(processes, tmp_path, {"more": {"parallel": parallel} | EVERY_STEP})
    assert found["more"] == pytest.approx(two[1]["shard"], abs=2e-6)
    rates = [
        json.loads(line)["tokens_per_s"] for line in (tmp_path / "more" / "metrics.jsonl").read_text().splitlines()
    ]
    before = [json.loads(line)["tokens_per_s"] for line in (two[0] / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert rates[:5] == before, "the first steps were made anew"


def stage_recipe(**changes) -> TrainRecipe:
    config = DecoderConfig(
        vocab_size=VOCABULARY, hidden_size=32, layers=2, heads=2, kv_heads=2, head_size=16, mlp_size=64, context_tokens=16
    )  # fmt: skip
    return TrainRecipe(model=config, batch_sequences=4, precision="float32", **changes)


def stage(out: Path, recipe: TrainRecipe, data: Path, hear=lambda progress: None) -> list[float]:
    out.mkdir(parents=True)
    run(recipe, StepContext("train", out, {"data": data}, 0, 2, hear))
    return list(read_losses(out / "metrics.jsonl").values())


def children(parent: psutil.Process) -> list[psutil.Process]:
    """Those that train, of all below `parent`."""
    found = []
    for child in parent.children(recursive=True):
        with suppress(psutil.Error):
            if "RANK" in child.environ():
                found.append(child)
    return found


def kill_second(parent: psutil.Process, folder: Path, checkpoints: str) -> psutil.Process:
    """Wait for the first checkpoint, and kill the second process then and there."""
    deadline = time.monotonic() + 300
    while not list(folder.glob(f"{checkpoints}/step-*[0-9]")):
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.005)
    second = next(child for child in children(parent) if child.environ()["RANK"] == "1")
    second.send_signal(signal.SIGKILL)
    return second


@pytest.mark.slow
def test_a_killed_process_costs_no_more_than_the_steps_since_the_last_checkpoint(tmp_path):
    data = write_tiny_data(tmp_path / "data")
    recipe = stage_recipe(steps=150, checkpoint_every_s=0.5)
    wanted = stage(tmp_path / "one", recipe, data)
    heard = []
    shared = recipe.model_copy(update={"parallel": Parallel(shard=2)})
    with ThreadPoolExecutor() as pool:
        killing = pool.submit(kill_second, psutil.Process(), tmp_path / "two", FOLDER)
        found = stage(tmp_path / "two", shared, data, lambda progress: heard.append(progress.message))
        killed = killing.result()
    assert any("going on from step" in message for message in heard)
    assert found == pytest.approx(wanted, abs=1e-3)
    assert load_folder(tmp_path / "two" / "model") is not None
    _, alive = psutil.wait_procs([killed, *children(psutil.Process())], timeout=30)
    assert not alive


TRAININGS = """
name = "trainings"
[[steps]]
name = "data"
stage = "data"
config = {sources = ["python:package/email"], vocab_size = 300}
[[steps]]
name = "first"
stage = "train"
inputs = {data = "data"}
threads = 2
config = {steps = 60, batch_sequences = 4, precision = "float32", checkpoint_every_s = 0.2, model = MODEL, parallel = {shard = 2}}
[[steps]]
name = "second"
stage = "train"
inputs = {data = "data"}
threads = 2
config = {steps = 5, batch_sequences = 4, precision = "float32", model = MODEL, parallel = {context = 2}}
"""
MODEL = "{vocab_size = 300, hidden_size = 32, layers = 2, heads = 2, kv_heads = 2, head_size = 16, mlp_size = 64, context_tokens = 16}"


@pytest.mark.slow
def test_a_command_under_a_torchrun_around_it_is_the_command_even_with_a_process_killed(tmp_path):
    recipe = tmp_path / "trainings.toml"
    recipe.write_text(TRAININGS.replace("MODEL", MODEL))
    plain = [sys.executable, "-m", "aether", "build", str(recipe), "--out"]
    around = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1"]
    around += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1", *plain[1:]]
    env = os.environ | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([*plain, str(tmp_path / "a" / "run")], check=True, env=env, capture_output=True)
    with subprocess.Popen([*around, str(tmp_path / "b" / "run")], env=env, stderr=subprocess.DEVNULL) as job:
        kill_second(psutil.Process(job.pid), tmp_path / "b", f".store/train/*/{FOLDER}")
    assert job.returncode == 0
    for step in ("first", "second"):
        a, b = ((tmp_path / one / "run" / "steps" / step / "model" / "model.safetensors").read_bytes() for one in "ab")
        assert a == b, step
