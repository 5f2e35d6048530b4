"""What the defences of `aether serve --guard` add to a request: the checks by themselves, and whole requests in pairs with and without.

    python -m benchmarks.guard_latency --model RUN/model --data DIR [--restarts 8] [--pairs 25]

DIR holds `harm_behaviors/` and `xstest/`. Checks: XSTest's 250 safe prompts through each set of checks in this process, five times; seconds of the processor are the thread's own.
Requests: two servers at once, one with defences; which is asked first is drawn by lot for every pair, which is started first alternates. Two processes of one and the same server
differ by a millisecond or so, whatever they check, so a pair of servers is one unit: the limits are over restarts, and a second server *without* defences shows the noise.
Seconds by the clock are a client's, seconds of the processor the server's own, all its threads, as the kernel counts them. The classifier is made of one half of AdvBench.
A hardened system message costs its tokens in every prompt and is not timed.
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

from aether.stages.evaluate.redteam.behaviours import read_behaviours
from aether.stages.serve.guard.classifier import train
from aether.stages.serve.guard.screen import Screen
from aether.stages.serve.guard.settings import GuardSettings
from aether.stages.serve.recipe import EngineRecipe, ServerSettings
from aether.stages.serve.run import RunningServer, running_server
from benchmarks.records import circumstances, mean_interval, write

ALL = "rules and classifier, replies too"
TOKENS = 16


def main() -> None:
    """Measure each set of defences, write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--restarts", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=25)
    asked = parser.parse_args()
    prompts = [b.text for b in read_behaviours(asked.data / "xstest" / "xstest_prompts.csv", benign=True)]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        file = _classifier(asked.data / "harm_behaviors", work)
        everything = GuardSettings(rules=True, classifier=file, check_replies=True)
        defences = {
            "rules": GuardSettings(rules=True),
            "classifier": GuardSettings(classifier=file),
            ALL: everything,
        }
        checks = [_checked(name, guard, prompts) for name, guard in defences.items()]
        sides = {"nothing (a second server)": GuardSettings(), ALL: everything}
        requests = [_served(name, guard, asked, prompts, work) for name, guard in sides.items()]
    words = ["--model", "RUN/model", "--data", "DIR", "--restarts", str(asked.restarts), "--pairs", str(asked.pairs)]
    about = circumstances("benchmarks.guard_latency", words=words)
    print(
        write(
            "guard_latency",
            {"about": about, "checks": checks, "requests": requests},
            _markdown(about, checks, requests),
        )
    )


def _checked(name: str, guard: GuardSettings, prompts: list[str]) -> dict[str, Any]:
    screen = Screen(guard)
    screen.request(prompts[:1])
    wall, processor = [], []
    for prompt in prompts:
        began, used = time.perf_counter(), time.thread_time()
        for _ in range(5):
            screen.request([prompt])
            if guard.screens_replies:
                screen.reply([prompt], prompt)
        wall.append(200 * (time.perf_counter() - began))
        processor.append(200 * (time.thread_time() - used))
    return {
        "defence": name,
        "texts": len(prompts),
        "wall_ms": mean_interval(wall),
        "processor_ms": mean_interval(processor),
    }


def _classifier(folder: Path, work: Path) -> str:
    harmful = [b.text for b in read_behaviours(folder / "advbench_behaviors.csv")][1::2]
    benign = [b.text for b in read_behaviours(folder / "harmless_val.json", benign=True)]
    train(harmful, benign).classifier.save(work / "guard.bin")
    return str(work / "guard.bin")


