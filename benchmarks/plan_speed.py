"""How long a plan takes: the whole command, the search in it, layouts weighed in a second, `aether ask`, and `aether --help`.

    python -m benchmarks.plan_speed [--demo-run FOLDER]

Each brief is planned by the command itself in a process of its own, as a person does, so that the interpreter, imports, pictures
and exports count. The search alone is timed in processes of its own, by the processor, since a second search finds what the first has
kept. Byte code is kept, as an installation keeps it: the first run of each kind is not counted. Beside seconds by the clock stand
those of the processor, which other work on the machine does not lengthen as much; each is the median of its own. `--demo-run` is a
folder in which `aether build` has run the demo brief: its pilots are on record there, and what is timed is the plan without them.
Infeasible briefs include the search for the nearest feasible ones. Nothing here says whether a plan is right (`planner_accuracy` does).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import records

ROOT = Path(__file__).parents[1]
REPEATS = 3
_SEARCH = """
import json, sys, time
from aether.planning.search.decide import search
from aether.planning.search.problem import problem_of
from aether.policy.brief_file import to_brief
problem = problem_of(to_brief(json.load(open(sys.argv[1])), "brief"))
start = time.process_time()
considered = search(problem).considered
print(time.process_time() - start, considered)
"""
_AETHER = "from aether.surfaces.cli.main import main; main()"


def _brief(task: str, model: str, hardware: dict[str, Any], targets: list[str], **sections: Any) -> dict[str, Any]:
    rest = {key: value for key, value in sections.items() if key == "load"}
    chosen = {"name": model, "task": task} | {key: value for key, value in sections.items() if key != "load"}
    return {"targets": targets, "model": chosen, "hardware": hardware, **rest}


BRIEFS: dict[str, dict[str, Any]] = {
    "serve Llama-3.1-70B on 3 kinds of 64": _brief(
        "serve",
        "llama-3.1-70b",
        {"name": ["H100-SXM-80GB", "H200-SXM-141GB", "B200"], "count": 64},
        ["ttft_p99 <= 500 ms", "itl_p99 <= 60 ms"],
        load={"requests_per_s": 40, "prompt_tokens": 1000, "output_tokens": 300},
    ),
    "serve DeepSeek-V3 on 3 kinds of 64": _brief(
        "serve",
        "deepseek-v3",
        {"name": ["H200-SXM-141GB", "B200", "MI300X"], "count": 64},
        ["ttft_p99 <= 3 s", "itl_p99 <= 80 ms"],
        load={"requests_per_s": 20, "prompt_tokens": 2000, "output_tokens": 500},
    ),
    "serve Qwen3-30B-A3B on 16 L40S": _brief(
        "serve",
        "qwen3-30b-a3b",
        {"name": "L40S", "count": 16},
        ["ttft_p99 <= 2 s", "tpot_p50 <= 30 ms"],
        load={"requests_per_s": 5, "prompt_tokens": 1000, "output_tokens": 400},
    ),
    "serve Llama-3.1-405B on 5 kinds of 64": _brief(
        "serve",
        "llama-3.1-405b",
        {"name": ["H100-SXM-80GB", "H200-SXM-141GB", "B200", "MI300X", "MI355X"], "count": 64},
        ["ttft_p99 <= 5 s", "itl_p99 <= 100 ms"],
        load={"requests_per_s": 10, "prompt_tokens": 4000, "output_tokens": 500},
    ),
    "pretrain 8 B on 256 H100, 15 T tokens": _brief(
        "pretrain",
        "llama-3.1-8b",
        {"name": "H100-SXM-80GB", "count": 256},
        ["build_time <= 90 d"],
        tokens=15e12,
        sequence_tokens=8192,
    ),
    "pretrain DeepSeek-V3 on 2,048 H800": _brief(
        "pretrain",
        "deepseek-v3",
        {"name": "H800-SXM-80GB", "count": 2048},
        ["build_time <= 120 d"],
        tokens=14.8e12,
        sequence_tokens=4096,
    ),
    "QLoRA of 8 B on an RTX 4090": _brief(
        "finetune",
        "llama-3.1-8b",
        {"name": "RTX-4090", "count": 1},
        ["build_time <= 24 h"],
        tokens=50e6,
        sequence_tokens=2048,
        method="qlora",
    ),
    "infeasible: Llama-3.1-70B, 1 ms between tokens": _brief(
        "serve",
        "llama-3.1-70b",
        {"name": "H100-SXM-80GB", "count": 8},
        ["itl_p99 <= 1 ms"],
        load={"requests_per_s": 1, "prompt_tokens": 500, "output_tokens": 200},
    ),
}


QUESTIONS = {
    "ask, on 64 H100": "serve llama-3.1-70b to 40 requests/s, prompts of 1000 tokens, answers of 300, p99 first token below 500 ms, on 64 H100",
    "ask, infeasible": "serve llama-3.1-70b to 1 request/s, prompts of 500 tokens, answers of 200, p99 inter-token latency below 1 ms, on 8 H100",
}


def _spent_s(folder: Path, *words: str, allowed: tuple[int, ...] = (0,)) -> tuple[float, float]:
    """Median seconds of the command in a process of its own: by the clock, and of the processor. The first run is not counted."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    kept["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    wall, processor = [], []
    for _ in range(1 + REPEATS):
        start, before = time.perf_counter(), os.times()
        command = [sys.executable, "-c", _AETHER, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=kept, cwd=folder)
        wall.append(time.perf_counter() - start)
        after = os.times()
        processor.append(sum(after[2:4]) - sum(before[2:4]))
        assert done.returncode in allowed, done.stderr[-2000:]
    return statistics.median(wall[1:]), statistics.median(processor[1:])


