"""Small corpora with distinct documents, and the way the stage is run in tests."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from aether.spec.evidence import Evidence
from aether.spec.run import Progress, StepContext
from aether.stages.data.recipe import DataRecipe
from aether.stages.data.run import run
from aether.stages.data.sources import pin

Words = Callable[[int, int], str]
Curate = Callable[..., tuple[Path, dict[str, Evidence]]]


def words(seed: int, count: int = 120) -> str:
    """Lines of random short words: no two seeds share a shingle."""
    rng = random.Random(seed)
    lines = []
    for _ in range(max(1, count // 8)):
        lines.append(" ".join("".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(8)))
    return "\n".join(lines) + "\n"


@pytest.fixture
def make_text() -> Callable[..., str]:
    return words


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """40 distinct files in 8 folders."""
    root = tmp_path / "corpus"
    for number in range(40):
        folder = root / f"package{number % 8}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"module{number:02d}.py").write_text(words(number), encoding="utf-8")
    return root


@pytest.fixture
def curate(tmp_path: Path) -> Curate:
    """Pin and run a recipe; gives the output folder and the evidence by id."""

    def go(name: str = "out", told: list[Progress] | None = None, **fields) -> tuple[Path, dict[str, Evidence]]:
        fields = {"vocab_size": 300, "split": {"group_max_share": 0.1, "test": 0.1, "validation": 0.1}} | fields
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        listener = (lambda _: None) if told is None else told.append
        evidence = run(pin(DataRecipe(**fields)), StepContext("data", out, {}, 0, 1, listener))
        return out, {e.id: e for e in evidence}

    return go
