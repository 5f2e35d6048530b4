import re
import shlex
import sys
import tomllib
from pathlib import Path

from aether.evidence.extras import EXTRAS, install_command

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
ASKED = PYPROJECT["project"]["optional-dependencies"]


def modules_of(extra: str) -> set[str]:
    """The extra's packages, those of extras that it includes too, as module names."""
    found: set[str] = set()
    for requirement in ASKED[extra]:
        inner = re.match(r"aether-engineer\[(.*)\]", requirement)
        if inner:
            found = found.union(*(modules_of(name) for name in inner[1].split(",")))
        else:
            found.add(re.match(r"[\w-]+", requirement)[0].replace("-", "_"))
    return found


def test_the_table_says_what_pyproject_says():
    assert {extra: set(names) for extra, names in EXTRAS.items()} == {extra: modules_of(extra) for extra in EXTRAS}
    assert set(ASKED) == {*EXTRAS, "evaluate", "all"} and modules_of("evaluate") == modules_of("train")


def test_the_command_is_for_this_interpreter_and_this_installation():
    words = shlex.split(install_command("train", "serve"))
    assert words[:4] == [sys.executable, "-m", "pip", "install"]
    assert words[4:] == ["-e", f"{Path(__file__).parents[2]}[train,serve]"]
