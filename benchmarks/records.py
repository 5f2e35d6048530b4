"""What every benchmark record says besides its numbers: machine, date, command, versions."""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from aether.evidence.provenance import provenance

FOLDER = Path(__file__).parent / "records"


def circumstances(module: str, *packages: str, words: list[str] | None = None) -> dict[str, Any]:
    """Machine, date, command and versions of this process. `words` stand in for arguments that name this machine's paths.

    `load_average` is of the last minute: what else ran.
    """
    here = provenance()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join(["python", "-m", module, *(sys.argv[1:] if words is None else words)]),
        "machine": {"cpu": here.cpu, "cores": here.cores, "memory_bytes": here.memory_bytes},
        "python": platform.python_version(),
        "commit": here.commit,
        "dirty": here.dirty,
        "load_average": os.getloadavg()[0],
        "packages": {name: metadata.version(name) for name in ("torch", "numpy", *packages)},
    }


def mean_interval(values: list[float], level: float = 0.95) -> dict[str, float | int]:
    """Mean over seeds with a Student-t interval; the interval is left out for one value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean, "n": len(values)}
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values))
    return {"mean": mean, "low": mean - half, "high": mean + half, "level": level, "n": len(values)}


def write(name: str, record: dict[str, Any], markdown: str) -> Path:
    """Write `<name>.json` and `<name>.md` into the records folder."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(markdown, encoding="utf-8")
    return path
