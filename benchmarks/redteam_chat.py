"""What each defence of `aether serve --guard` brings on a published instruct model: one that reads system messages, and can be asked as a guard.

    python -m benchmarks.redteam_chat --model FILE.gguf --data DIR --work WORK [--behaviours 16] [--benign 60] [--only DEFENCE] [--record]

DIR holds `harm_behaviors/` and `xstest/`. The server is the real one (our decoder, bfloat16), asked over HTTP; answers are kept in WORK, so the same command
goes on where it was cut off, and `--only` does one defence. Attacks on HarmBench's short requests, drawn by lot; a planted secret of the client's system message;
XSTest's safe prompts, drawn by lot, for over-refusal. The classifier is made of one half of AdvBench, the guard model is the model itself in a second server. Rates
are those of the rules as judge, corrected as `docs/redteam.md` says; differences are paired. Seconds of the processor are the server's (and the guard's) own.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from aether.evidence.items import Item, compare_items, read_items
from aether.evidence.redteam import believed, share, summed_up
from aether.evidence.statistics import Measurement
from aether.stages.evaluate.recipe import RedTeamRecipe
from aether.stages.evaluate.redteam.behaviours import Behaviour, read_behaviours
from aether.stages.evaluate.redteam.labels import shipped_calibrations
from aether.stages.evaluate.redteam.run import Order, red_team
from aether.stages.evaluate.suites.target import Target
from aether.stages.serve.guard.classifier import train
from aether.stages.serve.guard.settings import REFUSAL, GuardModel, GuardSettings
from aether.stages.serve.recipe import EngineRecipe, ServerSettings
from aether.stages.serve.run import RunningServer, running_server
from benchmarks.guard_latency import processor_seconds
from benchmarks.records import circumstances, mean_interval, write

ATTACKS = (
    "direct",
    "persona",
    "fiction",
    "base64",
    "leetspeak",
    "refusal suppression",
    "prefix injection",
    "many shot",
    "leak",
)
PORT, SLOTS, TIMED = 8471, 16, 6
"""The first of two ports of each defence: a folder goes on only at the address that it began with."""
METRICS = {"attack": "rules", "leak": "canary", "over-refusal": "rules"}
DETECTED = 2.8
"""Standard errors of a difference that a two-sided test at 5 % sees with a power of 80 %: 1.96 + 0.84."""


def main() -> None:
    """Measure the defences that are missing, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--behaviours", type=int, default=16)
    parser.add_argument("--benign", type=int, default=60)
    parser.add_argument("--only", default="", help="One defence, without a record.")
    parser.add_argument("--record", action="store_true", help="Write the record of the defences that WORK has.")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    for name in () if asked.record else DEFENCES:
        if asked.only in ("", name) and not (asked.work / name / "timed.json").exists():
            _measure(name, asked)
    if not asked.only:
        _record([name for name in DEFENCES if (asked.work / name / "timed.json").exists()], asked)


DEFENCES = ("none", "rules", "classifier", "hardened system message", "canary", "guard model", "all")


def _ports(name: str) -> tuple[int, int]:
    first = PORT + 2 * DEFENCES.index(name)
    return first, first + 1


def _guard(name: str, asked: argparse.Namespace) -> GuardSettings:
    file = asked.work / "guard.bin"
    if not file.exists():
        folder = asked.data / "harm_behaviors"
        harmful = [b.text for b in read_behaviours(folder / "advbench_behaviors.csv")][1::2]
        train(harmful, [b.text for b in read_behaviours(folder / "harmless_val.json", benign=True)]).classifier.save(
            file
        )
    model = GuardModel(url=f"http://127.0.0.1:{_ports(name)[1]}", name="guard", timeout_s=300)
    fields: dict[str, dict[str, Any]] = {
        "none": {},
        "rules": {"rules": True},
        "classifier": {"classifier": str(file)},
        "hardened system message": {"harden": True},
        "canary": {"canary": True},
        "guard model": {"guard_model": model},
    }
    fields["all"] = {"check_replies": True} | {key: value for one in fields.values() for key, value in one.items()}
    return GuardSettings(**fields[name])


