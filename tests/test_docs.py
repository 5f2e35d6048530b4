"""Docs that cannot lie: names, paths and links in them exist; no constant of the workplace leaks into the project."""

import importlib
import inspect
import pkgutil
import re
import subprocess
from pathlib import Path

import pytest
from pydantic import BaseModel

import aether.spec
from aether.surfaces.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_every_noun_is_in_the_glossary():
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    for module in pkgutil.iter_modules(aether.spec.__path__):
        for name, value in vars(importlib.import_module(f"aether.spec.{module.name}")).items():
            if inspect.isclass(value) and issubclass(value, BaseModel) and value.__module__.endswith(module.name):
                assert re.search(rf"\b{name}\b", glossary), f"{name} is not in docs/glossary.md"


def test_every_folder_is_on_the_map():
    page = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
    for folder in (ROOT / "src" / "aether").iterdir():
        if (folder / "__init__.py").exists():
            assert f"`{folder.name}/`" in page, folder.name


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_paths_and_links_exist(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"
    for path in re.findall(r"`((?:src|tests|docs|recipes|benchmarks)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), f"{page.name} names {path}"


def test_the_main_path_exists():
    page = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
    for path, symbol in re.findall(r"`(src/[\w/]+\.py)` `([\w.]+)`", page):
        last = symbol.split(".")[-1]
        assert re.search(rf"def {last}\b", (ROOT / path).read_text(encoding="utf-8")), f"{path} {symbol}"


def test_the_readme_names_every_command():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(re.search(rf"`(aether )?{command}\b", page) for command in COMMANDS)


def test_extras_of_the_doctor_are_those_of_the_package():
    from aether.counsel.doctor import EXTRAS

    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra, modules in EXTRAS.items():
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE)
        assert all(module.replace("_", "-") in project for module in modules)


def test_nothing_names_a_private_path():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    for name in filter(None, tracked):
        path = ROOT / name
        if path.suffix in (".md", ".py", ".toml", ".json", ".txt", ".j2", ".css") and path != Path(__file__).resolve():
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(?<![\w.])/(?:work|root)/\w", text), f"{name} names a path of one machine"
