"""The accuracy table on rows of every shape, through its command. Measurements here are made up: only the form is tested."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.planner_accuracy.training import median_without

ROOT = Path(__file__).parents[3]

WHOLE = {
    "id": "a",
    "source": "made up",
    "model": {"name": "Llama-2-7B", "layers": 32, "hidden": 4096, "heads": 32, "params": 6.7e9},
    "hardware": "H100-SXM-80GB",
    "gpus": 8,
    "seq_len": 4096,
    "micro_batch": 1,
    "global_batch": 128,
    "precision": "bf16",
    "tp": 1,
    "pp": 1,
    "zero_stage": 3,
    "framework": "NeMo 24.07",
    "metric": "tokens_per_sec_per_gpu",
    "value": 10000,
    "unit": "tok/s/GPU",
}


def table_of(rows, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.planner_accuracy", "--rows", str(path), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_rows_without_any_one_field_are_counted_and_never_crash(tmp_path):
    partial = [{key: value for key, value in WHOLE.items() if key != left} for left in WHOLE]
    odd = [
        {**WHOLE, "model": {}},
        {**WHOLE, "model": "Llama-2-7B"},
        {**WHOLE, "model": {"name": "Unheard-Of-33B"}},
        {**WHOLE, "hardware": "Abacus"},
        {**WHOLE, "gpus": None, "micro_batch": None, "precision": None},
        {**WHOLE, "tp": 3, "pp": 7},
        {**WHOLE, "value": "OOM"},
        {**WHOLE, "metric": "max_gpu_ram", "unit": "GB", "value": 40.0, "task": "lora", "framework": "LitGPT"},
    ]
    found = table_of([WHOLE, *partial, *odd], tmp_path)
    assert set(found) >= {"median_abs_error", "p90_abs_error", "interval_coverage", "predicted_share", "families"}
    # Without a value or a metric, or with a state for a value, a row is nobody's; the rest counts, predicted or not.
    assert found["rows"] == 1 + len(partial) - 2 + len(odd) - 1
    assert 0.8 < found["predicted_share"] < 1.0
    assert found["families"]["memory, training"]["rows"] == 1


def test_lines_that_are_no_rows_are_counted_by_reason(tmp_path):
    path = tmp_path / "rows.jsonl"
    served = {"metric": "ttft_ms", "value": 3.0, "unit": "ms", "hardware": "H100-SXM-80GB", "batch_size": 1}
    odd = [
        "not json",
        "[1, 2]",
        json.dumps({**WHOLE, "value": "OOM"}),
        json.dumps({**WHOLE, "metric": 7}),
        json.dumps({**served, "model": None}),
        json.dumps({**served, "model": {"name": "Llama-2-7B"}, "framework": 3, "isl": "long"}),
    ]
    path.write_text("\n".join([json.dumps(WHOLE), *odd]) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.planner_accuracy", "--rows", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    reasons = found["in_no_family"]
    assert reasons["line is not JSON"] == reasons["line is not a JSON object"] == 1
    assert reasons["no positive number for a value"] == 1
    assert found["rows"] + sum(reasons.values()) == 1 + len(odd)
    assert found["predicted_share"] * found["rows"] + sum(found["not_predicted"].values()) == found["rows"]
    assert "Rows in no family: " in done.stdout and "left out" in done.stdout


def test_a_median_of_measured_rows_never_holds_the_row_it_is_asked_about():
    assert median_without([1.0, 2.0, 9.0], 9.0) == 1.5
    assert median_without([9.0], 9.0) is None


def test_korthikantis_iteration_times_are_met_better_than_by_calculon(tmp_path):
    eight = table_of([WHOLE], tmp_path)["korthikanti"]
    assert len(eight["signed"]) == 8
    assert eight["mean_abs_error"] <= 0.035 < eight["calculon"]


def test_a_row_of_litgpts_table_runs_on_the_devices_of_its_configuration(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.planner_accuracy.setups import setup_of

    row = {**WHOLE, "framework": "LitGPT", "source": "Lightning-AI/litgpt config_hub/finetune/README.md", "gpus": 4}
    row = {key: row[key] for key in row if key not in ("tp", "pp", "zero_stage")}
    lora = setup_of({**row, "id": "litgpthub-llama-3-8b_lora.yaml-4xA10G", "task": "lora"})
    full = setup_of({**row, "id": "litgpthub-stablelm-base-alpha-3b_full.yaml-4xA10G", "task": "full"})
    assert lora is not None
    assert full is not None
    assert (lora.devices, lora.recompute) == (1, None)
    assert (full.devices, full.recompute, full.layout.zero_stage) == (2, "full", 3)
    assert full.software.accumulates_whole
    assert not full.master_weights
