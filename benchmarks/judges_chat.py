"""A language model as judge, held against people: a published instruct model of 135M parameters says who complied, and which of two answers is better.

    python -m benchmarks.judges_chat --model FILE.gguf --data DIR --work WORK [--replies 60] [--pairs 24]

DIR holds `xstest/`. Compliance: so many replies of each of five models, drawn by lot from XSTest's completions with human labels, asked as `aether redteam --set
judge=model` asks; one rate a model is corrected with the calibration on the other four and set beside what people say. Preference: answers of Llama-2 (llama2orig)
and Mistral (mistralinstruct) to the safe prompts, asked in both orders as `aether judge` asks, with control for length; on prompts where people say
that one of the two complied and the other refused, the one that complied is the better. bfloat16; answers are kept in WORK, so the same command goes on.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aether.counsel.judging import Judged as JudgedPairs
from aether.counsel.judging import page_of
from aether.evidence import swapped
from aether.evidence.judging import corrected_rate
from aether.evidence.pairs import Pair
from aether.evidence.redteam import Judged, judged, pooled
from aether.evidence.swapped import Verdict
from aether.report.page import page_markdown
from aether.spec.errors import InputError
from aether.stages.evaluate.judging import Judging, judge
from aether.stages.evaluate.redteam.asking import Kept, writer
from aether.stages.evaluate.redteam.behaviours import read_table
from aether.stages.evaluate.redteam.judges import model_verdicts
from aether.stages.evaluate.redteam.labels import Labelled
from aether.stages.evaluate.suites.journal import Journal
from aether.stages.evaluate.suites.run import quiet
from aether.stages.evaluate.suites.target import Target
from benchmarks.records import circumstances, write
from benchmarks.redteam_judges import SOURCE, xstest

ONE, OTHER = "Llama-2 (llama2orig)", "Mistral (mistralinstruct)"


def main() -> None:
    """Ask what is missing, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--replies", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=24, help="0: none is judged.")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    target = Target(place=str(asked.model), chat=True, dtype="bfloat16", batch_size=24)
    rows, unread = _compliance(target, xstest(asked.data / "xstest"), asked)
    preference = _preference(target, asked) if asked.pairs else None
    words = ["--model", asked.model.name, "--data", "DIR", "--work", "WORK"]
    words += ["--replies", str(asked.replies), "--pairs", str(asked.pairs)]
    about = circumstances("benchmarks.judges_chat", "transformers", "lm_eval", words=words)
    record = {"about": about, "compliance": rows, "unread": unread, "preference": preference}
    print(write("judges_chat", record, _markdown(record)))


def _compliance(
    target: Target, labelled: Sequence[Labelled], asked: argparse.Namespace
) -> tuple[list[dict[str, Any]], int]:
    rng, drawn = np.random.default_rng(0), []
    for model in dict.fromkeys(row.model for row in labelled):
        own = [row for row in labelled if row.model == model]
        drawn += [own[at] for at in sorted(rng.permutation(len(own))[: asked.replies])]
    journal = Journal(asked.work / "verdicts.jsonl")
    ask = Kept(writer(target, 8), journal, target.batch_size, lambda count: print(count, flush=True))
    with quiet():
        said = model_verdicts([(row.request, row.reply) for row in drawn], ask)
    journal.close()
    # A word that cannot be read counts as wrong, whatever people say.
    words = [not row.complied if word is None else word for row, word in zip(drawn, said, strict=True)]
    found = []
    for model in dict.fromkeys(row.model for row in drawn):
        part = [at for at, row in enumerate(drawn) if row.model == model]
        found.append(judged("model", model, [words[at] for at in part], [drawn[at].complied for at in part], SOURCE))
    rows = [_row(one, [other for other in found if other is not one]) for one in found]
    return [*rows, _row(pooled(found, "model"), [])], sum(word is None for word in said)


