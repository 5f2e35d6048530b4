"""Tools that take the machine's time or money: what each would do and cost, and the hash that a yes is bound to."""

import inspect
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from aether.counsel.agent.budget import Budget
from aether.counsel.agent.quoting import without_controls
from aether.counsel.launching import came_to_usd, proposal
from aether.counsel.measuring import JudgeOrder, RedTeamOrder, SuiteOrder, work_of
from aether.counsel.toolbox_common import Folder
from aether.evidence.hashing import hash_value
from aether.running.jobs import report_of
from aether.spec.errors import AetherError

ORDERS = {"evaluate_model": SuiteOrder, "red_team": RedTeamOrder, "judge_pairs": JudgeOrder}
MOST_SHOWN = 800
"""Characters of a call that a person is shown."""
TELL_FIRST = frozenset({"reproduce_run", *ORDERS})
"""Tools whose call without a hash starts nothing: it tells what the call with it would do."""


@dataclass(frozen=True)
class Ask:
    """What a person is asked before something is spent."""

    tool: str
    what: str
    cost_usd: float | None
    time_s: float | None
    hash: str
    """Of the tool and all of its arguments; for a launch, that of the plan."""
    objection: str | None
    """Why the budget does not cover it."""
    run: str | None = None
    """The run that it launches."""


Approver = Callable[[Ask], bool]
AsyncApprover = Callable[[Ask], Awaitable[bool]]


def deny_all(ask: Ask) -> bool:
    """The approver of whoever can not be asked."""
    return False


def only_tells(tool: str, arguments: dict[str, Any]) -> bool:
    """Whether a call spends nothing, so that no person needs to be asked."""
    return tool in TELL_FIRST and not arguments.get("approve")


def _ask_to_measure(tool: str, arguments: dict[str, Any], root: Path, budget: Budget) -> Ask:
    """The question for work that asks a model: how much of it, where its answers go, and its hash."""
    inside, run = Folder(root).inside, str(arguments.get("run", ""))
    try:
        work = work_of(ORDERS[tool].model_validate(arguments.get("order")), inside(run, "run"), inside)
    except (AetherError, ValidationError) as error:
        return Ask(tool, run, None, None, hash_value({"tool": tool, "arguments": arguments}), f"void: {error}")
    void = "void: the hash is not that of what would be asked" if arguments["approve"] != work.approve else None
    what = f"{work.said}, kept in {run}: aether {' '.join(work.command)}"
    return Ask(tool, what, None, None, work.approve, void or budget.objection(None))


def ask_for(tool: str, arguments: dict[str, Any], root: Path, budget: Budget) -> Ask:
    """The question for one call. A launch whose hash is not that of the present plan has an objection that no yes overrules."""
    if tool in ORDERS:
        return _ask_to_measure(tool, arguments, root, budget)
    digest = hash_value({"tool": tool, "arguments": arguments})
    cost = time = run = None
    what = ", ".join(_plainly(arguments))
    what = what if len(what) <= MOST_SHOWN else f"{what[:MOST_SHOWN]} …"
    if tool == "launch_build":
        try:
            planned = proposal(root / str(arguments.get("run", "")))
        except AetherError as error:
            return Ask(tool, what, None, None, digest, f"void: {error}")
        run = str(arguments.get("run", ""))
        cost, time, digest = planned.cost_usd, planned.build_time_s, planned.approve
        what = f"{planned.decided} in {planned.run}: {planned.summary}"
        if arguments.get("approve") != planned.approve:
            return Ask(tool, what, cost, time, digest, "void: the hash is not that of the present plan")
    if tool == "cancel_run":
        return Ask(tool, f"stop the work in {arguments.get('run', '')}", 0.0, 0.0, digest, None)
    return Ask(tool, what, cost, time, digest, budget.objection(cost), run)


def _plainly(arguments: dict[str, Any], before: str = "") -> Iterator[str]:
    """Each value with its field, as a person writes them: a list's in one, a table's one by one."""
    for key, value in arguments.items():
        if isinstance(value, dict):
            yield from _plainly(value, f"{before}{key}.")
        else:
            said = "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            # On one line: a value could draw a question of its own.
            yield " ".join(without_controls(f"{before}{key} = {said}").split())


async def says_yes(ask: Ask, approver: Approver | AsyncApprover) -> bool:
    """The person's word, waited for where it takes time."""
    answer = approver(ask)
    return bool(await answer) if inspect.isawaitable(answer) else bool(answer)


async def decide(ask: Ask, approver: Approver | AsyncApprover, budget: Budget) -> str | None:
    """None for a yes, else why not. What is known and covered by the budget still needs the person's yes for this hash."""
    if ask.objection is not None and ask.objection.startswith("void"):
        return ask.objection
    if not await says_yes(ask, approver):
        return "the person said no"
    if ask.cost_usd:
        budget.reserve(ask.hash, ask.cost_usd, ask.run)
    return None


def settle_ended(root: Path, budget: Budget) -> list[tuple[str, float | None]]:
    """Replace what was reserved for launched runs that have ended by what they came to; what was never started is released.
    (run, USD that were counted now, None where that is the reserved amount), in order."""
    settled: list[tuple[str, float | None]] = []
    for key, run in list(budget.runs.items()):
        state = report_of(root / run).state
        if state == "none":
            budget.release(key)
        elif state == "ended":
            before = budget.spent_usd
            try:
                actual = came_to_usd(root / run)
            except AetherError:
                actual = None  # the folder is gone or damaged: what was reserved stands
            budget.settle(key, actual)
            settled.append((run, None if actual is None else budget.spent_usd - before))
    return settled
