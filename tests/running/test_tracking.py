import importlib.util
import subprocess
import sys

import pytest

from aether.running.tracking import Tracker, _curve, _flat, _key
from records import run_facts

needs_mlflow = pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="the extra `ops` is not installed")


def test_without_mlflow_nothing_is_told_and_nothing_is_made(tmp_path):
    facts, told = run_facts(tmp_path / "run"), []
    tracker = Tracker(tmp_path / "out", told.append, installed=False)
    tracker.note(facts.folders["train"], facts.records["train"])
    tracker.finish(facts.verdicts)
    assert told == [] and not (tmp_path / "out").exists()


def test_making_a_tracker_loads_no_mlflow(tmp_path):
    code = (
        "import sys, pathlib; from aether.running.tracking import Tracker;"
        f"Tracker.of(pathlib.Path({str(tmp_path)!r}), print); sys.exit('mlflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_names_and_settings_become_what_mlflow_takes():
    assert _key("serve.x:y{1}") == "serve.x-y-1-"
    assert _flat({"a": {"b": 1, "c": [1, 2]}, "d": "x"}) == [("a.b", "1"), ("a.c", "[1, 2]"), ("d", "x")]


def test_curves_are_read_with_their_steps(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 3, "loss": 2.5, "note": "x", "ok": true}\n{"tokens": 7, "loss": 2.0}\n')
    assert list(_curve(path, "train")) == [
        ("train.curve.loss", 2.5, 3),
        ("train.curve.tokens", 7.0, 7),
        ("train.curve.loss", 2.0, 7),
    ]
    assert list(_curve(tmp_path / "nothing", "train")) == []


@needs_mlflow
@pytest.mark.slow
def test_a_build_is_told_to_a_sqlite_file_once(tmp_path, capsys):
    facts, told = run_facts(tmp_path / "run"), []
    folder = tmp_path / "out"
    for _ in range(2):
        tracker = Tracker.of(folder, told.append)
        for step in ("train", "evaluate"):
            tracker.note(facts.folders[step], facts.records[step])
        tracker.finish(facts.verdicts)
    assert told == [] and (folder / "tracking" / "mlflow.db").is_file()
    client = tracker._client
    (run,) = client.search_runs([client.get_experiment_by_name("aether").experiment_id])
    assert run.info.status == "FINISHED" and run.info.run_name == "out"
    assert run.data.params["train.optimiser.muon_learning_rate"] == "0.02"
    assert run.data.metrics["evaluate.bits_per_byte"] == 1.304
    assert run.data.metrics["evaluate.bits_per_byte.low"] == pytest.approx(1.273)
    assert run.data.tags["verdict.ttft_p99"] == "missed"
    assert run.data.tags["train/model/model.safetensors"].startswith(
        next(a.sha256 for a in facts.records["train"].artefacts if a.path.endswith("safetensors"))
    )
    curve = client.get_metric_history(run.info.run_id, "train.curve.loss")
    assert len(curve) == 156 and curve[0].step == 0


@needs_mlflow
def test_a_server_that_is_not_there_is_told_once_and_the_build_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    facts, told = run_facts(tmp_path / "run"), []
    tracker = Tracker.of(tmp_path / "out", told.append)
    for step in ("train", "evaluate"):
        tracker.note(facts.folders[step], facts.records[step])
    tracker.finish(())
    assert len(told) == 1 and "tracking stopped, the build goes on" in told[0].message
