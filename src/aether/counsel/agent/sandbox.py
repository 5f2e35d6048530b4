"""Runs a snippet of Python from a reply away from everything: another process, no network, bounded time, memory, files and processes.

On Linux, in a network namespace of its own (`unshare`). Where that is not to be had, nothing is run, and that is said.
"""

import functools
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

WALL_S = 20.0
CPU_S = 10
MEMORY_BYTES = 2 * 2**30
FILE_BYTES = 2**20
OUTPUT_CHARACTERS = 4000


@dataclass(frozen=True)
class Ran:
    """What came of it. `code` None: it was not run, for `why`."""

    code: int | None
    output: str = ""
    why: str = ""


@functools.cache
def isolation() -> tuple[str, ...] | None:
    """The words before a command that takes the network away, tried once; None where there are none."""
    program = shutil.which("unshare")
    if program is None:
        return None
    for words in ((program, "--net", "--map-root-user", "--user"), (program, "--net")):
        done = subprocess.run([*words, sys.executable, "-c", "pass"], capture_output=True, check=False, timeout=30)
        if done.returncode == 0:
            return words
    return None


def run_python(code: str, words: tuple[str, ...] | None, cpu_s: int = CPU_S) -> Ran:
    """Run a snippet behind the words of `isolation`, for `cpu_s` seconds of a processor; its output is data."""
    if words is None:
        return Ran(None, why="no way to take the network away was found (unshare)")
    with tempfile.TemporaryDirectory(prefix="aether-snippet-") as folder:
        try:
            done = subprocess.run(
                [*words, sys.executable, "-I", "-c", code],
                capture_output=True,
                cwd=folder,
                env={"HOME": folder, "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
                timeout=WALL_S,
                preexec_fn=functools.partial(_limit, cpu_s),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Ran(124, why=f"it ran past {WALL_S:g} s")
    said = (done.stdout + done.stderr).decode(errors="replace")
    return Ran(done.returncode, said[:OUTPUT_CHARACTERS])


def _limit(cpu_s: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
