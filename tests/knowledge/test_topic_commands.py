"""Every command that a topic's page names is really run, in a folder with what it asks for; trainings with four updates in place of hundreds."""

import json
import random
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from aether.knowledge.topics import heads, topic
from aether.surfaces.cli.main import main

ROOT = Path(__file__).parents[2]
COMMANDS = sorted({command for name in heads() if (command := topic(name).command)})
LONG = {
    "build": "minutes, and a model that was trained before: tests/counsel/test_build.py",
    "evaluate": "a model and a suite of the Hub: tests/stages/evaluate",
    "redteam": "a model that is served: tests/stages/evaluate/redteam",
    "guard": "models of guards: tests/stages/serve/guard",
    "compare": "two evaluations: tests/counsel/test_comparisons.py",
}
"""Verbs whose commands need more than a minute on a processor, with where they run."""


def verb(command):
    return shlex.split(command)[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("topics")
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    recipe = folder / "recipes" / "ablation" / "tiny.toml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("steps = 400", "steps = 4"), encoding="utf-8")
    (folder / "train.py").write_text("args = SFTConfig(output_dir='o', learning_rate=1e-5, seed=1)\n", encoding="utf-8")
    rng = random.Random(0)
    rows = []
    for i in range(200):
        left, right = rng.sample("abcd", 2)
        winner = rng.choice(["left", "right"])
        rows.append(f"{left},{right},{winner},{i % 9},{i % 9},{rng.random()},{rng.random()}")
    (folder / "votes.csv").write_text(
        "left,right,winner,rater,person,length,length_difference\n" + "\n".join(rows), encoding="utf-8"
    )
    for name in ("test", "train"):
        lines = [
            {"text": f"How many {name} apples does farmer number {i} carry to market on day {i * 3} when it rains"}
            for i in range(40)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in COMMANDS if verb(c) not in LONG])
def test_the_command_of_a_topic_runs(command, place, monkeypatch):
    monkeypatch.chdir(place)
    words = shlex.split(command)[1:]
    if words[0] == "ablate":
        words += ["--out", f"ablation-{COMMANDS.index(command)}", "--seeds", "1"]
        words = [("2" if before == "--trials" else word) for before, word in zip(["", *words], words, strict=False)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output[-2000:]
    assert done.output.strip()


def test_what_is_not_run_is_named():
    assert {verb(c) for c in COMMANDS} >= set(LONG)
    assert sum(verb(c) in LONG for c in COMMANDS) <= 10
