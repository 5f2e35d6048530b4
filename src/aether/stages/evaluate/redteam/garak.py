"""What garak found, as items: its `report.jsonl` read, so that its probes get intervals, a page and comparisons too. No torch, no garak.

Follows the report of garak 0.17.1 (`attempt.py`): a finished attempt (status 2) has its prompt, its outputs, and for each detector a score for each
output; a score from the report's `eval_threshold` on is a hit. garak lives in an environment of its own; `docs/redteam.md` has the command that points
it at Aether's server.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from aether.evidence.files import write_atomically, write_json
from aether.evidence.hashing import hash_file
from aether.evidence.items import Item, write_lines
from aether.spec.errors import InputError

_FINISHED = 2
_THRESHOLD = 0.5
"""garak's own default."""


def read_report(path: Path) -> list[Item]:
    """An item for each output and detector: attack is the probe, family its module, category the detector; outputs of a prompt are alike.

    Raises InputError for a file without finished attempts.
    """
    threshold, found = _THRESHOLD, []
    for number, line in enumerate(_lines(path), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError.of(
                f"{path.name}, line {number}", line[:80], "it is not JSON; give garak's report.jsonl"
            ) from error
        if row.get("entry_type") == "start_run setup":
            threshold = float(row.get("run.eval_threshold") or _THRESHOLD)
        elif row.get("entry_type") == "attempt" and row.get("status") == _FINISHED:
            found += _items(row, threshold)
    if not found:
        raise InputError.of(
            "report", str(path), "it has no finished attempt; give garak's report.jsonl of a run that came to its end"
        )
    return found


def write_report_folder(path: Path, out: Path, command: str) -> list[Item]:
    """The items of a report as a folder that is read like a run of our own."""
    items = read_report(path)
    about = {"fingerprint": hash_file(path), "place": path.name, "command": command, "recipe": {"judge": "detector"}}
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "redteam.json", about)
    write_json(out / "calibrations.json", [])
    write_atomically(out / "items.jsonl", write_lines(items))
    return items


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError.of("report", str(path), "no such file")
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _items(row: dict[str, Any], threshold: float) -> list[Item]:
    probe, prompt = str(row["probe_classname"]), _said(row.get("prompt"))
    found = []
    for detector, scores in row.get("detector_results", {}).items():
        for at, (score, output) in enumerate(zip(scores, row.get("outputs", ()), strict=False)):
            if score is None or output is None:
                continue
            found.append(
                Item(
                    task="attack",
                    id=f"{row['uuid']}/{detector}/{at}",
                    cluster=hashlib.sha256(prompt.encode()).hexdigest()[:16],
                    tags={"attack": probe, "family": probe.split(".")[0], "category": detector},
                    prompt_sha256=hashlib.sha256(prompt.encode()).hexdigest(),
                    prompt=prompt,
                    answer=str(output.get("text") or ""),
                    target=str(row.get("goal") or ""),
                    values={"detector": float(score >= threshold)},
                )
            )
    return found


def _said(prompt: Any) -> str:
    """The turns of a conversation as one text."""
    turns = prompt.get("turns", []) if isinstance(prompt, dict) else []
    return "\n\n".join(str(turn.get("content", {}).get("text") or "") for turn in turns)