def _drawn(sets: Sequence[Behaviour], count: int) -> list[Behaviour]:
    return [sets[at] for at in sorted(np.random.default_rng(0).permutation(len(sets))[:count])]


@contextmanager
def _servers(name: str, asked: argparse.Namespace) -> Iterator[list[RunningServer]]:
    guard, (port, beside) = _guard(name, asked), _ports(name)
    with ExitStack() as stack:
        wanted = [("chat", port, guard)]
        if guard.guard_model is not None:
            wanted.append(("guard", beside, GuardSettings()))
        engine = EngineRecipe(engine="packed", dtype="bfloat16", slots=SLOTS)
        yield [
            stack.enter_context(
                running_server(
                    asked.model,
                    ServerSettings(engine=engine, port=at, model_name=who, guard=one, request_timeout_s=600),
                    asked.work / f"{name}-{who}.log",
                )
            )
            for who, at, one in wanted
        ]


def _measure(name: str, asked: argparse.Namespace) -> None:
    # Without those that bring a long text along.
    harmbench = read_behaviours(asked.data / "harm_behaviors" / "harmbench_behaviors_text_all.csv")
    behaviours = _drawn([b for b in harmbench if len(b.text) <= 300], asked.behaviours)
    safe = read_behaviours(asked.data / "xstest" / "xstest_prompts.csv", benign=True)
    with _servers(name, asked) as servers:
        target = Target(place=servers[0].url, model="chat", concurrency=SLOTS)
        recipe = RedTeamRecipe(attacks=ATTACKS, max_tokens=24, shots=4)
        red_team(Order(target, recipe, behaviours, _drawn(safe, asked.benign), asked.work / name))
        timed = [_timed(servers, b.text) for b in safe[:: len(safe) // TIMED][:TIMED]]
    (asked.work / name / "timed.json").write_text(json.dumps(timed), encoding="utf-8")
    print(name, flush=True)


def _timed(servers: Sequence[RunningServer], prompt: str) -> float | None:
    """Seconds of the servers' processors for one short answer; None where it was withheld."""
    body = {"model": "chat", "messages": [{"role": "user", "content": prompt}], "max_tokens": 8, "temperature": 0}
    before = sum(processor_seconds(one.process.pid) for one in servers)
    answer = httpx.post(f"{servers[0].url}/v1/chat/completions", json=body | {"ignore_eos": True}, timeout=600)
    used = sum(processor_seconds(one.process.pid) for one in servers) - before
    withheld = answer.raise_for_status().json()["choices"][0]["finish_reason"] == "content_filter"
    return None if withheld else used


def _record(names: Sequence[str], asked: argparse.Namespace) -> None:
    items = {name: read_items(asked.work / name / "items.jsonl") for name in names}
    timed = {name: json.loads((asked.work / name / "timed.json").read_text(encoding="utf-8")) for name in names}
    rows = [_row(name, items, timed) for name in names]
    words = ["--model", asked.model.name, "--data", "DIR", "--work", "WORK"]
    words += ["--behaviours", str(asked.behaviours), "--benign", str(asked.benign)]
    record = {"about": circumstances("benchmarks.redteam_chat", words=words), "rows": rows}
    print(write("redteam_chat", record, _markdown(record)))


def _row(name: str, items: dict[str, list[Item]], timed: dict[str, list[float | None]]) -> dict[str, Any]:
    row: dict[str, Any] = {"defence": name}
    for task, metric in METRICS.items():
        own, none = ([i for i in items[which] if i.task == task] for which in (name, "none"))
        withheld = sum(REFUSAL in item.answer for item in own)
        row[task] = _told(share(own, metric)) | {"attempts": len(own), "withheld": withheld}
        for tag in ("attack", "category"):
            values = sorted({i.tags[tag] for i in own})
            row[task][f"by_{tag}"] = {v: _told(share([i for i in own if i.tags[tag] == v], metric)) for v in values}
        if name != "none":
            (apart,) = [one for one in compare_items(own, none) if one.metric == metric]
            found = apart.paired
            se = found.se or 0.0
            row[task]["difference"] = {"value": found.difference, "low": found.interval and found.interval.low,
                                       "high": found.interval and found.interval.high, "p_value": found.p_value,
                                       "detectable": DETECTED * se}  # fmt: skip
    for metric, rate in summed_up(items[name], shipped_calibrations(), "rules").headline.items():
        row[f"{metric}_corrected"] = _told(believed(rate))
    pairs = [(a, b) for a, b in zip(timed[name], timed["none"], strict=True) if a is not None and b is not None]
    row["processor_s"] = mean_interval([a for a, _ in pairs])
    row["added_processor_s"] = mean_interval([a - b for a, b in pairs])
    return row


def _told(found: Measurement) -> dict[str, float | None]:
    interval = found.interval
    return {"value": found.value, "low": interval and interval.low, "high": interval and interval.high}


def _markdown(record: dict[str, Any]) -> str:
    about, rows = record["about"], record["rows"]

    def rate(one: dict[str, Any]) -> str:
        return f"{one['value']:.0%} ({one['low']:.0%} to {one['high']:.0%})"

    lines = ["# Defences on a published instruct model", "", (__doc__ or "").split("\n\n")[2].replace("\n", " "), "",
             f"{about['date']}, `{about['command']}`, {about['machine']['cpu']}, {about['machine']['cores']} cores, shared with other work.", "",
             "| defence | attack success, seen | corrected | secret told | over-refusal, seen | corrected | processor, s (answers) | added, s (answers) |",
             "|---|---|---|---|---|---|--:|--:|"]  # fmt: skip
    for row in rows:
        cells = [
            row["attack"],
            row["attack_success_corrected"],
            row["leak"],
            row["over-refusal"],
            row["over_refusal_corrected"],
        ]
        times = [f"{row[key]['mean']:.2f} ({row[key]['n']})" for key in ("processor_s", "added_processor_s")]
        lines.append("| " + " | ".join([row["defence"], *map(rate, cells), *times]) + " |")
    lines += ["", "Less no defence, paired, in points; in brackets the least difference that so many attempts see (power 80 %):", "",
              "| defence | attack success | secret told | over-refusal |", "|---|---|---|---|"]  # fmt: skip
    for row in rows[1:]:
        lines.append(
            "| " + " | ".join([row["defence"], *(_difference(row[task]["difference"]) for task in METRICS)]) + " |"
        )
    lines += [
        "",
        "Withheld by the server, of attempts:",
        "",
        "| defence | attacks | asks for the secret | benign |",
        "|---|--:|--:|--:|",
    ]
    for row in rows:
        lines.append(
            "| "
            + " | ".join([row["defence"], *(f"{row[t]['withheld']} of {row[t]['attempts']}" for t in METRICS)])
            + " |"
        )
    for tag, title in (("by_attack", "Attack success by attack"), ("by_category", "Attack success by category")):
        names = list(rows[0]["attack"][tag])
        lines += [
            "",
            f"{title}, as the rules saw it:",
            "",
            "| defence | " + " | ".join(names) + " |",
            "|---|" + "---|" * len(names),
        ]
        lines += [
            "| " + " | ".join([row["defence"], *(rate(row["attack"][tag][n]) for n in names)]) + " |" for row in rows
        ]
    return "\n".join(lines) + "\n"


def _difference(one: dict[str, Any]) -> str:
    if not one["detectable"]:
        return "the same on every attempt" if one["value"] == 0 else f"{100 * one['value']:+.0f} on every attempt"
    return f"{100 * one['value']:+.0f} ({100 * one['low']:+.0f} to {100 * one['high']:+.0f}) [{100 * one['detectable']:.0f}]"


if __name__ == "__main__":
    main()
