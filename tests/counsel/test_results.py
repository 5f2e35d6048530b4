"""Folders of results: what is said of one that cannot be compared."""

from pathlib import Path

import pytest

from aether.counsel.results import check_comparable
from aether.spec.errors import InputError


def _folder(path: Path, *names: str) -> Path:
    path.mkdir()
    for name in names:
        (path / name).write_text("{}\n")
    return path


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (("evaluation.json", "items.jsonl"), ("evaluation.json",), "/b': it is not finished; give its command again"),
        (("evaluation.json", "items.jsonl"), ("run.json",), "/b': it holds no evaluation"),
        (
            ("evaluation.json", "judged.jsonl"),
            ("evaluation.json", "items.jsonl"),
            "/a': a judgement has no items to pair",
        ),
    ],
)
def test_what_cannot_be_compared_is_said_to_be_so(
    tmp_path: Path, first: tuple[str, ...], second: tuple[str, ...], said: str
) -> None:
    folders = _folder(tmp_path / "a", *first), _folder(tmp_path / "b", *second)
    with pytest.raises(InputError) as error:
        check_comparable(*folders)
    assert said in str(error.value)


def test_runs_and_whole_evaluations_can_be_compared(tmp_path: Path) -> None:
    check_comparable(_folder(tmp_path / "a", "run.json"), _folder(tmp_path / "b", "run.json"))
    whole = ("evaluation.json", "items.jsonl")
    check_comparable(_folder(tmp_path / "c", *whole), _folder(tmp_path / "d", *whole))
