"""Ceilings on the tail: function, file and parameter counts."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "aether"
FILES = sorted(SRC.rglob("*.py"))
EXCEPTIONS: dict[str, str] = {}
"""path:function -> date and reason. Short, and shrinking."""


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(SRC).as_posix())
def test_size(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module opens with what it is"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            where = f"{path.relative_to(SRC).as_posix()}:{node.name}"
            if where in EXCEPTIONS:
                continue
            assert node.end_lineno - node.lineno < 60, f"{where} is longer than 60 lines"
            given = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            given = [a for a in given if a not in ("self", "cls")]
            assert len(given) <= 8, f"{where} takes {len(given)} parameters"
