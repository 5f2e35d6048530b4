"""A folder for the workbench to show: plans, a run that is training, pairs to judge, a red team, a judgement, a study."""

import json
from datetime import UTC, datetime

from tests.helpers.openai_endpoint import served

from aether.counsel.fleet import write
from aether.counsel.study import write_study
from aether.evidence.claiming import claim
from aether.evidence.pairs import read_pairs
from aether.evidence.preference_study import StudyDesign
from aether.evidence.swapped import JudgedPair, judged_lines
from aether.policy.brief_file import to_brief
from aether.stages.evaluate.recipe import RedTeamRecipe
from aether.stages.evaluate.redteam.behaviours import own_behaviours, own_benign
from aether.stages.evaluate.redteam.run import Order, red_team
from aether.stages.evaluate.suites.target import Target

SERVING = {
    "model": {"name": "llama-3.1-8b", "task": "serve"},
    "hardware": {"name": "H100-SXM-80GB", "count": 2},
    "load": {"requests_per_s": 2, "prompt_tokens": 1000, "output_tokens": 200},
    "targets": ["ttft_p99 <= 2 s"],
}


def fill(root):
    """A folder with plans, a run that is training, and pairs to judge."""
    for name, count in (("one", 1), ("two", 2)):
        write(
            to_brief(SERVING | {"hardware": {"name": "H100-SXM-80GB", "count": count}}, "brief"), root / "plans" / name
        )
    run = root / "runs" / "live"
    run.mkdir(parents=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    brief = {"name": "live", "intended_use": "<script>alert(1)</script>"}
    run.joinpath("run.json").write_text(
        json.dumps({"name": "live", "brief": brief, "command": ["aether"], "created_at": now, "status": "running"})
    )
    add_steps(root, 1, 40)
    pairs = [{"prompt": f"Question {i} <b>bold</b>", "a": f"answer a{i}", "b": f"answer b{i}"} for i in range(4)]
    root.joinpath("pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    measure(root)


def measure(root):
    """Results: a red team of a server that refuses, two pairs that a judge saw, a study that waits for its raters."""
    with served("I'm sorry, but I can't <b>help</b> with that.") as (base, _):
        recipe = RedTeamRecipe(attacks=("direct", "leak"), behaviours=6)
        red_team(Order(Target(place=base, model="m"), recipe, own_behaviours(), own_benign(), root / "red"))
    pairs = read_pairs(root / "pairs.jsonl")
    named = [pair.model_copy(update={"a_model": "one", "b_model": "<i>two</i>"}) for pair in pairs]
    words = [
        ("VERDICT: 1", "VERDICT: 2"),
        ("VERDICT: 1", "VERDICT: 1"),
        ("VERDICT: 2", "VERDICT: 1"),
        ("?", "VERDICT: 1"),
    ]
    judged = [JudgedPair(pair=pair, a_first=a, b_first=b) for pair, (a, b) in zip(named, words, strict=True)]
    claim(root / "judged" / "evaluation.json", {"target": {"model": "judge"}}, {"place": "judge"}, "another judgement")
    (root / "judged" / "judged.jsonl").write_text(judged_lines(judged))
    write_study(pairs, StudyDesign(len(pairs), raters=2, checks=2), root / "study")


def add_steps(root, first, last):
    """More lines of the training under way."""
    place = root / "runs" / ".store" / "train" / "0" / "metrics.jsonl"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("a") as file:
        for step in range(first, last + 1):
            file.write(json.dumps({"step": step, "loss": 5 - 0.01 * step, "judgement": "apply", "step_s": 0.1}) + "\n")
