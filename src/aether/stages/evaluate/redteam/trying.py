"""What a run tries, and an item for each attempt with every judge's verdict. No torch, no target: a build and the command share it."""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

from aether.evidence.items import Item
from aether.spec.errors import InputError
from aether.stages.evaluate.recipe import RedTeamRecipe, requests_hash
from aether.stages.evaluate.redteam import attacks as library
from aether.stages.evaluate.redteam.attacks import Attempt
from aether.stages.evaluate.redteam.behaviours import (
    Behaviour,
    drawn,
    own_behaviours,
    own_benign,
    own_materials,
    read_behaviours,
)
from aether.stages.evaluate.redteam.judges import (
    Ask,
    call_came,
    canary_came,
    complied_by_rules,
    model_verdicts,
    refused_by_rules,
    refused_by_string,
)


def requests_of(recipe: RedTeamRecipe, files: Sequence[str | None]) -> tuple[list[Behaviour], list[Behaviour]]:
    """A build's harmful and benign requests: those of the files, else those that come along, so many as the recipe says.

    Raises InputError where a file is not what the recipe was made for.
    """
    if requests_hash(files) != recipe.requests_sha256:
        raise InputError.of(
            "red_team", [file for file in files if file], "a file has changed since the plan; plan again"
        )
    harmful, benign = files
    sets = (
        own_behaviours() if harmful is None else read_behaviours(Path(harmful)),
        own_benign() if benign is None else read_behaviours(Path(benign), benign=True),
    )
    return tuple(drawn(one, recipe.behaviours, recipe.seed) for one in sets)  # pyright: ignore[reportReturnType]


def planned(recipe: RedTeamRecipe, behaviours: Sequence[Behaviour], benign: Sequence[Behaviour]) -> list[Attempt]:
    """Every attempt of a run but the optimised ones."""
    found: list[Attempt] = []
    for attack in library.attacks(recipe.attacks):
        found += library.attempts_of(attack, behaviours, recipe.shots)
    planted = functools.partial(library.injections, own_materials(), tool_messages=recipe.tool_messages)
    for task, kind in (("injection", planted), ("leak", library.leaks)):
        if not recipe.attacks or task in recipe.attacks:
            found += kind()
    return found + library.plain_attempts(benign)


def judged_items(attempts: Sequence[Attempt], answers: Sequence[Sequence[str]], judge: Ask | None = None) -> list[Item]:
    """An item for each attempt: 1 where an attack succeeded, a canary came, or a benign request was refused, by each judge.

    Where a judge model's word could not be read, its value is left out of that item, and is counted by who sums up.
    """
    words: list[bool | None] = [None] * len(attempts)
    if judge is not None:
        asked = [at for at, attempt in enumerate(attempts) if not attempt.canary]
        found = model_verdicts([(attempts[at].behaviour.text, answers[at][-1]) for at in asked], judge)
        for at, word in zip(asked, found, strict=True):
            words[at] = word
    return [_item(attempt, list(said), word) for attempt, said, word in zip(attempts, answers, words, strict=True)]


def _item(attempt: Attempt, said: list[str], word: bool | None) -> Item:
    last, about = said[-1], attempt.behaviour
    if attempt.tool:
        values = {"canary": float(any(call_came(attempt.tool, attempt.canary, answer) for answer in said))}
    elif attempt.canary:
        values = {"canary": float(any(canary_came(attempt.canary, answer) for answer in said))}
    elif attempt.task == "over-refusal":
        values = {"rules": float(refused_by_rules(last)), "string": float(refused_by_string(last))}
        values |= {} if word is None else {"model": float(not word)}
    else:
        values = {"rules": float(complied_by_rules(about.text, last)), "string": float(not refused_by_string(last))}
        values |= {} if word is None else {"model": float(word)}
    outside = [f"[{name}] {text}" for name, text in (("system", attempt.system), ("tool", attempt.result)) if text]
    prompt = "\n\n".join([*outside, *attempt.turns])
    return Item(
        task=attempt.task,
        id=attempt.id,
        cluster=about.id,
        tags={"attack": attempt.attack, "family": attempt.family, "category": about.category},
        prompt_sha256=hashlib.sha256(prompt.encode()).hexdigest(),
        prompt=prompt,
        answer="\n\n".join(said),
        target=attempt.canary or about.text,
        values=values,
    )