def _search_s(file: Path) -> tuple[float, int]:
    """Median seconds of the processor that the search takes where nothing is kept from an earlier one, and the layouts that it weighs."""
    spent, considered = [], 0
    for _ in range(REPEATS):
        done = subprocess.run([sys.executable, "-c", _SEARCH, str(file)], capture_output=True, text=True, check=True)
        seconds, layouts = done.stdout.split()
        spent.append(float(seconds))
        considered = int(layouts)
    return statistics.median(spent), considered


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """Every brief: the whole command and the search in it."""

    found = {}
    for name, raw in BRIEFS.items():
        file = folder / "brief.json"
        file.write_text(json.dumps(raw), encoding="utf-8")
        whole_s, own_s = _spent_s(folder, "plan", str(file), "--out", str(folder / "out"), "--json", allowed=(0, 3))
        search_s, layouts = _search_s(file)
        found[name] = {
            "command_s": whole_s,
            "command_processor_s": own_s,
            "search_s": search_s,
            "layouts": layouts,
            "layouts_per_s": layouts / search_s,
        }
    return found


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--demo-run", type=Path, help="a folder in which the demo brief was built")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asked = {name: _spent_s(folder, "ask", text, "--json", allowed=(0, 3)) for name, text in QUESTIONS.items()}
        record: dict[str, Any] = {
            "help_s": _spent_s(folder, "--help")[0],
            "briefs": measure(folder),
            "ask": {name: {"command_s": both[0], "command_processor_s": both[1]} for name, both in asked.items()},
            "demo_plan_s": None,
            "load_average": os.getloadavg()[1],
            "niceness": os.getpriority(os.PRIO_PROCESS, 0),
            "circumstances": records.circumstances("benchmarks.plan_speed", words=[]),
        }
        if given.demo_run is not None:
            demo = str(ROOT / "recipes" / "code" / "python-autocomplete")
            words = ("plan", demo, "--out", str(given.demo_run.resolve()), "--json")
            record["demo_plan_s"] = _spent_s(folder, *words)[0]
    records.write("plan_speed", record, _markdown(record))
    print(_markdown(record))


def _markdown(record: dict[str, Any]) -> str:
    machine = record["circumstances"]["machine"]
    lines = [
        "# How long a plan takes",
        "",
        "| brief | command, s by the clock | of the processor | search, s of the processor | layouts | layouts/s |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in record["briefs"].items():
        lines.append(
            f"| {name} | {one['command_s']:.2f} | {one['command_processor_s']:.2f} | {one['search_s']:.2f} "
            f"| {one['layouts']:,} | {one['layouts_per_s']:,.0f} |"
        )
    for name, one in record["ask"].items():
        lines.append(f"| {name} | {one['command_s']:.2f} | {one['command_processor_s']:.2f} | | | |")
    demo = "not measured" if record["demo_plan_s"] is None else f"{record['demo_plan_s']:.2f} s"
    lines += ["", f"`aether --help`: {record['help_s']:.2f} s. The demo brief's plan, its pilots on record: {demo}."]
    lines += [
        f"Medians of {REPEATS}; {machine['cores']} cores of {machine['cpu']}, {record['circumstances']['date']}, other work beside it "
        f"(load average at the end {record['load_average']:.1f}, niceness of the measured processes {record['niceness']});"
    ]
    return "\n".join([*lines, "`python -m benchmarks.plan_speed [--demo-run FOLDER]`.", ""])


if __name__ == "__main__":
    main()
