"""What the defences of `aether serve --guard` add to a request, in pairs: the same request to a server with and to one without, in turns.

    python -m benchmarks.guard_latency --model RUN/model --data DIR [--pairs 300]

DIR holds `harm_behaviors/` and `xstest/`. Both servers are up at once on the same machine; which is asked first is drawn by lot for every pair, so that what else
the machine does falls on both. Seconds by the clock are a client's; seconds of the processor are the server's own, all its threads, read from the kernel before
and after each request. Requests are those of XSTest's first sixty safe prompts that no defence withholds, so that the model answers on both sides with equally many tokens.
The classifier is made of one half of AdvBench, as `redteam_defences` makes it. A hardened system message costs its tokens in every prompt and is not timed here. Differences: the median with limits by order statistics, the mean with t limits.
"""

import argparse
import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from aether.evidence.statistics import quantile
from aether.stages.evaluate.redteam.behaviours import read_behaviours
from aether.stages.serve.guard.classifier import train
from aether.stages.serve.guard.settings import GuardSettings
from aether.stages.serve.recipe import EngineRecipe, ServerSettings
from aether.stages.serve.run import RunningServer, running_server
from benchmarks.records import circumstances, mean_interval, write

TOKENS = 16


def main() -> None:
    """Measure each set of defences against none, write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=300)
    asked = parser.parse_args()
    prompts = [b.text for b in read_behaviours(asked.data / "xstest" / "xstest_prompts.csv", benign=True)][:60]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        file = _classifier(asked.data / "harm_behaviors", work)
        defences = {
            "nothing (a second server)": GuardSettings(),
            "rules": GuardSettings(rules=True),
            "classifier": GuardSettings(classifier=file),
            "rules and classifier": GuardSettings(rules=True, classifier=file),
            "rules and classifier, replies too": GuardSettings(rules=True, classifier=file, check_replies=True),
        }
        rows = [_row(name, guard, asked, prompts, work) for name, guard in defences.items()]
    words = ["--model", "RUN/model", "--data", "DIR", "--pairs", str(asked.pairs)]
    about = circumstances("benchmarks.guard_latency", words=words)
    print(write("guard_latency", {"about": about, "rows": rows}, _markdown(about, rows)))


def _classifier(folder: Path, work: Path) -> str:
    harmful = [b.text for b in read_behaviours(folder / "advbench_behaviors.csv")][1::2]
    benign = [b.text for b in read_behaviours(folder / "harmless_val.json", benign=True)]
    train(harmful, benign).classifier.save(work / "guard.bin")
    return str(work / "guard.bin")


def _row(name: str, guard: GuardSettings, asked: argparse.Namespace, prompts: list[str], work: Path) -> dict[str, Any]:
    engine = EngineRecipe(engine="packed", dtype="float32", slots=2)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(running_server(asked.model, _settings(engine, one), work / f"{side}.log"))
            for side, one in enumerate((GuardSettings(), guard))
        ]
        clients = [stack.enter_context(httpx.Client(base_url=server.url, timeout=120)) for server in servers]
        pairs = list(zip(servers, clients, strict=True))
        kept = [prompt for prompt in prompts if all(_asked(*one, prompt) is not None for one in pairs)]
        rng, wall, processor, alone = np.random.default_rng(0), [], [], []
        for at in range(asked.pairs):
            found: list[tuple[float, float]] = [(0.0, 0.0)] * 2
            for side in rng.permutation(2):
                server, client = pairs[side]
                seconds = _asked(server, client, kept[at % len(kept)])
                assert seconds is not None
                found[side] = seconds
            wall.append(found[1][0] - found[0][0])
            processor.append(found[1][1] - found[0][1])
            alone.append(found[0])
    print(name, flush=True)
    return {
        "defence": name,
        "pairs": asked.pairs,
        "prompts": len(kept),
        "without_ms": {
            "wall": 1e3 * float(np.median([w for w, _ in alone])),
            "processor": 1e3 * float(np.median([p for _, p in alone])),
        },
        "added_wall_ms": _median(wall) | {"mean": _scaled(mean_interval(wall))},
        "added_processor_ms": _median(processor) | {"mean": _scaled(mean_interval(processor))},
    }


def _settings(engine: EngineRecipe, guard: GuardSettings) -> ServerSettings:
    return ServerSettings(engine=engine, port=0, model_name="small", guard=guard, request_timeout_s=120)


def _asked(server: RunningServer, client: httpx.Client, prompt: str) -> tuple[float, float] | None:
    """(seconds by the clock, seconds of the server's processor) of one request, or None where it was withheld."""
    body = {"model": "small", "messages": [{"role": "user", "content": prompt}], "max_tokens": TOKENS, "temperature": 0}
    before, began = _processor(server.process.pid), time.perf_counter()
    answer = client.post("/v1/chat/completions", json=body | {"ignore_eos": True}).raise_for_status()
    wall = time.perf_counter() - began
    used = _processor(server.process.pid) - before
    withheld = json.loads(answer.text)["choices"][0]["finish_reason"] == "content_filter"
    return None if withheld else (wall, used)


def _processor(pid: int) -> float:
    """Seconds that all threads of a process ran so far (Linux, `schedstat`: nanoseconds)."""
    found = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(one.read_text().split()[0]) for one in found) / 1e9


def _median(values: list[float]) -> dict[str, float]:
    found = quantile(values, 0.5)
    assert found.interval is not None
    return {"median": 1e3 * found.value, "low": 1e3 * found.interval.low, "high": 1e3 * found.interval.high}


def _scaled(found: dict[str, float | int]) -> dict[str, float | int]:
    return {name: 1e3 * value if name in ("mean", "low", "high") else value for name, value in found.items()}


def _markdown(about: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    def told(one: dict[str, Any], key: str) -> str:
        return f"{one[key]:+.2f} ({one['low']:+.2f} to {one['high']:+.2f})"

    lines = [
        "# What defences add to a request",
        "",
        f"`{about['command']}`, {about['date']}, {about['machine']['cpu']}, {about['machine']['cores']} cores, shared with other work.",
        "Milliseconds with 95 % limits; a request without defences takes what the second and third column say (median).",
        "",
        "| defence | without, clock | without, processor | added by the clock, median | added by the clock, mean | added processor time, median | added processor time, mean |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = [f"{row['without_ms'][kind]:.1f}" for kind in ("wall", "processor")]
        for kind in ("wall", "processor"):
            one = row[f"added_{kind}_ms"]
            cells += [told(one, "median"), told(one["mean"], "mean")]
        lines.append("| " + " | ".join([row["defence"], *cells]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
