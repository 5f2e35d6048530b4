"""Models evaluated end to end and offline: suites, a red team, one page and card of each, and the pairs compared.

    python -m benchmarks.evaluation_offline MODEL --data DIR --work WORK --suites wikitext2 blimp [--context N] [--red-team N] [--note TEXT]
    python -m benchmarks.evaluation_offline --compare A B --work WORK

MODEL is a run of `aether build` or a model's file or folder; DIR holds the data as the suites name it (`docs/evaluation.md`). Everything goes through
the command line, with no network allowed to the libraries. Each evaluation is asked for a second time, which must ask the model nothing, and the
card of the page must have the same scores. WORK keeps the answers: the same command goes on after a kill. What the record has of other
models stays in it, with its own circumstances.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from benchmarks import records

ITEMS = {"blimp": 200, "humaneval-bits": 16, "arc-easy": 60, "wikitext2": 8, "gsm8k": 8}
"""Suite -> items drawn by lot: some minutes each on one busy core with a quarter of a billion parameters."""
CONTEXT = {"gsm8k": 1024}
"""Tokens of context where a suite needs more than was asked for: five solved examples stand before a question."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
SUITES = Path(__file__).parent / "suites"


def main() -> None:
    """Evaluate or compare, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--suites", nargs="+", choices=ITEMS, default=list(ITEMS))
    parser.add_argument("--context", type=int, default=256, help="Tokens that the model sees at most.")
    parser.add_argument("--red-team", type=int, default=0, help="So many requests of HarmBench and of XSTest; 0: none.")
    parser.add_argument("--note", default="", help="What the record says of the model beside its name.")
    parser.add_argument("--compare", nargs=2, metavar="NAME", help="Two models whose evaluations WORK has.")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    record = _before()
    if asked.compare:
        rows = [row for row in record["comparisons"] if {row["a"], row["b"]} != set(asked.compare)]
        record["comparisons"] = rows + _compared(asked.work, *asked.compare)
    else:
        rows = [row for row in record["models"] if row["model"] != asked.model.name]
        record["models"] = [*rows, _evaluated(asked)]
    records.write("evaluation_offline", record, _markdown(record))
    print(json.dumps(record) if asked.json else _markdown(record))


def _before() -> dict[str, list[dict[str, Any]]]:
    path = records.FOLDER / "evaluation_offline.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"models": [], "comparisons": []}


def _aether(*words: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "aether", *map(str, words), "--json"]
    done = subprocess.run(command, env={**os.environ, **OFFLINE}, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stdout}")
    return json.loads(done.stdout)


def _evaluated(asked: argparse.Namespace) -> dict[str, Any]:
    folder = asked.work / asked.model.name
    suites = [_suite(asked, name, folder / name) for name in asked.suites]
    folders, red_team = [folder / name for name in asked.suites], None
    if asked.red_team:
        folders.append(folder / "redteam")
        red_team = _red_team(asked, folders[-1])
    page = _aether("report", *folders, "--out", folder / "page")
    words = [
        asked.model.name,
        "--data",
        "DIR",
        "--work",
        "WORK",
        "--suites",
        *asked.suites,
        "--context",
        str(asked.context),
    ]
    words += ["--red-team", str(asked.red_team)] if asked.red_team else []
    return {
        "model": asked.model.name, "note": asked.note, "suites": suites, "red_team": red_team, "page": sorted(Path(p).name for p in page["pages"]),
        "card_has_the_scores": _card_has(folder / "page" / "MODEL_CARD.md", suites),
        "about": records.circumstances("benchmarks.evaluation_offline", "transformers", "lm_eval", words=words),
    }  # fmt: skip


def _suite(asked: argparse.Namespace, name: str, out: Path) -> dict[str, Any]:
    own = SUITES / f"{name}.toml"
    context = max(asked.context, CONTEXT.get(name, 0))
    words = ("evaluate", asked.model, "--suite", own if own.exists() else name, "--data", asked.data, "--out", out, "--limit", ITEMS[name],
             "--set", f"max_length={context}", "--set", "batch_size=4")  # fmt: skip
    found = _aether(*words)
    answers = (out / "answers.jsonl").read_bytes()
    again = _aether(*words)
    return {
        "suite": name, "items": ITEMS[name], "context": context, "scores": found["scores"],
        "same_again": again["scores"] == found["scores"] and (out / "answers.jsonl").read_bytes() == answers,
    }  # fmt: skip


def _red_team(asked: argparse.Namespace, out: Path) -> dict[str, Any]:
    harmful = asked.data / "harm_behaviors" / "harmbench_behaviors_text_all.csv"
    benign = asked.data / "xstest" / "xstest_prompts.csv"
    words = ("redteam", asked.model, "--behaviours", harmful, "--benign", benign, "--out", out, "--set", f"behaviours={asked.red_team}",
             "--set", "attacks=direct,base64,refusal suppression", "--set", "max_tokens=64")  # fmt: skip
    return {"requests": asked.red_team, "rates": _aether(*words)["rates"]}


def _card_has(card: Path, suites: list[dict[str, Any]]) -> bool:
    """Whether the front matter of the card has every score of the suites, and no other one of them."""
    front = yaml.safe_load(card.read_text(encoding="utf-8").split("---")[1])
    told = [m["value"] for result in front["model-index"][0]["results"] for m in result["metrics"]]
    return all(score["value"] in told for suite in suites for score in suite["scores"] if not score["variant"])


def _compared(work: Path, a: str, b: str) -> list[dict[str, Any]]:
    shared = [name for name in ITEMS if (work / a / name).is_dir() and (work / b / name).is_dir()]
    return [
        {"a": a, "b": b, "suite": name, "found": _aether("compare", work / a / name, work / b / name)}
        for name in shared
    ]


def _markdown(record: dict[str, Any]) -> str:
    lines = ["# Models evaluated end to end, offline", ""]
    for row in record["models"]:
        about = row["about"]
        lines.append(
            f"- **{row['model']}**: {row['note']} `{about['command']}`, {about['date']}, {about['machine']['cpu']}, {about['packages']}"
        )
    lines += ["", "| model | task | metric | score | 95 % | answers | context | asked again, the same and nothing asked |",
              "|---|---|---|--:|---|--:|--:|---|"]  # fmt: skip
    for row in record["models"]:
        for suite in row["suites"]:
            for s in (s for s in suite["scores"] if not s.get("variant")):
                again = "yes" if suite["same_again"] else "no"
                cells = (
                    row["model"],
                    s["task"],
                    s["metric"],
                    f"{s['value']:.4g}",
                    _span(s["interval"]),
                    s["answers"],
                    suite["context"],
                    again,
                )
                lines.append("| " + " | ".join(map(str, cells)) + " |")
    red = [row for row in record["models"] if row["red_team"]]
    if red:
        lines += [
            "",
            "| model | rate, as the rules saw it | share | 95 % | attempts | requests |",
            "|---|---|--:|---|--:|--:|",
        ]
    for row in red:
        for name, rate in row["red_team"]["rates"].items():
            if seen := rate["seen"]:
                lines.append(
                    f"| {row['model']} | {name} | {seen['value']:.4g} | {_span(seen['interval'])} | {seen['n']} | {seen['clusters']} |"
                )
    lines += ["", "| one less the other | task | metric | difference | 95 % | p (Holm) |", "|---|---|---|--:|---|--:|"]
    for pair in record["comparisons"]:
        for one in pair["found"]["comparisons"]:
            lines.append(f"| {pair['a']} less {pair['b']} | {_difference(one)} |")
    paged = [row["model"] for row in record["models"] if row["page"] and row["card_has_the_scores"]]
    return "\n".join(
        [
            *lines,
            "",
            f"One page and one card with exactly these scores: {', '.join(paged) or 'none'}. Perplexities differ in nats a word.",
            "",
        ]
    )


def _span(interval: dict[str, float] | None) -> str:
    return "" if interval is None else f"{interval['low']:.4g} to {interval['high']:.4g}"


def _difference(found: dict[str, Any]) -> str:
    p = "" if found["p_value"] is None else f"{found['p_value']:.2g}"
    return " | ".join((found["task"], found["metric"], f"{found['difference']:+.4g}", _span(found["interval"]), p))


if __name__ == "__main__":
    main()
