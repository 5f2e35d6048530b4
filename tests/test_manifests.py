"""Manifests are generated: what stands in the repository is what the script writes."""

import re
from pathlib import Path

from scripts.manifests import OWNER, SHORT, manifests, project, skills

from aether import __version__
from aether.counsel.clients import skill_names

ROOT = Path(__file__).parents[1]


def test_every_manifest_is_current():
    old = [name for name, text in manifests().items() if (ROOT / name).read_text(encoding="utf-8") != text]
    assert not old, "run python -m scripts.manifests"


def test_one_version_and_one_name():
    assert project()["version"] == __version__
    assert f"mcp-name: io.github.{OWNER}/aether" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(SHORT) <= 100 and re.fullmatch(r"[a-z0-9-]+", OWNER)


def test_the_skills_of_the_repository_are_those_of_the_package():
    assert tuple(skills()) == skill_names()
