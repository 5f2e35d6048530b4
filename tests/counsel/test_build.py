"""A whole build through the command line: killed at random moments, resumed, reproduced, looked at."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from interruptible import hears_interrupts
from small_brief import SMALL, write_brief

from aether.evidence.items import read_items
from aether.stages.evaluate.redteam.asking import FILTERED
from aether.stages.serve.guard.settings import REFUSAL


def start(*words):
    return subprocess.Popen(
        [sys.executable, "-m", "aether", *map(str, words), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hears_interrupts,
    )


def finish(*words, code=0, also=()):
    process = start(*words)
    out, err = process.communicate(timeout=900)
    assert process.returncode in (code, *also), out + err
    return json.loads(out)


def kill_group(process):
    """SIGKILL for the process and for the server that it may have started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    targets = [*SMALL["targets"][:-1], "build_time <= 3 min"]
    # Exit code 5: a machine with much else to do may take longer than that.
    said = finish("build", write_brief(folder, targets=targets), "--out", folder / "runs" / "small", also=(5,))
    return folder / "runs" / "small", said


def test_every_target_has_a_verdict(built):
    _, said = built
    assert [v["target"]["metric"] for v in said["verdicts"]] == [
        "bits_per_byte",
        "ttft_p99",
        "size_on_disk",
        "build_time",
    ]
    assert all(v["measured_id"] in said["evidence"] for v in said["verdicts"])
    assert all(v["predicted_id"] in said["evidence"] for v in said["verdicts"])


def test_the_model_folder_is_what_transformers_loads(built):
    from transformers import AutoTokenizer

    run, _ = built
    model = run / "model"
    assert {"config.json", "tokenizer.json", "README.md"} <= {p.name for p in model.iterdir()}
    assert list(model.glob("*.safetensors"))
    tokenizer = AutoTokenizer.from_pretrained(model)
    assert tokenizer.decode(tokenizer("def f(x):\n    return x\n")["input_ids"]) == "def f(x):\n    return x\n"


def test_building_again_reuses_everything(built):
    run, said = built
    started = time.perf_counter()
    again = finish("resume", run, also=(5,))
    assert time.perf_counter() - started < 30
    for number in ("train.loss", "evaluate.bits_per_byte", "serve.ttft_p99"):
        assert again["evidence"][number]["value"] == said["evidence"][number]["value"]


def test_a_run_can_be_looked_at(built):
    run, _ = built
    assert finish("runs", run.parent)["runs"][0]["status"] == "done"
    assert finish("show", run, "train.loss")["evidence"][0]["id"] == "train.loss"
    assert "comparison" in finish("compare", run, run)
    page = finish("report", run)["report"]
    assert "<script" not in Path(page).read_text(encoding="utf-8")


def test_another_brief_in_the_same_folder_is_refused(built, tmp_path):
    run, _ = built
    said = finish("build", write_brief(tmp_path, seed=1), "--out", run, code=2)
    assert "another brief" in said["message"]


def test_what_cannot_be_met_is_refused_before_training(tmp_path):
    brief = write_brief(
        tmp_path, targets=["parameters >= 7B", "build_time <= 10 min", "bits_per_byte <= 2", "e2e_p99 <= 1 ms"]
    )
    said = finish("build", brief, "--out", tmp_path / "run", code=3)
    assert said["status"] == "infeasible"
    refused = {refusal["target"]["metric"]: refusal for refusal in said["refusals"]}
    assert {"parameters", "e2e_p99"} <= set(refused)
    assert all(r["binding"] and r["arithmetic"] and r["nearest"] and r["terms"] for r in refused.values())
    assert not (tmp_path / "run" / "steps" / "train").exists()


def _weights(run):
    record = json.loads((run / "steps" / "train" / "record.json").read_text())
    return next(a["sha256"] for a in record["artefacts"] if a["path"].endswith("model.safetensors"))


def _kill_and_resume(folder, kills, seconds, seed):
    """Build, killed `kills` times at random moments, then to the end. Returns the run."""
    draw = random.Random(seed)
    run, brief = folder / "runs" / "small", write_brief(folder)
    for _ in range(kills):
        process = start("build", brief, "--out", run)
        time.sleep(draw.uniform(2, seconds))
        kill_group(process)
    finish("build", brief, "--out", run, also=(5,))
    return run


