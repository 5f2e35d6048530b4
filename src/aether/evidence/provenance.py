"""Where and with what a step ran: code commit, packages, machine, command. No environment variables are read into it."""

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil

import aether
from aether.evidence.hashing import hash_value
from aether.spec.evidence import Provenance


def packages() -> dict[str, str]:
    """Every installed distribution and its version: the lock that a record names by hash and a run folder keeps."""
    found = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions() if d.metadata["Name"]}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


@functools.cache
def _commit() -> tuple[str | None, bool | None]:
    root = Path(aether.__file__).parents[2]
    if not (root / ".git").exists():
        return None, None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        dirty = bool(_git(root, "status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return commit, dirty


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()


@functools.cache
def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cores() -> int:
    """Processors that this process may use (the affinity mask, not the machine's total)."""
    return len(os.sched_getaffinity(0))


def provenance(accelerator: str | None = None) -> Provenance:
    """The circumstances of this process."""
    commit, dirty = _commit()
    return Provenance(
        aether_version=aether.__version__,
        commit=commit,
        dirty=dirty,
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=_cpu_name(),
        cores=cores(),
        memory_bytes=psutil.virtual_memory().total,
        accelerator=accelerator,
        packages_sha256=hash_value(packages()),
        command=(Path(sys.argv[0]).name, *sys.argv[1:]),
    )
