"""A small instruct model as judge of pairs that people voted on: does it agree with them, what is standing first worth, can its words be read at all?

    python -m benchmarks.judge_pairs --model FILE.gguf --data DIR --work WORK [--pairs 80] [--seconds 480] [--record]

DIR holds `hh_rlhf_harmless_test/` (Anthropic's HH-RLHF, harmless-base, test: pairs of replies to one conversation, one of which a person chose) and `xstest/`. So many
pairs, drawn by lot among those with short texts, sides by lot. And answers of Llama-2 (llama2orig) and Mistral (mistralinstruct) to as many of XSTest's safe prompts,
short ones too, where the labels of people decide some: there models are named, so that length is controlled and the share that people would give is told.
Asked as `aether judge` asks, over HTTP, the model behind `aether serve` (its decoder, bfloat16): with the whole prompt and with `short=true`. Answers are kept in WORK,
so that the same command goes on after `--seconds`, or a kill; `--record` writes the record of what is finished.
"""

import argparse
import gzip
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aether.counsel.judging import Judged, page_of
from aether.evidence import swapped
from aether.evidence.agreement import cohen_kappa
from aether.evidence.pairs import Pair
from aether.evidence.statistics import Measurement, exact_proportion
from aether.evidence.swapped import Verdict, read_judged_pairs
from aether.report.page import page_markdown
from aether.spec.errors import InputError
from aether.stages.evaluate.judging import Judging, judge
from aether.stages.evaluate.redteam.behaviours import read_table
from aether.stages.evaluate.suites.target import Target
from aether.stages.serve.recipe import EngineRecipe, ServerSettings
from aether.stages.serve.run import running_server
from benchmarks.kept import MoreToDoError
from benchmarks.records import circumstances, write

LONGEST = 700
"""Characters of a conversation or a reply, so that both replies fit the context and the judge sees the whole."""
PORT, SLOTS = 8521, 8
People = dict[int, Verdict]


def main() -> None:
    """Ask what is missing, and write the record of what is finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=80)
    parser.add_argument("--seconds", type=float, default=480.0, help="after these no answer is asked for")
    parser.add_argument("--record", action="store_true", help="Only write the record.")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    sets = {"HH-RLHF": voted(asked), "XSTest": labelled(asked)}
    if not asked.record:
        _ask(sets, asked)
    rows = [
        _row(name, short, *sets[name], asked)
        for short in (True, False)
        for name in sets
        if (_folder(asked, name, short) / "judged.jsonl").exists()
    ]
    words = ["--model", asked.model.name, "--data", "DIR", "--work", "WORK", "--pairs", str(asked.pairs)]
    record = {"about": circumstances("benchmarks.judge_pairs", "lm_eval", words=words), "rows": rows}
    print(write("judge_pairs", record, _markdown(record)))


def voted(asked: argparse.Namespace) -> tuple[list[Pair], People]:
    """Pairs of the vote file that are short and differ in their last reply alone; what was chosen, sides by lot."""
    rng, found = np.random.default_rng(0), []
    with gzip.open(asked.data / "hh_rlhf_harmless_test" / "test.jsonl.gz", "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            (before, good), (other, bad) = (row[side].rsplit("\n\nAssistant:", 1) for side in ("chosen", "rejected"))
            texts = (before.strip(), good.strip(), bad.strip())
            if before == other and good != bad and all(0 < len(text) <= LONGEST for text in texts):
                found.append(texts)
    drawn = [found[at] for at in sorted(rng.permutation(len(found))[: asked.pairs])]
    pairs, people = [], {}
    for at, (prompt, good, bad) in enumerate(drawn):
        side: Verdict = "a" if rng.random() < 0.5 else "b"
        a, b = (good, bad) if side == "a" else (bad, good)
        pairs.append(Pair(prompt=prompt, a=a, b=b))
        people[at] = side
    return pairs, people


def labelled(asked: argparse.Namespace) -> tuple[list[Pair], People]:
    """Two models' answers to safe prompts; where people say that one complied and the other refused, the one that complied is better."""
    names = {"llama2orig": "Llama-2", "mistralinstruct": "Mistral"}
    one, other = (read_table(asked.data / "xstest" / f"xstest_v2_completions_{name}.csv") for name in names)
    both = [
        (a, b)
        for a, b in zip(one, other, strict=True)
        if not a["type"].startswith("contrast") and a["prompt"] == b["prompt"]
        and max(len(a["completion"]), len(b["completion"])) <= 2 * LONGEST
    ]  # fmt: skip
    chosen = [both[at] for at in sorted(np.random.default_rng(1).permutation(len(both))[: asked.pairs])]
    llama, mistral = names.values()
    pairs = [Pair(prompt=a["prompt"], a=a["completion"], b=b["completion"], a_model=llama, b_model=mistral) for a, b in chosen]  # fmt: skip
    people: People = {}
    for at, rows in enumerate(chosen):
        complied = [row["final_label"].startswith("1") for row in rows]
        if complied[0] != complied[1]:
            people[at] = "a" if complied[0] else "b"
    return pairs, people


def _folder(asked: argparse.Namespace, name: str, short: bool) -> Path:
    return asked.work / f"{name}-{'short' if short else 'whole'}"


