"""Conversations to hold replies against: what a person asked, and what the tools really said to it."""

import functools
import json
import tempfile
from pathlib import Path

from aether.counsel.claims.facts import Ground
from aether.counsel.toolbox import Toolbox
from aether.spec.evidence import Evidence

ASKED = "Serve llama-3.1-70b on 8 H100, p99 TTFT under 500 ms at 4 requests per second, 2k in, 300 out."
BRIEF = {
    "model": {"name": "llama-3.1-70b", "task": "serve"},
    "hardware": {"name": "H100-SXM-80GB", "count": 8},
    "load": {"requests_per_s": 4, "prompt_tokens": 2000, "output_tokens": 300},
    "targets": ["ttft_p99 <= 500 ms"],
}


@functools.cache
def replies():
    """The tools' replies of the conversation: the answer, the plan, two estimates."""
    box = Toolbox(Path("."))
    return (
        box.plan(BRIEF),
        box.estimate("memory", "llama-3.1-70b", "H100-SXM-80GB", 8),
        box.estimate("serve", "llama-3.1-70b", "H100-SXM-80GB", 8),
        box.explain("flash-attention"),
    )


def ground() -> Ground:
    """What that conversation may rest on."""
    found = Ground()
    found.add_person(ASKED)
    for reply in replies():
        assert reply.status == "done", reply.text
        found.add_reply(reply)
    return found


TUNING = "Fine-tune llama-3.1-8b with LoRA on 8 H100, 50M tokens, train.jsonl"


@functools.cache
def tuning_reply():
    """What `ask` really says to a fine-tuning, with its defaults."""
    with tempfile.TemporaryDirectory() as folder:
        return Toolbox(Path(folder)).ask(TUNING, accept_defaults=True)


def tuning_ground() -> Ground:
    """What a conversation about a fine-tuning may rest on."""
    found = Ground()
    found.add_person(TUNING)
    assert tuning_reply().status == "done"
    found.add_reply(tuning_reply())
    return found


COMPRESSING = "compress llama-3.1-8b for one L4"


@functools.cache
def compressing_reply():
    """What `ask` really says to a compression, with its defaults."""
    with tempfile.TemporaryDirectory() as folder:
        return Toolbox(Path(folder)).ask(COMPRESSING, accept_defaults=True)


def compressing_ground() -> Ground:
    """What a conversation about a compression may rest on."""
    found = Ground()
    found.add_person(COMPRESSING)
    assert compressing_reply().status == "done"
    found.add_reply(compressing_reply())
    return found


def recorded(name: str) -> Ground:
    """A conversation as it was on 2026-11-25, from `tests/golden/conversations`: its numbers stay while the planner's move.

    "serving", "tuning" and "compressing" are what the tools said; the records of the others are written by hand, as runs leave them.
    """
    path = Path(__file__).parents[1] / "golden" / "conversations" / f"{name}.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    found = Ground()
    found.add_person(told["person"])
    for one in told["tools"]:
        records = [Evidence.model_validate(e) for e in one["evidence"]]
        found.tools.add(one["tool"])
        if one["trusted"]:
            found.add_told(one["text"], records)
        else:
            found.add_evidence(records)
        found.sources += one["references"]
    return found


def filled(template: str) -> str:
    """A reply with the tools' own numbers in place of {metric}, {metric.low}, {serve.metric}, {decided}."""
    import re

    from aether.report.fleet import said
    from aether.spec.units import humanize

    plan, memory, serve, _ = replies()
    estimates = {e.metric: e for e in plan.evidence}
    more = {e.metric: e for e in serve.data.estimates}

    def value(match: re.Match[str]) -> str:
        name, _, part = match[1].partition(".")
        if match[1] == "decided":
            return plan.data.decided
        if match[1].startswith("row."):
            row = next(r for r in plan.data.options if part.split(".")[0] in r.name)
            return row.estimates["ttft_p99"].split(" (")[0]
        if name == "tune":
            metric, _, side = part.partition(".")
            one = next(e for e in tuning_reply().evidence if e.metric == metric and e.interval is not None)
            found = one.value if not side else getattr(one.interval, side)
            return humanize(float(f"{found:.3g}"), one.unit)
        if name == "comp":
            form, metric = part.split(".")
            one = next(e for e in compressing_reply().evidence if e.id == f"format-{form}.predicted.{metric}")
            return humanize(float(f"{one.value:.3g}"), one.unit)
        if name == "serve":
            return said(more[part], interval=False)
        one = estimates[name]
        if part:
            return humanize(float(f"{getattr(one.interval, part):.3g}"), one.unit)
        return humanize(float(f"{one.value:.3g}"), one.unit)

    assert memory.status == "done"
    return re.sub(r"\{([a-z][\w.]*)\}", value, template)
