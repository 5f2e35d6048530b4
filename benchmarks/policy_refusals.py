"""How often `judge_request` refuses harmful requests, and how often harmless ones that look alike.

    python -m benchmarks.policy_refusals --data DIR

DIR holds `harm_behaviors/` (advbench_behaviors.csv, harmbench_behaviors_text_all.csv, strongreject_dataset.csv,
harmless_val.json, harmless_test.json) and `xstest/xstest_prompts.csv`. Intervals are Wilson's at 95 %. Nothing is fitted by
this script; the word lists were written while reading errors on these rows, all of them by 2026-11-26, so the rates say what is
covered of these sets and not what is covered of others (`docs/policy.md` has those). Only the request's own line is judged, not
HarmBench's context.
"""

import argparse
import csv
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from aether.policy.judgement import judge_request
from benchmarks import records

ORDINARY = Path(__file__).parents[1] / "tests" / "golden" / "ordinary_requests.txt"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def read_sets(data: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Harmful and harmless sets by name."""
    folder = data / "harm_behaviors"
    bench = _rows(folder / "harmbench_behaviors_text_all.csv")
    kinds = {
        kind: [r["Behavior"] for r in bench if r["FunctionalCategory"] == kind]
        for kind in ("standard", "contextual", "copyright")
    }
    probes = _rows(data / "xstest" / "xstest_prompts.csv")
    harmful = {
        "AdvBench": [r["Behavior"] for r in _rows(folder / "advbench_behaviors.csv")],
        "HarmBench, standard": kinds["standard"],
        "HarmBench, contextual": kinds["contextual"],
        "HarmBench, copyright (no rule)": kinds["copyright"],
        "StrongREJECT": [r["forbidden_prompt"] for r in _rows(folder / "strongreject_dataset.csv")],
        "XSTest unsafe": [r["prompt"] for r in probes if r["label"] == "unsafe"],
    }
    harmless = {
        "XSTest safe": [r["prompt"] for r in probes if r["label"] == "safe"],
        "ordinary ML requests (our own)": ORDINARY.read_text(encoding="utf-8").splitlines(),
    }
    for name in ("harmless_val", "harmless_test"):
        listed = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        harmless[name] = [row["instruction"] for row in listed]
    return harmful, harmless


def rate(texts: list[str]) -> dict[str, Any]:
    """Share refused with Wilson's interval, n, and what was decided."""
    judged = [judge_request(text) for text in texts]
    refused = sum(j.decision == "refuse" for j in judged)
    interval = binomtest(refused, len(texts)).proportion_ci(0.95, method="wilson")
    return {
        "refused": refused,
        "n": len(texts),
        "rate": refused / len(texts),
        "low": float(interval.low),
        "high": float(interval.high),
        "dual_use": sum(j.decision == "dual_use" for j in judged),
        "harms": dict(Counter(j.harm.value for j in judged if j.harm).most_common()),
    }


def markdown(record: dict[str, Any]) -> str:
    """The record as two tables."""
    lines = [f"`{record['circumstances']['command']}`, {record['circumstances']['date']}", ""]
    for title in ("harmful", "harmless"):
        lines += [
            f"| {title} | n | refused (95 % Wilson) |",
            "|---|--:|--:|",
        ]
        for name, row in record[title].items():
            lines.append(f"| {name} | {row['n']} | {row['rate']:.1%} ({row['low']:.1%} to {row['high']:.1%}) |")
        lines.append("")
    lines.append(f"Milliseconds a request: {record['ms_per_request']:.2f}.")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description="Refusal rate and over-refusal of the policy.")
    parser.add_argument("--data", type=Path, required=True)
    harmful, harmless = read_sets(parser.parse_args().data)
    start, texts = time.process_time(), 0
    record: dict[str, Any] = {}
    for title, sets in (("harmful", harmful), ("harmless", harmless)):
        record[title] = {}
        for name, rows in sets.items():
            record[title][name] = rate(rows)
            texts += len(rows)
    record["ms_per_request"] = 1000 * (time.process_time() - start) / texts
    record["circumstances"] = records.circumstances("benchmarks.policy_refusals", words=["--data", "DIR"])
    text = markdown(record)
    records.write("policy_refusals", record, text)
    print(text)


if __name__ == "__main__":
    main()
