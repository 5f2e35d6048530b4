"""Other planners beside ours on the same rows: each runs in an environment of its own, asked in JSON lines.

A peer's script reads rows on stdin and answers {"id", "value"} or {"id", "reason"}; whatever its package cannot be told or
does not know is a reason, never a guess of ours. Errors are compared on the rows that the peer answered, and on no others.
Memory calculators are given the published sizes of a model (`hub_config`), since most look them up online. Not here, because
they know nothing but what a hub says of a model's files: hf-mem, llm-mem. Not installable from an index: BLIS, Calculon (its own
validation error is quoted), LLM-Viewer.
"""

import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.planner_accuracy.setups import Row

SCRIPTS = {
    "aiconfigurator": ("aiconfigurator_peer.py", "inference"),
    "genz-llm": ("genz_peer.py", "inference"),
    "llm-analysis": ("llm_analysis_peer.py", "training"),
    "accelerate": ("memory_peers.py", "memory"),
    "deepspeed": ("memory_peers.py", "memory"),
    "fitcheck-llm": ("memory_peers.py", "memory"),
    "ftuneai": ("memory_peers.py", "memory"),
    "gpu-estimator": ("memory_peers.py", "memory"),
    "hf-vram-calc": ("memory_peers.py", "memory"),
    "qmemcalc": ("memory_peers.py", "memory"),
}
"""Distribution -> its script, and the family module whose rows it is asked about."""
SAMPLE = 300
"""Configurations of a family that are asked, chosen by a hash of their names: some peers take a second for each (chosen)."""
LEAST_ROWS = 3
"""Answers below which no error is given (chosen)."""


@dataclass(frozen=True)
class Answers:
    """What a peer said: values by row id, and how often it gave which kind of reason."""

    values: dict[str, float]
    reasons: Counter[str]


def ask(python: Path, script: Path, rows: Sequence[Row], name: str = "") -> Answers:
    """The peer's answers; `name` tells a script that knows several which one is meant. Raises RuntimeError with the end of its complaint when it stops before the last row."""
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    done = subprocess.run([str(python), str(script), name], input=lines, capture_output=True, text=True, check=False)
    values, reasons = {}, Counter()
    told = [json.loads(line) for line in done.stdout.splitlines()]
    if len(told) != len(rows):
        raise RuntimeError(f"{script.name} answered {len(told)} of {len(rows)} rows: {done.stderr[-500:]}")
    for answer in told:
        if "value" in answer:
            values[answer["id"]] = float(answer["value"])
        else:
            reasons[answer["reason"].partition(":")[0]] += 1
    return Answers(values, reasons)


def sampled(rows: Iterable[Row], most: int = SAMPLE) -> list[Row]:
    """At most `most` configurations; a configuration with two measured numbers is asked for both."""

    def place(name: str) -> str:
        return hashlib.sha256(name.encode()).hexdigest()

    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(str(row.get("row_id") or row["id"]), []).append(row)
    chosen = sorted(by_name, key=place)[:most]
    return [row for name in chosen for row in by_name[name]]


def version(python: Path, distribution: str) -> str:
    """The peer's version, from its own environment."""
    words = f"from importlib.metadata import version; print(version({distribution!r}))"
    return subprocess.run([str(python), "-c", words], capture_output=True, text=True, check=True).stdout.strip()


def errors(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Median and 90th percentile of |predicted / measured - 1| over (predicted, measured)."""
    found = np.abs(np.array([predicted / measured for predicted, measured in pairs]) - 1.0)
    return {"median_abs_error": float(np.median(found)), "p90_abs_error": float(np.quantile(found, 0.9))}


def beside(ours: dict[str, float], rows: Sequence[Row], answers: Answers) -> dict[str, Any]:
    """A peer and Aether on the rows of one family that the peer answered. `ours`: our prediction by row id."""
    both = [row for row in rows if row["id"] in answers.values and row["id"] in ours]
    found: dict[str, Any] = {"asked": len(rows), "answered": len(both), "answered_share": len(both) / len(rows)}
    if len(both) < LEAST_ROWS:
        return found
    peer = errors([(answers.values[row["id"]], row["value"]) for row in both])
    own = errors([(ours[row["id"]], row["value"]) for row in both])
    return found | {"peer": peer, "aether": own}


def markdown(compared: dict[str, dict[str, Any]], versions: dict[str, str]) -> str:
    """Family by family, each peer's error and ours on the same rows."""
    lines = [
        "| family | peer | rows it answered | its median % | ours | its p90 % | ours |",
        "|---|---|---|---|---|---|---|",
    ]
    for family, peers in compared.items():
        for peer, found in peers.items():
            head = f"| {family} | {peer} {versions[peer]} | {found['answered']} of {found['asked']} |"
            cells = ["-"] * 4
            if "peer" in found:
                names = ("median_abs_error", "p90_abs_error")
                cells = [f"{100 * found[who][name]:.1f}" for name in names for who in ("peer", "aether")]
            lines.append(f"{head} {' | '.join(cells)} |")
    return "\n".join(lines)
