"""A folder for the workbench to show: plans, a run that is training, pairs to judge."""

import json
from datetime import UTC, datetime

from aether.counsel.fleet import write
from aether.policy.brief_file import to_brief

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


def add_steps(root, first, last):
    """More lines of the training under way."""
    place = root / "runs" / ".store" / "train" / "0" / "metrics.jsonl"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("a") as file:
        for step in range(first, last + 1):
            file.write(json.dumps({"step": step, "loss": 5 - 0.01 * step, "judgement": "apply", "step_s": 0.1}) + "\n")
