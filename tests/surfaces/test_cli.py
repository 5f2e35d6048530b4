"""The command line as a person meets it: exit codes, sentences, one line of JSON."""

import json
import resource
import subprocess
import sys

import pytest
from small_brief import write_brief

from aether.surfaces.cli.main import COMMANDS


def aether(*words, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "aether", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        timeout=300,
    )


def only_line(done):
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done.stdout + done.stderr
    return json.loads(lines[0])


def test_help_answers_at_once():
    """In processor time, since a busy machine makes anything wait."""
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = aether("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)
    assert min(took) < 0.3


OPTIONS = {
    "ask": ["--accept-defaults", "--follow", "--help", "--json", "--out", "--session", "--set"],
    "build": ["--help", "--json", "--out", "--set"],
    "plan": ["--help", "--json", "--out", "--set"],
    "estimate": ["--devices", "--explain", "--help", "--json", "--on", "--set"],
    "simulate": ["--devices", "--help", "--json", "--on", "--set"],
    "ablate": [
        "--dry-run",
        "--each",
        "--equal",
        "--help",
        "--json",
        "--out",
        "--search",
        "--seeds",
        "--trials",
        "--vary",
    ],
    "scaling": ["--beyond", "--budgets", "--help", "--json", "--out", "--sizes"],
    "fit-scaling": ["--at", "--help", "--json", "--plot", "--resamples", "--seed", "--tied"],
    "resume": ["--help", "--json"],
    "reproduce": ["--help", "--json", "--out"],
    "runs": ["--help", "--json"],
    "show": ["--help", "--json"],
    "evaluate": ["--against", "--data", "--help", "--json", "--limit", "--model", "--out", "--set", "--suite"],
    "contamination": ["--control", "--field", "--help", "--json", "--model", "--out"],
    "judge": ["--help", "--json", "--judge", "--model", "--out", "--set"],
    "surgery": ["--help", "--json", "--out", "--set", "--texts"],
    "guard": ["--benign", "--help", "--json", "--out", "--refused"],
    "redteam": ["--behaviours", "--benign", "--gate", "--help", "--json", "--labels", "--model", "--out", "--set"],
    "study": ["--checks", "--difference", "--help", "--json", "--out", "--per-pair", "--raters", "--seed"],
    "votes": ["--covariate", "--help", "--json", "--rater", "--side", "--ties"],
    "power": ["--difference", "--help", "--json", "--set"],
    "compare": ["--help", "--json"],
    "report": ["--help", "--json", "--out"],
    "serve": ["--guard", "--help", "--host", "--port"],
    "chat": ["--base-url", "--budget", "--help", "--json", "--list", "--model", "--once", "--resume"],
    "explain": ["--help", "--json", "--list"],
    "diagnose": ["--help", "--json"],
    "review": ["--fix", "--format", "--help", "--ignore", "--json", "--list", "--select"],
    "web": ["--base-url", "--budget", "--help", "--host", "--model", "--port"],
    "mcp": ["--help", "--host", "--http"],
    "setup": ["--dry-run", "--help", "--json", "--scope"],
    "doctor": ["--help", "--json", "--out"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_are_frozen(command):
    """A new choice is a field of the brief or of a recipe (`--set`), not a new option."""
    words = aether(command, "--help").stdout.replace(",", " ").split()
    assert sorted({w for w in words if w.startswith("--") and len(w) > 2}) == OPTIONS[command]


def test_a_partial_brief_gives_questions(tmp_path):
    (tmp_path / "brief.toml").write_text('name = "half"\n')
    done = aether("build", tmp_path, "--json", cwd=tmp_path)
    said = only_line(done)
    assert done.returncode == 2 and said["status"] == "needs_input"
    assert {"field", "text", "why", "default", "choices"} == set(said["questions"][0])
    assert not (tmp_path / "runs").exists(), "asking spends nothing"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('name = "x"\ncolour = "red"', "colour"),
        ('targets = ["ttft_p99 <= 3 parsecs"]', "targets"),
        ('[hardware]\ncount = "many"', "hardware.count"),
        ("name = ", "brief"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, text, field):
    (tmp_path / "brief.toml").write_text(text)
    done = aether("build", tmp_path / "brief.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert field in done.stderr and "Traceback" not in done.stderr


def test_a_missing_run_is_one_sentence(tmp_path):
    for command in ("resume", "show", "report", "reproduce"):
        done = aether(command, tmp_path / "none")
        assert done.returncode == 2 and "aether runs" in done.stderr


def test_declined_requests_have_their_own_code(tmp_path):
    use = "Write spear phishing mails that trick bank customers into giving away their passwords, at scale."
    done = aether("build", write_brief(tmp_path, intended_use=use), "--json", cwd=tmp_path)
    assert done.returncode == 4 and only_line(done)["status"] == "declined"


def test_no_runs_is_said(tmp_path):
    done = aether("runs", tmp_path)
    assert done.returncode == 0 and "no runs" in done.stdout


def test_doctor_speaks_json(tmp_path):
    done = aether("doctor", "--json", cwd=tmp_path)
    said = only_line(done)
    assert done.returncode == 0 and said["status"] == "ok"
    assert {"name", "health", "detail", "mend"} == set(said["findings"][0])
