import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.spec.errors import InputError
from aether.stages.evaluate.suites.documents import documents, few_shot_documents, read_rows
from aether.stages.evaluate.suites.suite import Task


def task(**fields):
    return Task(**{"name": "t", "data": "d.jsonl", "templates": ("{{q}}:",), "target": "{{a}}"} | fields)


def write(folder, rows, name="d.jsonl"):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_document_holds_what_is_asked_and_what_is_right(tmp_path):
    write(tmp_path, [{"q": "1+1", "a": 2, "kind": "x", "more": [1]}])
    (row,) = documents(task(slices=("kind",)).variants()[0], tmp_path)
    assert row == {"kind": "x", "aether_id": "1", "aether_prompt": "1+1:", "aether_target": "2"}


def test_reversed_options_move_the_right_one(tmp_path):
    write(tmp_path, [{"q": "pick", "options": ["a", "b", "c"], "gold": 0}])
    asked = task(templates=("{{q}} {{choices|join('/')}}",), choices="options", target="{{gold}}", metric="accuracy",
                 option_orders="also reversed")  # fmt: skip
    plain, turned = (documents(variant, tmp_path)[0] for variant in asked.variants())
    assert (plain["aether_prompt"], plain["aether_target"]) == ("pick a/b/c", 0)
    assert (turned["aether_prompt"], turned["aether_target"]) == ("pick c/b/a", 2)


@given(st.lists(st.text(min_size=1), min_size=2, max_size=6), st.data())
def test_the_right_choice_stays_right_in_either_order(tmp_path_factory, choices, data):
    folder = tmp_path_factory.mktemp("d")
    gold = data.draw(st.integers(0, len(choices) - 1))
    write(folder, [{"q": "x", "options": choices, "gold": gold}])
    asked = task(choices="options", target="{{gold}}", metric="accuracy", option_orders="also reversed")
    found = [documents(variant, folder)[0] for variant in asked.variants()]
    assert all(row["aether_choices"][row["aether_target"]] == choices[gold] for row in found)


@pytest.mark.parametrize(
    ("rows", "fields", "told"),
    [
        ([{"a": 1}], {}, "'q' is undefined"),
        ([{"q": 1, "a": 1}], {"cluster": "kind"}, "no field kind"),
        (
            [{"q": 1, "a": "7", "options": ["x"]}],
            {"choices": "options", "metric": "accuracy"},
            "index of one of 1 choices",
        ),
        ([[1]], {}, "one object a line"),
    ],
)
def test_a_bad_item_is_named(tmp_path, rows, fields, told):
    write(tmp_path, rows)
    with pytest.raises(InputError, match=told):
        documents(task(**fields).variants()[0], tmp_path)


def test_files_of_every_kind(tmp_path):
    (tmp_path / "a.csv").write_text('q,a\n"x, y",2\n')
    assert read_rows(tmp_path, "a.csv") == [{"q": "x, y", "a": "2"}]
    (tmp_path / "w.txt").write_text(" \n = One = \n\n text \n\n = = Part = = \n\n more \n\n = Two = \n\n end \n")
    pages = [row["text"] for row in read_rows(tmp_path, "w.txt")]
    assert len(pages) == 2 and "Part" in pages[0] and "end" in pages[1]
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("data/one.jsonl", '{"q": 1}\n')
        archive.writestr("__MACOSX/data/one.jsonl", "not json")
    assert read_rows(tmp_path, "z.zip") == [{"id": "one-1", "q": 1}]
    (tmp_path / "bad.jsonl").write_text('{"q": 1}\n{')
    with pytest.raises(InputError, match="line 2"):
        read_rows(tmp_path, "bad.jsonl")
    with pytest.raises(InputError, match="no such file"):
        read_rows(tmp_path, "none.jsonl")
    (tmp_path / "x.bin").write_text("")
    with pytest.raises(InputError, match=r"\.jsonl"):
        read_rows(tmp_path, "x.bin")


def test_examples_before_a_prompt_come_from_a_file_of_their_own(tmp_path):
    write(tmp_path, [{"q": 1, "a": 1}])
    with pytest.raises(InputError, match="few_shot_data"):
        few_shot_documents(task(few_shot=(2,)).variants()[0], tmp_path)
    write(tmp_path, [{"q": 1, "a": 1}], "shots.jsonl")
    with pytest.raises(InputError, match="needs 2 items"):
        few_shot_documents(task(few_shot=(2,), few_shot_data="shots.jsonl").variants()[0], tmp_path)


def test_a_limit_draws_items_by_lot_and_always_the_same(tmp_path):
    write(tmp_path, [{"q": i, "a": i} for i in range(200)])
    variant = task().variants()[0]
    some = [row["aether_id"] for row in documents(variant, tmp_path, 20)]
    assert len(some) == 20 and some == [row["aether_id"] for row in documents(variant, tmp_path, 20)]
    assert max(map(int, some)) > 100 and len(documents(variant, tmp_path, 999)) == 200


def test_the_same_examples_stand_in_several_orders(tmp_path):
    lines = "".join(json.dumps({"q": f"shot {i}", "a": "x", "options": ["x"], "gold": 0}) + "\n" for i in range(5))
    (tmp_path / "shots.jsonl").write_text(lines)
    made = task(few_shot=(4,), few_shot_data="shots.jsonl", few_shot_orders=3)
    first, *others = [[row["aether_prompt"] for row in few_shot_documents(v, tmp_path)] for v in made.variants()]
    assert [v.label for v in made.variants()] == ["order=0", "order=1", "order=2"]
    assert first == sorted(first) and all(sorted(one) == first and one != first for one in others)
    assert "few_shot_orders" not in task(few_shot=(4,), few_shot_data="shots.jsonl").model_dump()
    with pytest.raises(ValueError, match="two or more"):
        task(few_shot=(0, 4), few_shot_data="shots.jsonl", few_shot_orders=2)
