"""The direction of imports, read from the source: those inside functions count too."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "aether"

MAY_IMPORT = {
    "spec": set(),
    "knowledge": {"spec"},
    "hardware": {"spec"},
    "evidence": {"spec"},
    "policy": {"spec", "knowledge", "hardware", "evidence"},
    "models": {"spec", "knowledge", "hardware", "evidence"},
    "stages": {"spec", "knowledge", "hardware", "evidence", "policy", "models"},
}
_BELOW = set(MAY_IMPORT)
MAY_IMPORT |= dict.fromkeys(("planning", "running", "report"), _BELOW)
MAY_IMPORT["counsel"] = _BELOW | {"planning", "running", "report"}
MAY_IMPORT["surfaces"] = MAY_IMPORT["counsel"] | {"counsel"}

HEAVY = ("torch", "transformers", "tokenizers", "torchao", "mlflow", "starlette", "uvicorn")


def imports_of(path: Path) -> set[str]:
    """Every module that a file names in an import, wherever in the file it stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write absolute imports"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def aether_parts(path: Path) -> set[tuple[str, ...]]:
    return {tuple(name.split(".")[1:]) for name in imports_of(path) if name.startswith("aether.")}


FILES = sorted(SRC.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(SRC).as_posix())
def test_imports_point_one_way(path):
    part = path.relative_to(SRC).parts[0]
    if part == "__init__.py":
        assert not aether_parts(path)
    if part.endswith(".py"):
        return
    for target in aether_parts(path):
        if target[0] in MAY_IMPORT and target[0] != part:
            assert target[0] in MAY_IMPORT[part], f"{part} may not import aether.{'.'.join(target)}"


@pytest.mark.parametrize("path", sorted((SRC / "stages").rglob("*/*.py")), ids=lambda p: p.relative_to(SRC).as_posix())
def test_a_stage_imports_no_other_stage(path):
    stage = path.relative_to(SRC / "stages").parts[0]
    for target in aether_parts(path):
        if target[0] == "stages" and len(target) > 1:
            assert target[1] == stage, f"{stage} imports aether.{'.'.join(target)}"


def test_planning_report_and_counsel_read_no_run():
    for part in ("planning", "report", "counsel"):
        for path in (SRC / part).rglob("*.py"):
            for target in aether_parts(path):
                if target[0] == "stages" and len(target) > 2:
                    assert target[2] in ("recipe", "estimate"), f"{path.name} imports aether.{'.'.join(target)}"


@pytest.mark.parametrize("part", ["spec", "knowledge", "evidence", "policy", "planning"])
def test_light_parts_name_no_heavy_package(part):
    for path in (SRC / part).rglob("*.py"):
        for name in imports_of(path):
            assert name.split(".")[0] not in HEAVY, f"{path.name} imports {name}"


@pytest.mark.parametrize("name", ["recipe", "estimate"])
def test_recipes_and_estimates_name_no_heavy_package(name):
    found = sorted((SRC / "stages").rglob(f"{name}.py"))
    assert found
    for path in found:
        assert not {n for n in imports_of(path) if n.split(".")[0] in HEAVY}, path


@pytest.mark.parametrize("module", ["aether", "aether.planning", "aether.counsel", "aether.surfaces.cli.main"])
def test_the_light_side_loads_no_torch(module):
    code = f"import sys, importlib; importlib.import_module({module!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_pickle_and_no_eval():
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "torch.load", "torch.save", "pickle.load", "pickle.loads"), path
        assert not {n.split(".")[0] for n in imports_of(path)} & {"pickle", "dill", "cloudpickle", "joblib"}, path


def test_two_modules_know_the_agent_library():
    users = [path for path in FILES if {n.split(".")[0] for n in imports_of(path)} & {"pydantic_ai"}]
    assert [path.relative_to(SRC).as_posix() for path in users] == [
        "counsel/agent/model.py",
        "counsel/agent/providers.py",
    ]
