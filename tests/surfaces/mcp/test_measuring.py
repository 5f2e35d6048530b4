"""Suites, red teams, judges and studies through the protocol's own client: shown first, started with the hash, read again."""

import json
import time

import pytest
from tests.helpers.mcp_calls import call, data_of
from tests.helpers.openai_endpoint import served

from aether.counsel.annotation import Annotation
from aether.running.jobs import cancel, report_of

PAIRS = [{"prompt": f"q{i}", "a": f"good {i}", "b": f"bad {i}", "a_model": "good", "b_model": "bad"} for i in range(6)]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def finished(root, run, seconds=120):
    deadline = time.monotonic() + seconds
    while report_of(root / run).state == "running":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return data_of(call(root, "run_status", run=run))


def test_a_red_team_is_shown_first_and_asks_only_with_its_hash(tmp_path):
    with served("I'm sorry, but I can't help with that.") as (base, requests):
        order = {"target": base, "model": "m", "settings": ["attacks=direct,leak", "behaviours=6"]}
        order["gates"] = ["injection_success <= 5 %"]
        shown = data_of(call(tmp_path, "red_team", order=order, run="red"))
        assert shown["status"] == "needs_input" and "gradients" not in shown["text"]
        most, digest = shown["details"]["work"]["questions"]["asks"]["the model"], shown["details"]["approve"]
        other = data_of(call(tmp_path, "red_team", order=order | {"model": "n"}, run="red"))
        assert other["details"]["approve"] != digest
        again = data_of(call(tmp_path, "red_team", order=order, run="red", approve="0" * 64))
        assert again["status"] == "needs_input" and not requests
        begun = data_of(call(tmp_path, "red_team", order=order, run="red", approve=digest))
        try:
            assert begun["status"] == "running"
            ended = finished(tmp_path, "red")
        finally:
            cancel(tmp_path / "red")
    assert ended["data"]["result_status"] == "done" and 0 < len(requests) <= most, ended
    page = data_of(call(tmp_path, "show_results", folder="red", gates=["over_refusal <= 90 %"]))
    assert ": unproven. The interval" in page["text"] and any(
        e["id"] == "redteam.attack_success" for e in page["evidence"]
    )
    both = data_of(call(tmp_path, "show_results", folder="red", beside=["red"]))
    assert both["status"] == "bad_input" and "two red teams" in both["text"]
    listed = data_of(call(tmp_path, "list_results"))["data"]["results"]
    assert listed == [{"folder": "red", "kind": "red team", "is_finished": True}]


def test_questions_of_a_suite_and_of_a_judge_are_counted(tmp_path):
    write_lines(tmp_path / "items.jsonl", [{"q": f"{i}?", "a": str(i)} for i in range(5)])
    suite = '[[tasks]]\nname = "t"\ndata = "items.jsonl"\ntemplates = ["{{q}}", "Q: {{q}}"]\ntarget = "{{a}}"\nmax_tokens = 7\n'
    (tmp_path / "s.toml").write_text('name = "s"\n' + suite)
    write_lines(tmp_path / "pairs.jsonl", PAIRS)
    where = {"target": "http://127.0.0.1:9/v1", "model": "m"}
    asked = data_of(call(tmp_path, "evaluate_model", order=where | {"suite": "s.toml", "limit": 4}, run="e"))
    assert asked["details"]["work"]["questions"]["asks"] == {"the model": 8} and "up to 7 tokens" in asked["text"]
    asked = data_of(call(tmp_path, "judge_pairs", order=where | {"places": ["pairs.jsonl"]}, run="j"))
    assert asked["details"]["work"]["questions"]["asks"] == {"the judge": 12}


def test_a_suite_that_can_execute_python_is_left_to_a_person(tmp_path):
    (tmp_path / "s.toml").write_text('name = "s"\n[[tasks]]\nname = "t"\ninspect = "evil.py@task"\n')
    said = data_of(call(tmp_path, "evaluate_model", order={"target": "http://x/v1", "suite": "s.toml"}, run="e"))
    assert said["status"] == "bad_input" and "execute Python" in said["text"]


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("red_team", {"order": {"target": "../model"}, "run": "r"}),
        ("red_team", {"order": {"target": "http://x/v1", "settings": ["judge_place=/etc"]}, "run": "r"}),
        ("red_team", {"order": {"target": "http://x/v1", "behaviours": ["/etc/passwd"]}, "run": "r"}),
        ("evaluate_model", {"order": {"target": "http://x/v1", "suite": "gsm8k", "data": ".."}, "run": "r"}),
        ("evaluate_model", {"order": {"target": "http://x/v1", "suite": "up.toml"}, "run": "r"}),
        ("judge_pairs", {"order": {"target": "http://x/v1", "places": ["../p.jsonl"]}, "run": "r"}),
        ("lay_out_study", {"pairs": "/etc/passwd", "out": "s", "raters": 1}),
        ("show_results", {"folder": "../.."}),
    ],
)
def test_nothing_outside_the_root(tmp_path, name, arguments):
    (tmp_path.parent / "out.jsonl").write_text('{"q": "x"}\n')
    task = '[[tasks]]\nname = "t"\ndata = "../out.jsonl"\ntemplates = ["{{q}}"]\n'
    (tmp_path / "up.toml").write_text('name = "up"\n' + task)
    said = data_of(call(tmp_path, name, **arguments))
    assert said["status"] == "bad_input" and "give a path inside" in said["text"], said


def test_a_study_is_laid_out_and_tells_nothing_before_its_end(tmp_path):
    write_lines(tmp_path / "pairs.jsonl", PAIRS)
    laid = data_of(call(tmp_path, "lay_out_study", pairs="pairs.jsonl", out="study", raters=2, per_pair=2, checks=2, difference=0.4))  # fmt: skip
    assert laid["data"]["votes"] == 12 and 0 < laid["data"]["power"] < 1 and laid["evidence"]
    task = Annotation(tmp_path / "study" / "pairs.jsonl")
    for who, less in (("rater-1", 0), ("rater-2", 1)):
        for item in list(task.share_of(who))[less:]:
            pair = task.pairs[item]
            best = pair.check or ("a" if pair.a_model == "good" else "b")
            task.judge(who, item, "left" if task.left_of(who, item) == best else "right")
    early = data_of(call(tmp_path, "show_results", folder="study"))
    assert "looking early" in early["text"] and all(e["id"].startswith("study.") for e in early["evidence"])
    task.judge("rater-2", task.share_of("rater-2")[0], "tie")
    said = data_of(call(tmp_path, "show_results", folder="study"))
    assert "Krippendorff" in said["text"] and any(e["id"] == "votes.alpha" for e in said["evidence"])
