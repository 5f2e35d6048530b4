"""Stopping when it is decided: sooner for larger differences, never by chance more often than said, and again the same from the journal."""

import hashlib
import json

import pytest
from click.testing import CliRunner
from tests.helpers.openai_endpoint import served

from aether.stages.evaluate.suites.documents import documents
from aether.stages.evaluate.suites.suite import Suite
from aether.surfaces.cli.main import main

SUITE = """name = "s"
[[tasks]]
name = "sums"
data = "d.jsonl"
templates = ["{{q}}"]
target = "{{a}}"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequential")
    (folder / "s.toml").write_text(SUITE)
    (folder / "d.jsonl").write_text("".join(json.dumps({"q": f"{i}", "a": f"{i}"}) + "\n" for i in range(300)))
    assert evaluate(folder, "half", 0.5)[0] == 0
    return folder


def evaluate(place, name, accuracy, *words):
    """A model behind HTTP that is right this often, by lot of its own."""

    def answers(body):
        asked = body["messages"][-1]["content"]
        lot = int.from_bytes(hashlib.sha256(f"{name}{asked}".encode()).digest()[:4], "big") / 2**32
        return asked if lot < accuracy else "no"

    with served(answers) as (address, requests):
        told = [
            "evaluate",
            address,
            "--suite",
            place / "s.toml",
            "--data",
            place,
            "--out",
            place / name,
            "--model",
            "m",
        ]
        told = [*map(str, told), "--set", "chat=true", *map(str, words), "--json"]
        done = CliRunner().invoke(main, told)
        asked = len(requests)
        again = CliRunner().invoke(main, told)
        assert (again.output, len(requests)) == (done.output, asked), (
            "the same again from the journal, without the model"
        )
    return done.exit_code, json.loads(done.output), asked


def decided(place, name):
    return json.loads((place / name / "sequential.json").read_text())["tasks"][0]


def test_a_large_difference_stops_early_and_an_equal_one_does_not(place):
    code, found, asked = evaluate(place, "good", 0.95, "--against", place / "half")
    assert code == 0 and asked < 300, found
    good = decided(place, "good")
    assert good["verdict"] == "better" and good["low"] > 0 and good["items"] == asked and good["of"] == 300
    page = (place / "good" / "report.md").read_text()
    assert "Decided as it came" in page and "leans away" in page
    code, found, asked = evaluate(place, "equal", 0.5, "--against", place / "half")
    assert code == 0 and asked == 300 and decided(place, "equal")["verdict"] == "undecided"


def test_a_smaller_draw_is_the_beginning_of_a_larger_one(place):
    variant = (
        Suite.model_validate(
            {"name": "s", "tasks": [{"name": "t", "data": "d.jsonl", "templates": ["{{q}}"], "target": "{{a}}"}]}
        )
        .tasks[0]
        .variants()[0]
    )
    few, more = ({row["aether_id"] for row in documents(variant, place, n)} for n in (50, 100))
    assert few < more


@pytest.mark.parametrize(
    ("line", "why"), [('cluster = "a"', "a cluster"), ('separators = [" ", "  "]', "several prompts")]
)
def test_items_that_are_alike_are_refused(place, line, why, tmp_path):
    (tmp_path / "s.toml").write_text(SUITE + line + "\n")
    words = [
        "evaluate",
        "http://127.0.0.1:9/v1",
        "--suite",
        tmp_path / "s.toml",
        "--data",
        place,
        "--against",
        place / "half",
        "--out",
        tmp_path / "o",
    ]
    done = CliRunner().invoke(main, [*map(str, words), "--model", "m", "--json"])
    assert done.exit_code == 2 and why in json.loads(done.output)["message"]
