"""A suite on a target into a folder: answers as they come, items, and no score; whoever reads the folder sums the items up again.

`answers.jsonl` has every answer of the model, `items.jsonl` every item with its values, `evaluation.json` what was evaluated. A folder that was
cut off goes on where it was, and one that is finished is scored again from its answers, without loading the model. A folder of another suite,
model or data is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM

from aether.evidence.claiming import claim
from aether.evidence.files import read_json, write_atomically
from aether.evidence.hashing import hash_file
from aether.evidence.items import Item, write_lines
from aether.spec.errors import InputError
from aether.stages.evaluate.quiet import quiet
from aether.stages.evaluate.suites.conversations import run_conversations
from aether.stages.evaluate.suites.harness import Asking, JournaledLM, run_task
from aether.stages.evaluate.suites.inspect_tasks import run_inspect
from aether.stages.evaluate.suites.journal import Journal
from aether.stages.evaluate.suites.suite import Suite
from aether.stages.evaluate.suites.target import Target, check_served

ITEMS, ANSWERS, REQUEST = "items.jsonl", "answers.jsonl", "evaluation.json"
Told = Callable[[str, int], None]
"""Called with the suite's name and how many answers there are."""


@dataclass(frozen=True)
class Order:
    """What is evaluated, on what, into which folder. `command` is how a person would say it again."""

    target: Target
    suite: Suite
    data: Path
    out: Path
    limit: int | None = None
    command: str = ""
    rule: str = ""
    """Of a sequential evaluation, what decides how many items are drawn; stands for the limit in the folder's identity."""


def evaluate(
    order: Order, told: Told = lambda _suite, _count: None, load: Callable[[], LM] | None = None
) -> list[Item]:
    """Ask what is missing, score everything, write the items. Raises InputError where the folder is of another evaluation.

    `load` gives a model that is at hand already.
    """
    _claim(order)
    journal = Journal(order.out / ANSWERS)
    model = JournaledLM(load or order.target.load, journal, lambda count: told(order.suite.name, count))
    asking = Asking(model, order.data, order.out / "documents", order.limit, order.target.chat)
    found: list[Item] = []
    try:
        with quiet():
            for task in order.suite.tasks:
                if task.inspect:
                    found += run_inspect(task, order.target, order.out, order.limit)
                elif task.follow_ups:
                    found += [item for variant in task.variants() for item in run_conversations(variant, asking)]
                else:
                    found += run_task(task, asking)
    finally:
        journal.close()
    write_atomically(order.out / ITEMS, write_lines(found))
    return found


def _claim(order: Order) -> None:
    suite, data = order.suite, order.data
    files = sorted({name for task in suite.tasks for name in (task.data, task.few_shot_data) if name})
    missing = [name for name in files if not (data / name).is_file()]
    if missing:
        raise InputError.of(
            "data", str(data / missing[0]), "no such file; give the folder that holds the suite's data with --data"
        )
    target = order.target
    identity: dict[str, Any] = {
        "suite": suite.model_dump(mode="json"),
        "data": {name: hash_file(data / name) for name in files},
        "target": target.identity() | {"chat": target.chat, "dtype": target.dtype, "max_length": target.max_length},
        "limit": order.rule or order.limit,
        "versions": {name: version(name) for name in ("lm_eval", "inspect_ai", "transformers", "torch")},
    }
    about = {"place": target.place, "command": order.command, "served": target.served()}
    claim(order.out / REQUEST, identity, about, "an evaluation of another model, suite, data or limit")
    check_served(read_json(order.out / REQUEST), about["served"])
