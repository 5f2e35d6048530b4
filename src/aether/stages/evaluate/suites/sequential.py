"""An evaluation that stops when it has decided: items by lot in growing draws, until each task's difference from a finished evaluation is clear.

After each draw the paired differences are looked at with a betting confidence sequence (`evidence.sequential`), which holds however often one
looks; the level is shared out over the tasks (Bonferroni). A task counts by its first metric. The order within a draw is by lot as well, so
that the sequence sees items in the order of a random draw.
"""

import functools
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from aether.evidence.files import write_json
from aether.evidence.hashing import hash_file
from aether.evidence.items import Item, read_items
from aether.evidence.sequential import SEQUENTIAL, betting
from aether.spec.base import Noun
from aether.spec.errors import InputError
from aether.stages.evaluate.suites.run import ITEMS, Order, Told, evaluate
from aether.stages.evaluate.suites.suite import Suite

FIRST_DRAW = 50
"""Items of each task; every further draw has twice as many (assumed: looks are free, loading and batching are not)."""


class Decided(Noun):
    """What a task's sequence says after the items that were asked."""

    task: str
    metric: str
    items: int
    """Pairs that were looked at."""
    of: int
    """Pairs that there are."""
    difference: float
    low: float
    high: float
    level: float
    verdict: Literal["better", "worse", "undecided"]
    """Than the finished evaluation."""


def evaluate_until_decided(
    order: Order, base: Path, level: float = 0.95, told: Told = lambda _suite, _count: None
) -> tuple[Decided, ...]:
    """Evaluate until every task is decided against `base` or has no items left; writes `sequential.json` beside the items.

    Raises InputError for tasks whose items are not drawn one by one, or whose scores are not within 0 and 1.
    """
    _simple(order.suite)
    theirs = {(item.task, item.id): item for item in read_items(base / ITEMS) if not item.variant}
    load = functools.cache(order.target.load)
    seen: list[tuple[str, str]] = []
    rule = f"until decided at {level:g} against {hash_file(base / ITEMS)}"
    limit, before = FIRST_DRAW, -1
    while True:
        items = {(i.task, i.id): i for i in evaluate(replace(order, limit=limit, rule=rule), told, load)}
        new = sorted(items.keys() & theirs.keys() - set(seen))
        random.Random(limit).shuffle(new)
        seen += new
        found = tuple(
            _look(
                task.name,
                [(items[key], theirs[key]) for key in seen if key[0] == task.name],
                theirs,
                level,
                order.suite,
            )
            for task in order.suite.tasks
        )
        write_json(
            order.out / SEQUENTIAL, {"against": str(base), "tasks": [one.model_dump(mode="json") for one in found]}
        )
        if len(items) == before or all(one.verdict != "undecided" or one.items >= one.of for one in found):
            return found
        limit, before = 2 * limit, len(items)


def _simple(suite: Suite) -> None:
    for task in suite.tasks:
        wrong = "a cluster" if task.cluster else "several prompts" if len(task.variants()) > 1 else None
        if task.data is None:
            wrong = "its items from elsewhere"
        if wrong is not None:
            mend = "stopping early needs items of one prompt each that are drawn by lot one by one; evaluate it whole"
            raise InputError.of(f"task {task.name}", wrong, mend)


def _look(
    task: str,
    pairs: Sequence[tuple[Item, Item]],
    theirs: dict[tuple[str, str], Item],
    level: float,
    suite: Suite,
) -> Decided:
    if not pairs:
        raise InputError.of(f"task {task}", 0, "no item of it is in the evaluation that it is held against")
    metric = next(iter(pairs[0][0].values))
    apart = np.array([mine.values[metric] - other.values[metric] for mine, other in pairs])
    scores = [item.values[metric] for pair in pairs for item in pair]
    if metric in pairs[0][0].weights or min(scores) < 0.0 or max(scores) > 1.0:
        raise InputError.of(
            f"task {task}", metric, "stopping early needs scores of items within 0 and 1; evaluate it whole"
        )
    own = 1.0 - (1.0 - level) / len(suite.tasks)
    sequence = betting(apart, level=own)
    low, high = float(sequence.low[-1]), float(sequence.high[-1])
    verdict = "better" if low > 0 else "worse" if high < 0 else "undecided"
    every = sum(name == task for name, _ in theirs)
    return Decided(task=task, metric=metric, items=len(apart), of=every, difference=float(apart.mean()), low=low, high=high,
                   level=own, verdict=verdict)  # fmt: skip
