"""`aether plan` for a brief with a model: the folder it leaves, the line it prints, and how it refuses."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from aether.spec.fleet import FleetPlan
from aether.surfaces.cli.main import main

ROOT = Path(__file__).parents[2]
SMALL = """
targets = ["ttft_p99 <= 2 s"]
[model]
name = "llama-3.1-8b"
task = "serve"
[hardware]
name = "H100-SXM-80GB"
count = 2
price_usd_per_hour = 2.5
[load]
requests_per_s = 1
prompt_tokens = 500
output_tokens = 100
"""


def plan(path, *words):
    return CliRunner().invoke(main, ["plan", str(path), *words])


@pytest.fixture
def brief(tmp_path):
    file = tmp_path / "brief.toml"
    file.write_text(SMALL)
    return file


def test_the_folder_has_plan_pictures_and_exports(brief, tmp_path):
    out = tmp_path / "run"
    done = plan(brief, "--out", str(out))
    assert done.exit_code == 0 and "Decision" in done.output and "What would change it" in done.output
    kept = FleetPlan.model_validate(json.loads((out / "plan.json").read_text())["plan"])
    page = (out / "plan.md").read_text()
    assert kept.decided in page
    for picture in ("memory-by-part", "cost-against-quality", "latency-against-load"):
        assert (out / f"{picture}.svg").read_text().count("<svg") == 1 and f"{picture}.svg" in page
    assert list((out / "exports").glob("*/*"))


def test_json_is_one_line_with_the_plan(brief, tmp_path):
    done = plan(brief, "--out", str(tmp_path / "run"), "--json")
    said = json.loads(done.output)
    assert len(done.output.splitlines()) == 1
    assert set(said) == {"status", "run", "files", "notes", "plan"}
    made = FleetPlan.model_validate(said["plan"])
    cost = made.decision.estimate("cost_per_million_tokens")
    assert cost is not None and cost.value == pytest.approx(made.decision.devices * 2.5 / 3600 / 100 * 1e6)


def test_a_plan_of_adapters_shows_mfu_below_what_gradients_of_all_weights_would_give(tmp_path):
    file, out = tmp_path / "brief.toml", tmp_path / "run"
    file.write_text(
        'targets = ["build_time <= 30 d"]\n[model]\nname = "llama-3.1-8b"\ntask = "finetune"\nmethod = "lora"\ntokens = 1e8\n'
        '[hardware]\nname = "H100-SXM-80GB"\ncount = 8\n'
    )
    assert plan(file, "--out", str(out)).exit_code == 0
    best = FleetPlan.model_validate(json.loads((out / "plan.json").read_text())["plan"]).decision
    mfu, rate = best.estimate("mfu"), best.estimate("tokens_per_s_per_device")
    assert "| MFU |" in (out / "plan.md").read_text()
    assert mfu is not None and mfu.value is not None and rate is not None and rate.value is not None
    # Four FLOPs for each of the 7.5 B values of matrices, and some for attention and the adapters; all weights would take six.
    assert 4.0 < mfu.value * 989e12 / rate.value / 7.5e9 < 5.0


def test_a_partial_brief_gives_questions(tmp_path):
    file = tmp_path / "brief.toml"
    file.write_text("[model]\nname = 'llama-3.1-8b'\n")
    said = json.loads(plan(file, "--json").output)
    assert said["status"] == "needs_input"
    assert {question["field"] for question in said["questions"]} == {"model.task", "hardware.name"}
    assert all(question["why"] for question in said["questions"])


def test_the_impossible_has_its_own_code_and_data(tmp_path):
    done = plan(ROOT / "recipes" / "fleet" / "impossible.toml", "--out", str(tmp_path / "run"), "--json")
    said = json.loads(done.output)
    assert done.exit_code == 3 and said["status"] == "infeasible"
    assert said["shortfalls"][0]["verdict"] == "impossible" and said["nearest"] and said["left_out"]
    assert not (tmp_path / "run").exists()


def test_a_model_is_planned_for_and_not_built(brief):
    done = CliRunner().invoke(main, ["build", str(brief), "--json"])
    assert done.exit_code == 2 and json.loads(done.output)["field"] == "model.name"
