"""Tasks of two turns, on a server over HTTP and on a tiny model: the own first answer stands before the second question."""

import json

import pytest
from tests.helpers.openai_endpoint import served
from tests.helpers.tiny_served_model import write_model

from aether.counsel.judging import pairs_to_judge
from aether.evidence.hashing import hash_value
from aether.evidence.items import read_items
from aether.spec.errors import InputError
from aether.stages.evaluate.suites.run import Order, evaluate
from aether.stages.evaluate.suites.suite import Suite, Task, read_suite
from aether.stages.evaluate.suites.target import Target

TASK = {
    "name": "sum", "data": "d.jsonl", "templates": ["Add {{a}} and {{b}}."], "follow_ups": ["Now add {{c}} to that."],
    "target": "{{a + b + c}}", "extract": r"(\d+)", "stop": [], "max_tokens": 8, "slices": ["kind"],
}  # fmt: skip


@pytest.fixture
def data(tmp_path):
    rows = [{"a": i, "b": 2, "c": 3, "kind": "even" if i % 2 == 0 else "odd"} for i in range(6)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def order(place, data, out, chat=True, **fields):
    suite = Suite.model_validate({"name": "s", "tasks": [TASK | fields]})
    return Order(Target(place=place, model="m", chat=chat), suite, data, data / out)


def adds(body):
    """Adds what the conversation asks for, to its own earlier answer; wrong about the second turn of 4 + 2."""
    *before, last = [message["content"] for message in body["messages"]]
    numbers = [int(word.strip(".")) for word in last.split() if word.strip(".").isdigit()]
    total = sum(numbers) + (int(before[-1].split()[-1]) if before else 0)
    return f"It is {total + (total == 9)}"


def test_the_second_question_comes_after_the_model_s_own_first_answer(data):
    with served(adds) as (base, requests):
        items = evaluate(order(base, data, "out"))
        assert len(requests) == 12
        second = [r["messages"] for r in requests if len(r["messages"]) == 3]
        assert [m["role"] for m in second[0]] == ["user", "assistant", "user"] and len(second) == 6
        answers = data / "out" / "answers.jsonl"
        answers.write_text("".join(answers.read_text().splitlines(keepends=True)[:8]))  # as a kill leaves it
        assert evaluate(order(base, data, "out")) == items == read_items(data / "out" / "items.jsonl")
        assert len(requests) == 12 + 4, "six first turns and two second ones were kept"
    assert [item.values["exact_match"] for item in items] == [1, 1, 1, 1, 0, 1]
    assert items[0].prompt == "[turn 1]\nAdd 0 and 2.\n\n[turn 2]\nNow add 3 to that."
    assert items[0].answer == "[turn 1]\nIt is 2\n\n[turn 2]\nIt is 5" and items[0].tags == {"kind": "even"}


def test_two_models_conversations_are_paired_for_a_judge(data):
    for name, reply in (("one", adds), ("two", "I will not.")):
        with served(reply) as (base, _):
            evaluate(order(base, data, name, metric="words"))
    pairs = pairs_to_judge([data / "one", data / "two"])
    assert len(pairs) == 6 and pairs[0].prompt.endswith("Now add 3 to that.")
    assert "[turn 2]\nIt is 5" in pairs[0].a and pairs[0].b.count("I will not.") == 2 and pairs[0].reference == "5"


def test_weights_are_given_the_conversation_as_text_and_none_is_cut(data):
    model = str(write_model(data / "model"))
    items = evaluate(order(model, data, "out", chat=False, metric="words", max_tokens=3))
    assert all(item.answer.startswith("[turn 1]\n") and "\n\n[turn 2]\n" in item.answer for item in items)
    assert max(len(item.answer) for item in items) < 80, "three tokens a turn, though the folder's own limit is 64"
    with pytest.raises(InputError, match="a context of 96 tokens"):
        evaluate(order(model, data, "long", chat=False, max_tokens=40))


def test_the_suite_that_comes_along_asks_both_turns(tmp_path):
    (tmp_path / "mt_bench").mkdir()
    rows = [{"question_id": 1, "category": "math", "turns": ["one?", "two?"], "reference": ["1", "2"]},
            {"question_id": 2, "category": "writing", "turns": ["three?", "four?"]}]  # fmt: skip
    (tmp_path / "mt_bench" / "question.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with served("yes") as (base, requests):
        items = evaluate(
            Order(Target(place=base, model="m", chat=True), read_suite("mt-bench"), tmp_path, tmp_path / "out")
        )
    assert len(requests) == 4 and [item.target for item in items] == ["1\n\n2", ""]
    assert {item.values["words"] for item in items} == {2.0}


def test_a_task_of_one_turn_keeps_its_fingerprint_and_bad_ones_are_named():
    plain = Task.model_validate({k: v for k, v in TASK.items() if k != "follow_ups"})
    assert "follow_ups" not in plain.model_dump(mode="json") and hash_value(plain.model_dump(mode="json"))
    with pytest.raises(ValueError, match="follow_ups"):
        Task.model_validate(TASK | {"few_shot": [2], "few_shot_data": "d.jsonl"})
