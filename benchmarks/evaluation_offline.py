"""The demo's model and a published one, end to end and offline: suites, pages, and their paired comparison.

    python -m benchmarks.evaluation_offline MODEL [MODEL] --data FOLDER --context N [--json]

MODEL is a run of `aether build` or a model's file or folder; FOLDER holds `wikitext2` and `blimp` as `docs/evaluation.md` names them. The
evaluations go through the command line, with no network allowed to the libraries; each is asked for a second time, which must ask nothing.
What the record has of other models stays in it, with its own circumstances.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import records

SUITES = {"wikitext2": 8, "blimp": 200}
"""Suite -> items drawn by lot: a text of a few thousand words takes a published model ten seconds on a processor."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def main() -> None:
    """Evaluate, compare, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--context", type=int, required=True, help="Tokens that each model sees, no more than the smaller one's."
    )
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        rows = [_evaluated(model, suite, asked, Path(work)) for suite in SUITES for model in asked.models]
        pairs = [_compared(suite, asked.models, Path(work)) for suite in SUITES] if len(asked.models) == 2 else []
    names = [model.name for model in asked.models]
    words = [*names, "--data", "FOLDER", "--context", str(asked.context)]
    about = records.circumstances("benchmarks.evaluation_offline", "transformers", "lm_eval", words=words)
    before = _before(names)
    record = {
        "evaluations": [*before["evaluations"], *(row | {"about": about} for row in rows)],
        "comparisons": [*before["comparisons"], *(pair | {"about": about} for pair in pairs)],
    }
    records.write("evaluation_offline", record, _markdown(record))
    print(json.dumps(record) if asked.json else _markdown(record))


def _before(names: list[str]) -> dict[str, list[dict[str, Any]]]:
    path = records.FOLDER / "evaluation_offline.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {
        "evaluations": [row for row in found.get("evaluations", []) if row["model"] not in names],
        "comparisons": [row for row in found.get("comparisons", []) if not {row["a"], row["b"]} & set(names)],
    }


def _aether(*words: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "aether", *map(str, words), "--json"]
    done = subprocess.run(command, env={**os.environ, **OFFLINE}, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def _evaluated(model: Path, suite: str, asked: argparse.Namespace, work: Path) -> dict[str, Any]:
    out = work / f"{model.name}-{suite}"
    words = ("evaluate", model, "--suite", suite, "--data", asked.data, "--out", out, "--limit", SUITES[suite],
             "--set", f"max_length={asked.context}", "--set", "batch_size=2")  # fmt: skip
    began = time.perf_counter()
    found = _aether(*words)
    first = time.perf_counter() - began
    answers = len((out / "answers.jsonl").read_text(encoding="utf-8").splitlines())
    again = _aether(*words)
    after = len((out / "answers.jsonl").read_text(encoding="utf-8").splitlines())
    scores = [
        {"task": s["task"], "metric": s["metric"], "value": s["value"], "interval": s["interval"], "answers": s["answers"]}
        for s in found["scores"]
    ]  # fmt: skip
    return {
        "model": model.name, "suite": suite, "seconds": first, "answers": answers, "scores": scores,
        "same_again": again["scores"] == found["scores"] and after == answers, "has_page": (out / "report.html").exists(),
        "has_card": (out / "MODEL_CARD.md").exists(),
    }  # fmt: skip


def _compared(suite: str, models: list[Path], work: Path) -> dict[str, Any]:
    a, b = (work / f"{model.name}-{suite}" for model in models)
    return {"suite": suite, "a": models[0].name, "b": models[1].name, "found": _aether("compare", a, b)}


def _markdown(record: dict[str, Any]) -> str:
    lines = ["# Suites offline", ""]
    for about in {json.dumps(row["about"]): row["about"] for row in record["evaluations"]}.values():
        lines += [f"`{about['command']}`, {about['date']}, {about['machine']['cpu']}, {about['packages']}", ""]
    lines += [
        "| model | task | metric | score | 95 % | answers | the same again, nothing asked |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in record["evaluations"]:
        for s in row["scores"]:
            span = s["interval"]
            told = "" if span is None else f"{span['low']:.4f} to {span['high']:.4f}"
            again = "yes" if row["same_again"] else "no"
            lines.append(
                f"| {row['model']} | {s['task']} | {s['metric']} | {s['value']:.4f} | {told} | {s['answers']} | {again} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
