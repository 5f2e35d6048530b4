import json

import pytest
from hypothesis import strategies as st

from aether.counsel.annotation import Annotation
from aether.spec.errors import InputError

VERDICTS = st.sampled_from(["a", "b", "tie"])


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f"p{i}", "a": f"a{i}", "b": f"b{i}"}) for i in range(20)))
    return Annotation(path)


def test_sides_are_drawn_and_stay(task):
    sides = [task.left_of("ann", i) for i in range(20)]
    assert set(sides) == {"a", "b"} and sides == [task.left_of("ann", i) for i in range(20)]
    assert sides != [task.left_of("bob", i) for i in range(20)]


def test_everything_is_judged_once_and_resumed(task):
    seen = []
    while (item := task.next_item("ann")) is not None:
        seen.append(item)
        task.judge("ann", item, "left")
        task = Annotation(task.path)
    assert sorted(seen) == list(range(20)) and seen != sorted(seen)


def test_a_judgement_is_of_the_answer_not_of_the_side(task):
    made = task.judge("ann", 3, "left")
    assert made.verdict == task.left_of("ann", 3)
    assert task.judge("ann", 3, "right").verdict != made.verdict and len(task.standing()) == 1


def test_a_line_that_was_cut_is_left_out(task):
    task.judge("ann", 0, "tie")
    with task.file.open("a") as file:
        file.write('{"item": 1, "anno')
    assert len(task.judgements()) == 1


def test_the_export_has_only_what_is_agreed(task):
    for who in ("ann", "bob"):
        for item, verdict in ((0, "a"), (1, "a" if who == "ann" else "b"), (2, "tie")):
            task.judge(
                who, item, "tie" if verdict == "tie" else "left" if task.left_of(who, item) == verdict else "right"
            )
    assert task.export() == [{"prompt": "p0", "chosen": "a0", "rejected": "b0"}]
    seen = task.agreement()["ann", "bob"]
    assert seen.items == 3 and seen.share == pytest.approx(2 / 3)


def test_checks_tell_who_reads_and_count_for_nothing_else(tmp_path):
    rows = [{"prompt": "p", "a": "long " * i, "b": "short", "a_model": "big", "b_model": "small"} for i in range(1, 9)]
    rows += [{"prompt": "check", "a": "right", "b": "gibberish", "check": "a"}] * 4
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = Annotation(tmp_path / "p.jsonl")
    for item in range(12):
        for who, wanted in (
            ("ann", "b" if item == 0 else "a"),
            ("bob", "a" if item == 1 else "b"),
            ("eve", "a" if item % 2 else "b"),
        ):
            task.judge(who, item, "left" if task.left_of(who, item) == wanted else "right")
    passed = {who: found.value for who, found in task.attention().items()}
    assert passed == {"ann": 1.0, "bob": 0.0, "eve": 0.5}
    votes = task.votes(leave_out=("bob", "eve"))
    assert len(votes.left) == 8 and votes.players == ("big", "small")
    assert (
        sum(
            votes.players[left if out == 1 else right] == "big"
            for left, right, out in zip(votes.left, votes.right, votes.outcome, strict=True)
        )
        == 7
    )
    assert len(task.votes().left) == 24
    assert all(row["prompt"] != "check" for row in task.export())
    alpha = task.alpha()
    assert alpha.items == 8 and alpha.value is not None and alpha.value < 0.5


@pytest.mark.parametrize("line, match", [("{", "line 1"), ('{"prompt": 1}', "line 1"), ("", "no pair")])
def test_files_that_are_none(tmp_path, line, match):
    path = tmp_path / "x.jsonl"
    path.write_text(line)
    with pytest.raises(InputError, match=match):
        Annotation(path)


def test_names_and_items_that_are_none(task):
    with pytest.raises(InputError, match="annotator"):
        task.judge("../x", 0, "left")
    with pytest.raises(InputError, match="20 pairs"):
        task.judge("ann", 99, "left")