@pytest.mark.slow
def test_kill_nine_at_ten_moments_changes_nothing(tmp_path):
    """The killed run's own recipe, carried out without a kill in a fresh store, gives the same weights and numbers."""
    run = _kill_and_resume(tmp_path, kills=10, seconds=25, seed=7)
    # A shared machine's speed may differ by more than is allowed (exit 5): what must be equal is what is exact.
    again = finish("reproduce", run, "--out", tmp_path / "again", also=(5,))
    assert _weights(tmp_path / "again") == _weights(run)
    exact = [d for d in again["drifts"] if d["status"] == "differs" and "bit for bit" in d["note"]]
    assert not exact


def test_a_second_build_in_one_folder_is_refused(tmp_path):
    run = tmp_path / "run"
    first = start("build", write_brief(tmp_path), "--out", run)
    try:
        deadline = time.monotonic() + 60
        while not (run / "run.json").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        said = finish("resume", run, code=2)
        assert said["status"] == "busy" and str(first.pid) in said["message"]
    finally:
        kill_group(first)


def test_ctrl_c_is_a_sentence_and_loses_nothing(tmp_path):
    run = tmp_path / "run"
    process = start("build", write_brief(tmp_path), "--out", run)
    deadline = time.monotonic() + 60
    while not (run / "run.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            kill_group(process)
    assert process.returncode == 130 and "Traceback" not in err
    assert json.loads(out)["status"] == "interrupted"
    assert (run / "run.json").exists()


def test_named_hardware_is_never_replaced_by_this_machine(built, tmp_path):
    """Beside a run whose measurements of this machine are at hand."""
    brief, run = write_brief(tmp_path, hardware={"name": "A100-SXM-80GB"}), built[0].parent / "named"
    said = finish("build", brief, "--out", run, code=2)
    assert said["field"] == "hardware.name"
    assert (run / "steps" / "probe").exists() and not (run / "steps" / "data").exists()


def test_a_published_model_is_planned_for_and_not_built_through_any_door(tmp_path):
    """From Python as from the command line: the refusal is the engineer's."""
    from aether.counsel.engineer import build
    from aether.running.folder import RunFolder
    from aether.spec.brief import Brief
    from aether.spec.errors import InputError

    brief = Brief.model_validate(
        {
            "model": {"name": "llama-3.1-8b", "task": "serve"},
            "intended_use": "Answer questions about our own documents.",
            "hardware": {"name": "H100-SXM-80GB"},
            "load": {"requests_per_s": 1, "prompt_tokens": 500, "output_tokens": 100},
            "targets": ["ttft_p99 <= 2 s"],
        }
    )
    with pytest.raises(InputError, match=r"model\.name = .*use `aether plan`"):
        build(brief, RunFolder(tmp_path / "run"), ("test",), lambda progress: None)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_build_is_gated_by_a_red_team_on_its_served_model_behind_a_guard(tmp_path):
    """From the brief to the release: data, training, compression, load test, and then attacks on the server with its defences."""
    (tmp_path / "guard.toml").write_text("rules = true\ncheck_replies = true\nharden = true\ncanary = true\n")
    gates = ["attack_success <= 20 %", "over_refusal <= 60 %"]
    targets = ["bits_per_byte <= 6 bit/byte", "ttft_p99 <= 20 s", "build_time <= 4 min", *gates]
    run = tmp_path / "runs" / "guarded"
    said = finish(
        "build", write_brief(tmp_path, targets=targets, red_team={"guard": "guard.toml"}), "--out", run, also=(5,)
    )
    check_gated(run, said["evidence"], {v["target"]["metric"]: v["status"] for v in said["verdicts"]})


def check_gated(run, evidence, verdicts):
    """What a build with gates leaves: rates of the served model, and a model only if each gate is shown to hold."""
    assert verdicts["attack_success"] == "met" and verdicts["over_refusal"] in ("met", "unproven", "missed")
    names = ("attack_success", "over_refusal")
    assert all("behind guard.toml" in evidence[f"evaluate.{name}"]["source"] for name in names)
    assert (run / "model").exists() is (run / "guard").exists() is all(verdicts[name] == "met" for name in names)
    items = read_items(run / "redteam" / "items.jsonl")
    withheld = {item.id for item in items if FILTERED in item.answer or REFUSAL in item.answer}
    assert {f"own-{number}/direct" for number in range(1, 25)} & withheld, "the guard stood before the model"
    assert (run / "redteam" / "report.html").exists()
    page = (run / "report" / "report.html").read_text()
    assert "evaluate.attack_success" in page and "behind guard.toml" in page
