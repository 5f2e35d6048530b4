import os
import sys
import time

import pytest

from aether.spec.errors import InputError
from aether.stages.data.recipe import DataRecipe
from aether.stages.data.sources import find_files, manifest, pin


def ids(**fields):
    return [f.id for f in find_files(DataRecipe(**fields))]


def test_folder_is_sorted_and_ids_do_not_depend_on_the_place(tmp_path):
    for name in ("b/z.txt", "b/a.txt", "a.txt", "c/d/e.txt", "b/.git/config", "b/__pycache__/x.txt"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert ids(sources=str(tmp_path / "data")) == ["data/a.txt", "data/b/a.txt", "data/b/z.txt", "data/c/d/e.txt"]


def test_file_glob_include_and_two_sources_of_one_name(tmp_path):
    for name in ("x/data/a.py", "x/data/b.txt", "y/data/a.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    assert ids(sources=str(tmp_path / "x/data/b.txt")) == ["b.txt"]
    assert ids(sources=str(tmp_path / "x" / "**" / "*.py")) == ["x/data/a.py"]
    assert ids(sources=(str(tmp_path / "x/data"), str(tmp_path / "y/data")), include="*.py") == [
        "data/a.py",
        "data-2/a.py",
    ]


def test_symlink_loop_and_dangling_link_and_pipe(tmp_path):
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("x")
    (root / "sub" / "loop").symlink_to(root, target_is_directory=True)
    (root / "gone.txt").symlink_to(root / "nothing")
    os.mkfifo(root / "pipe.txt")
    found = {f.id: f.problem for f in find_files(DataRecipe(sources=(str(root),)))}
    assert found["data/a.txt"] is None
    assert "No such file" in (found["data/gone.txt"] or "")
    assert found["data/pipe.txt"] == "it is not a regular file"
    assert len(found) == 3


def test_python_stdlib_and_package_without_importing():
    found = ids(sources=("python:stdlib",))
    assert "stdlib/json/decoder.py" in found and "stdlib/argparse.py" in found
    assert not [i for i in found if "site-packages" in i or "__pycache__" in i or not i.endswith(".py")]
    before = set(sys.modules)
    package = ids(sources=("python:package/rensa",))
    assert package == ["rensa/__init__.py"]
    assert "rensa" in before or "rensa" not in sys.modules
    assert ids(sources=("python:package/argparse",)) == ["argparse"]


@pytest.mark.parametrize(
    "source, part",
    [
        ("/nowhere/at/all", "no such file or folder"),
        ("python:package/no_such_package_here", "pip install"),
        ("python:package/os.path", "python:package/NAME"),
        ("python:else", "python:stdlib or"),
        ("python:package/sys", "built into"),
        ("/nowhere/*.txt", "holds no file"),
    ],
)
def test_a_source_that_is_not_there_names_field_value_and_mend(source, part):
    with pytest.raises(InputError, match=part) as error:
        ids(sources=(source,))
    assert "data.sources" in str(error.value) and source in str(error.value)


def test_manifest_sees_content_names_and_removal_but_not_times(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    (root / "a.txt").write_text("one")
    (root / "b.txt").write_text("two")
    recipe = DataRecipe(sources=(str(root),))
    first = manifest(recipe)
    assert first.bytes == 6 and first.sources[0].files == 2
    os.utime(root / "a.txt", (time.time(), 1))
    assert manifest(recipe) == first and pin(recipe).manifest_sha256 == first.sha256
    (root / "a.txt").write_text("onE")
    changed = manifest(recipe).sha256
    (root / "a.txt").write_text("one")
    (root / "b.txt").rename(root / "c.txt")
    assert len({first.sha256, changed, manifest(recipe).sha256}) == 3


def test_recipe_refuses_bands_that_do_not_divide_and_unknown_keys():
    with pytest.raises(InputError, match="must divide permutations = 128"):
        DataRecipe.model_validate({"sources": ["x"], "near_duplicates": {"bands": 33}})
    with pytest.raises(ValueError, match="extra"):
        DataRecipe.model_validate({"sources": ["x"], "colour": "red"})
