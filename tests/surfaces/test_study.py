"""`aether study`, from pairs to a verdict: laid out, judged as assigned, the careless left out, an early look named."""

import json

import pytest
from click.testing import CliRunner

from aether.counsel.annotation import Annotation
from aether.spec.errors import InputError
from aether.surfaces.cli.main import main


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "answers.jsonl"
    rows = [
        {"prompt": f"q{i}", "a": f"good {i}", "b": f"bad {'!' * (i % 5)}{i}", "a_model": "good", "b_model": "bad"}
        for i in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(*words):
    done = CliRunner().invoke(main, [*map(str, words), "--json"])
    return done.exit_code, json.loads(done.output)


def judge_all(task, who, choose):
    while (item := task.next_item(who)) is not None:
        task.judge(who, item, choose(task, who, item))


def careful(task, who, item):
    """The answer to the question, and seven times in eight the good one."""
    pair = task.pairs[item]
    best = pair.check or ("a" if (pair.a_model == "good") == (item % 8 > 0) else "b")
    return "left" if task.left_of(who, item) == best else "right"


def test_a_study_from_its_plan_to_its_verdict(pairs, tmp_path):
    out = tmp_path / "study"
    code, plan = run("study", pairs, "--out", out, "--raters", 10, "--per-pair", 2, "--difference", 0.3)
    assert code == 0 and plan["votes"] == 80 and plan["largest_load"] == 16 and plan["power"] > 0.9, plan
    task = Annotation(out / "pairs.jsonl")
    for n in range(1, 6):
        judge_all(task, f"rater-{n}", careful)
    code, early = run("votes", task.path)
    assert code == 0 and early["planned"] == 80 and early["votes"] == 40, early
    page = CliRunner().invoke(main, ["votes", str(task.path)]).output
    assert "looking early" in " ".join(page.split())
    for n in range(6, 10):
        judge_all(task, f"rater-{n}", careful)
    judge_all(task, "rater-10", lambda *_: "left")
    code, done = run("votes", task.path)
    assert code == 0 and done["left_out"] == ["rater-10"] and done["votes"] == 72
    best = done["models"][0]
    assert best["model"] == "good" and best["low"] > 0


def test_checks_of_the_file_are_no_votes_and_everyone_gets_them(pairs, tmp_path):
    with pairs.open("a") as file:
        file.writelines(
            json.dumps({"prompt": f"{i} + 1?", "a": "dunno", "b": str(i + 1), "check": "b"}) + "\n" for i in range(3)
        )
    code, plan = run("study", pairs, "--out", tmp_path / "study", "--raters", 10, "--per-pair", 2, "--checks", 5)
    assert code == 0 and plan["votes"] == 80 and plan["largest_load"] == 13, plan
    task = Annotation(tmp_path / "study" / "pairs.jsonl")
    assert task.study is not None
    for mine in task.study.raters.values():
        checks = [task.pairs[item] for item in mine if task.pairs[item].check is not None]
        assert len(checks) == 5 and sum(pair.a == "dunno" for pair in checks) == 3
    code, plan = run("study", pairs, "--out", tmp_path / "few", "--raters", 10, "--checks", 0)
    assert code == 0 and plan["largest_load"] == 7, plan


def test_the_plan_is_kept_to(pairs, tmp_path):
    out = tmp_path / "study"
    assert run("study", pairs, "--out", out, "--raters", 4)[0] == 0
    task = Annotation(out / "pairs.jsonl")
    with pytest.raises(InputError, match="the study names rater-1"):
        task.next_item("someone")
    others = next(item for item in range(40) if item not in task.share_of("rater-1"))
    with pytest.raises(InputError, match="gives it to others"):
        task.judge("rater-1", others, "left")
    assert run("study", pairs, "--out", out, "--raters", 4)[1]["message"].endswith("choose another folder")
    with task.path.open("a") as file:
        file.write('{"prompt": "one more", "a": "x", "b": "y"}\n')
    with pytest.raises(InputError, match="not those that"):
        Annotation(task.path)


def test_checks_need_two_prompts(tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text('{"prompt": "p", "a": "x", "b": "y"}\n')
    code, found = run("study", path, "--out", tmp_path / "out", "--raters", 1)
    assert code == 2 and "two different prompts" in found["message"]
    assert run("study", path, "--out", tmp_path / "out", "--raters", 1, "--checks", 0)[0] == 0