def _ask(sets: dict[str, tuple[list[Pair], People]], asked: argparse.Namespace) -> None:
    engine = EngineRecipe(engine="packed", dtype="bfloat16", slots=SLOTS)
    settings = ServerSettings(engine=engine, port=PORT, model_name="judge", request_timeout_s=600)
    told = _until(asked.seconds)
    with running_server(asked.model, settings, asked.work / "server.log") as server:
        target = Target(place=server.url, model="judge", chat=True, concurrency=SLOTS)
        try:
            for short in (True, False):
                for name, (pairs, _) in sets.items():
                    judge(Judging(pairs, target, _folder(asked, name, short), short=short), told)
        except MoreToDoError:
            print("more to do: give the same command again", flush=True)


def _until(seconds: float) -> Callable[[int], None]:
    end = time.monotonic() + seconds

    def told(count: int) -> None:
        print(count, flush=True) if count % 20 == 0 else None
        if time.monotonic() > end:
            raise MoreToDoError

    return told


def _told(found: Measurement | None) -> dict[str, Any] | None:
    if found is None:
        return None
    span = found.interval
    return {"value": found.value, "low": span and span.low, "high": span and span.high, "n": found.n}


def _row(name: str, short: bool, pairs: list[Pair], people: People, asked: argparse.Namespace) -> dict[str, Any]:
    rows = read_judged_pairs(_folder(asked, name, short) / "judged.jsonl")
    verdicts = [row.twice for row in rows]
    words = [word for v in verdicts for word in (v.a_first, v.b_first)]
    row: dict[str, Any] = {
        "set": name, "short": short, "pairs": len(rows), "with_people": len(people),
        "read": _told(exact_proportion(sum(word is not None for word in words), len(words))),
        "said": dict(Counter(_side(v.a_first, "a") for v in verdicts) + Counter(_side(v.b_first, "b") for v in verdicts)),
        "longer": _longer([people.get(at) for at in range(len(pairs))], pairs),
    }  # fmt: skip
    try:
        order = swapped.position(verdicts)
        held = swapped.held_against(people, verdicts)
        # Each order by itself: what a judge that is asked once would do.
        once = [(people[i], v.a_first) for i, v in enumerate(verdicts) if i in people and v.a_first is not None]
        row |= {
            "consistent": _told(order.consistent), "first_wins": _told(order.first_wins),
            "kappa": None if held.kappa.value is None else {"value": held.kappa.value, "low": held.kappa.interval and held.kappa.interval.low,
                                                             "high": held.kappa.interval and held.kappa.interval.high, "n": held.kappa.items},
            "agreed": _told(held.where_both_prefer),
            "kappa_one_order": cohen_kappa([p for p, _ in once], [v for _, v in once]).value,
            "longer_judge": _longer([v.combined for v in verdicts], pairs),
        }  # fmt: skip
        row["page"] = page_markdown(page_of(Judged(asked.work, asked.model.name, pairs, verdicts, people)))
    except InputError as error:
        row["page"] = str(error)
    return row


def _side(verdict: Verdict | None, first: str) -> str:
    if verdict in (None, "tie"):
        return "unread" if verdict is None else "tie"
    return "1" if verdict == first else "2"


def _longer(verdicts: list[Verdict | None], pairs: list[Pair]) -> dict[str, Any] | None:
    """Of the pairs with a preference, the share where the longer answer is preferred."""
    hits = [
        (len(pair.a) > len(pair.b)) == (verdict == "a")
        for verdict, pair in zip(verdicts, pairs, strict=True)
        if verdict in ("a", "b") and len(pair.a) != len(pair.b)
    ]
    return _told(exact_proportion(sum(hits), len(hits))) if hits else None


def _markdown(record: dict[str, Any]) -> str:
    about = record["about"]
    lines = ["# A small instruct model as judge of pairs", "", (__doc__ or "").split("\n\n")[2].replace("\n", " "), "",
             f"{about['date']}, `{about['command']}`, {about['machine']['cpu']}, {about['packages']}.", "",
             "| pairs | prompt | words that could be read | said 1, 2, tie | the same in both orders | first won where they differ | kappa with people | asked in one order | agrees where both prefer | longer preferred: judge, people |",
             "|---|---|---|---|---|---|---|--:|---|---|"]  # fmt: skip
    for row in record["rows"]:
        said = row["said"]
        kappa = row.get("kappa")
        once = row.get("kappa_one_order")
        cells = [
            f"{row['set']}, {row['pairs']} ({row['with_people']} with people)", "short" if row["short"] else "whole", _percent(row["read"]),
            ", ".join(str(said.get(word, 0)) for word in ("1", "2", "tie")), _percent(row.get("consistent")), _percent(row.get("first_wins")),
            "not defined" if kappa is None else f"{kappa['value']:.2f} ({kappa['low']:.2f} to {kappa['high']:.2f})",
            "" if once is None else f"{once:.2f}", _percent(row.get("agreed")),
            f"{_percent(row.get('longer_judge'))}; {_percent(row['longer'])}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "Kappa counts ties as a category of their own, and a pair whose orders disagree as a tie. What `aether judge` says of each:",
        "",
    ]
    for row in record["rows"]:
        lines += [f"## {row['set']}, {'short' if row['short'] else 'whole'} prompt", ""]
        lines += [f"##{line}" if line.startswith("#") else line for line in row["page"].splitlines()] + [""]
    return "\n".join(lines).rstrip() + "\n"


def _percent(found: dict[str, Any] | None) -> str:
    if found is None:
        return "none"
    return f"{found['value']:.0%} ({found['low']:.0%} to {found['high']:.0%}), {found['n']}"


if __name__ == "__main__":
    main()
