import pytest

from aether.spec.errors import InputError
from aether.stages.evaluate.suites.suite import Suite, Task, library, read_suite


@pytest.mark.parametrize("name", library())
def test_the_suites_that_come_along_are_read(name):
    suite = read_suite(name)
    assert suite.name == name and all(task.source for task in suite.tasks)


def test_a_grid_of_prompts_names_what_varies():
    task = Task(
        name="t", data="d.jsonl", templates=("a", "b"), few_shot=(0, 5), choices=("x", "y"), metric="accuracy",
        option_orders="also reversed",
    )  # fmt: skip
    labels = [variant.label for variant in task.variants()]
    assert len(labels) == len(set(labels)) == 8
    assert labels[0] == "template=0,few_shot=0,options=as written"
    assert [v.label for v in Task(name="t", data="d", templates=("a",)).variants()] == [""]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('name = "s"', "tasks"),
        ('name = "s"\n[[tasks]]\nname = "a"', "give one"),
        ('name = "s"\n[[tasks]]\nname = "a"\ndata = "d"\nharness = "h"', "give one"),
        ('name = "s"\n[[tasks]]\nname = "a"\ndata = "d"', "at least one prompt"),
        ('name = "s"\n[[tasks]]\nname = "a"\ndata = "d"\ntemplates = ["x"]\nmetric = "accuracy"', "no choices"),
        ('name = "s"\n[[tasks]]\nname = "a"\ndata = "d"\ntemplates = ["x"]\ncolour = 1', "colour"),
        ('name = "s"\n[[tasks]]\nname = "a"\nharness = "x"\n[[tasks]]\nname = "a"\nharness = "x"', "two tasks"),
        ("name = ", "Invalid value"),
    ],
)
def test_a_bad_suite_is_told_in_one_sentence(tmp_path, text, told):
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(InputError, match=told):
        read_suite(str(tmp_path / "s.toml"))


def test_an_unknown_suite_names_those_there_are():
    with pytest.raises(InputError, match="blimp"):
        read_suite("blump")
    assert Suite.model_validate({"name": "s", "tasks": [{"name": "a", "harness": "x"}]}).tasks[0].variants()
