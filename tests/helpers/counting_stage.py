"""A whole stage in a few lines: counts in a file, can be told to die halfway. For tests of the runner."""

import os
import signal

from aether.spec.base import Noun


class CountingRecipe(Noun):
    """How far to count; where to kill the process, once."""

    circumstance = frozenset({"note"})

    until: int = 5
    die_at: int | None = None
    note: str = ""


def run(recipe, context):
    kept = context.out / "checkpoint"
    kept.mkdir(exist_ok=True)
    at = kept / "at"
    start = int(at.read_text()) if at.exists() else 0
    before = sum(int((folder / "count").read_text()) for folder in context.inputs.values())
    for i in range(start, recipe.until):
        at.write_text(str(i))
        context.tell(i, recipe.until, "counts")
        if i == recipe.die_at and start == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    (context.out / "count").write_text(str(recipe.until + before))
    return (context.measured("count", recipe.until + before, "count", "counting", started_from=start),)