def _row(one: Judged, others: Sequence[Judged]) -> dict[str, Any]:
    """A calibration, and the model's share of compliance as seen, as corrected with the others' calibration, and as people say it."""
    found = one.calibration
    yes, n = one.true_yes + one.false_yes, one.true_yes + one.missed + one.true_no + one.false_yes
    row: dict[str, Any] = one.model_dump(mode="json") | {
        "sensitivity": found.sensitivity,
        "specificity": found.specificity,
    }
    row |= {
        "informative": found.is_informative,
        "seen": yes / n,
        "people": (one.true_yes + one.missed) / n,
        "corrected": None,
    }
    if others:
        try:
            right = corrected_rate(yes, n, pooled(others, "model").calibration)
            assert right.interval is not None
            row["corrected"] = {"value": right.value, "low": right.interval.low, "high": right.interval.high}
        except InputError as error:
            row["corrected"] = str(error)
    return row


def _preference(target: Target, asked: argparse.Namespace) -> dict[str, Any]:
    files = ("llama2orig", "mistralinstruct")
    one, other = (read_table(asked.data / "xstest" / f"xstest_v2_completions_{name}.csv") for name in files)
    both = [
        (a, b)
        for a, b in zip(one, other, strict=True)
        if not a["type"].startswith("contrast") and a["prompt"] == b["prompt"]
    ]
    chosen = [both[at] for at in sorted(np.random.default_rng(1).permutation(len(both))[: asked.pairs])]
    pairs = [
        Pair(prompt=a["prompt"], a=a["completion"], b=b["completion"], a_model=ONE, b_model=OTHER) for a, b in chosen
    ]
    people: dict[int, Verdict] = {}
    for at, rows in enumerate(chosen):
        complied = [row["final_label"].startswith("1") for row in rows]
        if complied[0] != complied[1]:
            people[at] = "a" if complied[0] else "b"
    verdicts = judge(Judging(pairs, target, asked.work / "pairs"), lambda count: print(count, flush=True))
    unread = sum((v.a_first is None) + (v.b_first is None) for v in verdicts)
    found: dict[str, Any] = {
        "pairs": len(pairs),
        "with_people": len(people),
        "unread": unread,
        "answers": 2 * len(pairs),
    }
    lengths = [len(pair.a) - len(pair.b) for pair in pairs]
    found["longer_by_characters"] = float(np.mean(lengths))
    try:
        found["page"] = page_markdown(
            page_of(JudgedPairs(asked.work / "pairs", asked.model.name, pairs, verdicts, people))
        )
        held = swapped.held_against(people, verdicts)
        found["kappa"] = held.kappa.value
    except InputError as error:
        found["page"] = str(error)
    return found


def _markdown(record: dict[str, Any]) -> str:
    about, preference = record["about"], record["preference"]
    lines = ["# A small instruct model as judge", "", (__doc__ or "").split("\n\n")[2].replace("\n", " "), "",
             f"{about['date']}, `{about['command']}`, {about['machine']['cpu']}, {about['packages']}.", "", "## Who complied?", "",
             "| replies of | kappa (95 %) | sees compliance | sees refusal | better than chance | share that complied: seen | corrected with the other models | people |",
             "|---|---|--:|--:|---|--:|---|--:|"]  # fmt: skip
    for row in record["compliance"]:
        kappa = "not defined" if row["kappa"] is None else f"{row['kappa']:.2f}"
        kappa += "" if row["kappa_low"] is None else f" ({row['kappa_low']:.2f} to {row['kappa_high']:.2f})"
        right = row["corrected"]
        told = (
            f"{right['value']:.0%} ({right['low']:.0%} to {right['high']:.0%})"
            if isinstance(right, dict)
            else "not possible"
            if right
            else ""
        )
        cells = [row["model"], kappa, f"{row['sensitivity']:.2f}", f"{row['specificity']:.2f}", "yes" if row["informative"] else "**not shown**",
                 f"{row['seen']:.0%}", told, f"{row['people']:.0%}"]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", f"Words that were neither yes nor no, counted as wrong: {record['unread']}.", ""]
    if preference is None:
        return "\n".join([*lines, "Which of two answers is better was not asked (`--pairs 0`)."]) + "\n"
    lines += ["## Which answer is better?", "",
              f"{preference['pairs']} pairs, {preference['with_people']} of them with an answer that people's labels decide; {preference['unread']} of "
              f"{preference['answers']} words of the judge could not be read. What `aether judge` says of it:", ""]  # fmt: skip
    page = [f"#{line}" if line.startswith("#") else line for line in preference["page"].splitlines()]
    return "\n".join([*lines, *page]) + "\n"


if __name__ == "__main__":
    main()
