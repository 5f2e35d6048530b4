"""A core install in miniature: an interpreter that sees the core's packages and none of the extras'. Links, no download."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import aether


def _core_distributions() -> set[str]:
    """The distributions that the package asks for without any extra, and what those ask for."""
    found, open_names = set(), {"aether-engineer"}
    while open_names:
        name = open_names.pop()
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # asked for on another system only
            continue
        found.add(name)
        wanted = {re.match(r"[\w.-]+", r)[0].lower() for r in requires if "extra ==" not in r}
        open_names |= wanted - found
    return found - {"aether-engineer"}


def link_core(folder: Path) -> Path:
    """A site folder with links to every file of the core's distributions."""
    folder.mkdir()
    for name in _core_distributions():
        files = metadata.files(name) or []
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            place = folder / top
            if not place.exists():
                place.symlink_to(Path(str(metadata.distribution(name).locate_file(top))).resolve())
    return folder


def run_core(site: Path, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`aether WORDS` with nothing but the standard library, the core's packages and Aether itself on the path."""
    path = os.pathsep.join([str(Path(aether.__file__).parents[1]), str(site)])
    return subprocess.run(
        [sys.executable, "-S", "-m", "aether", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        timeout=300,
        env=os.environ | {"PYTHONPATH": path},
    )
