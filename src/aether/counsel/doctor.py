"""What works here, what is missing, and the command that mends it. Tries things; guesses nothing from versions alone."""

import importlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from aether.evidence.extras import EXTRAS, install_command, module_of
from aether.evidence.provenance import cores
from aether.hardware.compiler import compiler_fault

Health = Literal["ok", "missing", "broken", "warning"]

_TORCH_TRIAL = """
import torch
x = torch.randn(64, 64, requires_grad=True)
with torch.autocast("cpu", torch.bfloat16):
    (x @ x).sum().backward()
assert x.grad is not None and torch.isfinite(x.grad).all()
print(torch.__version__, "cuda" if torch.cuda.is_available() else "cpu")
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `mend` is a command or an action, empty when nothing is wrong."""

    name: str
    health: Health
    detail: str
    mend: str = ""


def examine(folder: Path) -> tuple[Finding, ...]:
    """Every finding for this interpreter and for runs kept in `folder`."""
    found = [_python(), _machine(), _disk(folder), _writable(folder)]
    seen: dict[str, str] = {}
    for extra, modules in EXTRAS.items():
        seen |= {name: extra for name in modules if name not in seen}
    found += [_module(extra, name) for name, extra in seen.items()]
    found += [_torch(), _standard_library(), _compiler()]
    return tuple(found)


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info[:2] in ((3, 11), (3, 12)):
        return Finding("python", "ok", version)
    return Finding("python", "warning", f"{version} is untested", "use Python 3.11 or 3.12")


def _machine() -> Finding:
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    detail = f"{cores()} cores, {memory_bytes / 1e9:.1f} GB memory"
    if memory_bytes < 4e9:
        return Finding("machine", "warning", detail, "close other programs; under 4 GB is untested")
    return Finding("machine", "ok", detail)


def _disk(folder: Path) -> Finding:
    place = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.exists())
    free = shutil.disk_usage(place).free
    if free < 2e9:
        return Finding(
            "disk", "warning", f"{free / 1e9:.1f} GB free at {place}", "free some space, or use --out elsewhere"
        )
    return Finding("disk", "ok", f"{free / 1e9:.1f} GB free at {place}")


def _writable(folder: Path) -> Finding:
    place = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.exists())
    if os.access(place, os.W_OK):
        return Finding("run folder", "ok", str(folder))
    return Finding("run folder", "broken", f"{place} is not writable", "choose another folder with --out")


def _module(extra: str, name: str) -> Finding:
    mend = install_command(extra)
    try:
        version = metadata.version(name.replace("_", "-"))
    except metadata.PackageNotFoundError:
        return Finding(f"{extra}: {name}", "missing", "not installed", mend)
    if name in ("torch", "mlflow", "transformers", "compressed_tensors"):
        return Finding(f"{extra}: {name}", "ok", version)
    try:
        importlib.import_module(module_of(name))
    except ImportError as error:
        return Finding(f"{extra}: {name}", "broken", f"{version} does not import: {error}", f"{mend} --force-reinstall")
    return Finding(f"{extra}: {name}", "ok", version)


def _torch() -> Finding:
    """A bf16 forward and backward in a process of its own: a crash there is a finding, not our crash."""
    if importlib.util.find_spec("torch") is None:
        return Finding("torch runs", "missing", "torch is not installed", install_command("train"))
    done = subprocess.run([sys.executable, "-c", _TORCH_TRIAL], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return Finding("torch runs", "ok", f"bf16 forward and backward on {done.stdout.strip()}")
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return Finding("torch runs", "broken", last, f"{install_command('train')} --force-reinstall")


def _standard_library() -> Finding:
    folder = Path(sysconfig.get_path("stdlib"))
    count = sum(1 for _ in folder.glob("*.py"))
    if count:
        return Finding("demo corpus", "ok", f"{count} modules at the top of {folder}")
    return Finding("demo corpus", "missing", f"no Python source in {folder}", "give the brief another data.sources")


def _compiler() -> Finding:
    fault = compiler_fault()
    if fault is None:
        return Finding("torch.compile", "ok", "the C++ compiler builds a Python extension with OpenMP")
    return Finding(
        "torch.compile",
        "warning",
        f"{fault}; long trainings run about a tenth slower",
        "apt-get install g++ python3-dev",
    )