def _served(
    name: str, guard: GuardSettings, asked: argparse.Namespace, prompts: list[str], work: Path
) -> dict[str, Any]:
    rng, apart, alone = np.random.default_rng(0), [], []
    for restart in range(asked.restarts):
        with ExitStack() as stack:
            found: dict[int, tuple[RunningServer, httpx.Client]] = {}
            for side in (0, 1) if restart % 2 else (1, 0):
                settings = _settings(guard if side else GuardSettings())
                server = stack.enter_context(running_server(asked.model, settings, work / f"{side}.log"))
                found[side] = server, stack.enter_context(httpx.Client(base_url=server.url, timeout=120))
            kept = [p for p in prompts[:12] if all(_asked(*found[side], p) is not None for side in (0, 1))]
            rows = [_pair(found, kept[at % len(kept)], rng.permutation(2).tolist()) for at in range(asked.pairs)]
        seconds = 1e3 * np.array(rows)
        apart.append((seconds[:, 1] - seconds[:, 0]).mean(axis=0))
        alone.append(seconds[:, 0].mean(axis=0))
        print(name, restart, apart[-1], flush=True)
    added, base = np.array(apart), np.array(alone).mean(axis=0)
    return {
        "defence": name,
        "restarts": asked.restarts,
        "pairs": asked.restarts * asked.pairs,
        "without_ms": {"wall": float(base[0]), "processor": float(base[1])},
        "added_wall_ms": mean_interval(added[:, 0].tolist()),
        "added_processor_ms": mean_interval(added[:, 1].tolist()),
    }


def _pair(
    found: dict[int, tuple[RunningServer, httpx.Client]], prompt: str, order: list[int]
) -> list[tuple[float, float]]:
    seconds = {side: _asked(*found[side], prompt) for side in order}
    both = [seconds[0], seconds[1]]
    return [one for one in both if one is not None]


def _settings(guard: GuardSettings) -> ServerSettings:
    engine = EngineRecipe(engine="packed", dtype="float32", slots=2)
    return ServerSettings(engine=engine, port=0, model_name="small", guard=guard, request_timeout_s=120)


def _asked(server: RunningServer, client: httpx.Client, prompt: str) -> tuple[float, float] | None:
    """(seconds by the clock, seconds of the server's processor) of one request, or None where it was withheld."""
    body = {"model": "small", "messages": [{"role": "user", "content": prompt}], "max_tokens": TOKENS, "temperature": 0}
    before, began = processor_seconds(server.process.pid), time.perf_counter()
    answer = client.post("/v1/chat/completions", json=body | {"ignore_eos": True}).raise_for_status()
    wall = time.perf_counter() - began
    used = processor_seconds(server.process.pid) - before
    withheld = json.loads(answer.text)["choices"][0]["finish_reason"] == "content_filter"
    return None if withheld else (wall, used)


def processor_seconds(pid: int) -> float:
    """Seconds that all threads of a process ran so far (Linux, `schedstat`: nanoseconds)."""
    found = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(one.read_text().split()[0]) for one in found) / 1e9


def _markdown(about: dict[str, Any], checks: list[dict[str, Any]], requests: list[dict[str, Any]]) -> str:
    def told(one: dict[str, Any], sign: str = "") -> str:
        return f"{one['mean']:{sign}.2f} ({one['low']:{sign}.2f} to {one['high']:{sign}.2f})"

    lines = [
        "# What defences add to a request",
        "",
        f"`{about['command']}`, {about['date']}, {about['machine']['cpu']}, {about['machine']['cores']} cores, shared with other work.",
        "Milliseconds, mean with 95 % limits.",
        "",
        "| checks of one request | by the clock | processor |",
        "|---|--:|--:|",
    ]
    lines += [f"| {row['defence']} | {told(row['wall_ms'])} | {told(row['processor_ms'])} |" for row in checks]
    lines += [
        "",
        "| whole requests | restarts, pairs | without, clock | without, processor | added by the clock | added processor time |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row['defence']} | {row['restarts']}, {row['pairs']} | {row['without_ms']['wall']:.1f} | {row['without_ms']['processor']:.1f} "
        f"| {told(row['added_wall_ms'], '+')} | {told(row['added_processor_ms'], '+')} |"
        for row in requests
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
