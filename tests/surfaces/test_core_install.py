"""What the core install does without torch, and what it says where an extra is needed."""

import json
import sys
from pathlib import Path

import pytest
from core_only import link_core, run_core
from small_brief import write_brief

from aether.evidence.extras import EXTRAS

FLEET = Path(__file__).parents[2] / "recipes" / "fleet"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return link_core(tmp_path_factory.mktemp("core") / "site")


@pytest.mark.parametrize("command", ["build", "plan"])
def test_a_missing_extra_is_a_sentence_with_the_command_before_anything_is_made(site, tmp_path, command):
    done = run_core(site, command, write_brief(tmp_path), "--out", tmp_path / "run", cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "not installed: torch, tokenizers" in done.stderr and f"run `{sys.executable} -m pip install" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["brief.json"]


def test_serving_without_its_extra_is_a_sentence(site, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    done = run_core(site, "serve", tmp_path, cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "not installed: torch" in done.stderr and "uvicorn" in done.stderr and "[serve]" in done.stderr


def test_doctor_prints_commands_that_can_be_copied(site, tmp_path):
    done = run_core(site, "doctor", cwd=tmp_path)
    assert done.returncode == 2, "something is missing"
    for extra in EXTRAS:
        assert any("pip install" in line and f"[{extra}]" in line for line in done.stdout.splitlines())
    said = json.loads(run_core(site, "doctor", "--json", cwd=tmp_path).stdout)
    missing = {finding["name"] for finding in said["findings"] if finding["health"] == "missing"}
    assert {"train: torch", "serve: threadpoolctl", "ops: mlflow", "torch runs"} <= missing
    assert not [finding for finding in said["findings"] if finding["health"] == "broken"]


def test_planning_and_estimating_need_no_torch(site, tmp_path):
    done = run_core(site, "plan", FLEET / "impossible.toml", "--json", cwd=tmp_path)
    assert done.returncode == 3 and json.loads(done.stdout)["status"] == "infeasible"
    done = run_core(site, "plan", FLEET / "serve-70b.toml", "--json", cwd=tmp_path)
    assert done.returncode == 0 and json.loads(done.stdout)["status"] == "planned", done.stderr
    for question in ("train", "serve", "memory"):
        done = run_core(site, "estimate", question, "llama-3.1-8b", "--on", "H100-SXM-80GB", cwd=tmp_path)
        assert done.returncode in (0, 3) and "llama-3.1-8b" in done.stdout + done.stderr, done.stderr
    asked = "serve llama-3.1-8b to 5 requests/s, prompts of 500 tokens, answers of 100, p99 first token below 1 s, on one H100"
    done = run_core(
        site, "ask", asked, "--session", tmp_path / "session.json", "--out", tmp_path / "answer", cwd=tmp_path
    )
    assert done.returncode == 0 and "Next experiment" in done.stdout, done.stderr
    brief = tmp_path / "brief.toml"
    brief.write_text('name = "half"\n')
    done = run_core(site, "build", brief, "--json", cwd=tmp_path)
    assert done.returncode == 2 and json.loads(done.stdout)["status"] == "needs_input"
