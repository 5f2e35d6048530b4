"""A red-team run into a folder: answers as they come, items with the judges' verdicts, and no rate; whoever reads the folder sums the items up.

`answers.jsonl` has every answer, `items.jsonl` every attempt with its verdicts, `redteam.json` what was tried on what, `calibrations.json` how often
the judges were right on replies that people labelled. A folder that was cut off goes on where it was; one of another run is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aether.evidence.claiming import claim
from aether.evidence.files import read_json, write_atomically, write_json
from aether.evidence.hashing import hash_value
from aether.evidence.items import Item, write_lines
from aether.evidence.redteam import Judged, judged, pooled
from aether.spec.errors import InputError
from aether.stages.evaluate.estimate import VERDICT_TOKENS
from aether.stages.evaluate.quiet import quiet
from aether.stages.evaluate.recipe import RedTeamRecipe
from aether.stages.evaluate.redteam import attacks as library
from aether.stages.evaluate.redteam.asking import Kept, WeightsWriter, converse, prompt_of, writer
from aether.stages.evaluate.redteam.attacks import Attempt
from aether.stages.evaluate.redteam.behaviours import Behaviour, drawn
from aether.stages.evaluate.redteam.judges import Ask, model_verdicts
from aether.stages.evaluate.redteam.labels import Labelled, calibrations, shipped_calibrations
from aether.stages.evaluate.redteam.trying import judged_items, planned
from aether.stages.evaluate.suites.journal import Journal
from aether.stages.evaluate.suites.target import Target, check_served

ITEMS, ANSWERS, REQUEST, CALIBRATIONS = "items.jsonl", "answers.jsonl", "redteam.json", "calibrations.json"
Told = Callable[[str, int], None]
"""Called with what is being done and how far it is."""


@dataclass(frozen=True)
class Order:
    """What is tried, on what, into which folder. `labelled`: replies that people labelled, by the file that they came from."""

    target: Target
    recipe: RedTeamRecipe
    behaviours: Sequence[Behaviour]
    benign: Sequence[Behaviour]
    out: Path
    labelled: dict[str, Sequence[Labelled]] = field(default_factory=dict)
    command: str = ""
    stands_for: dict[str, str] | None = None
    """What a server at an address of the moment serves: stands for the address in the folder's identity."""


def red_team(order: Order, told: Told = lambda _what, _count: None) -> list[Item]:
    """Ask what is missing, judge everything, write items and calibrations. Raises InputError where the folder is of another run."""
    recipe = order.recipe
    behaviours, benign = (drawn(some, recipe.behaviours, recipe.seed) for some in (order.behaviours, order.benign))
    # Before the folder is taken and anything is asked: a slip in the recipe costs neither.
    attempts = planned(recipe, behaviours, benign)
    write = writer(order.target, recipe.max_tokens)
    _check(order)
    _claim(order)
    journal, verdicts = Journal(order.out / ANSWERS), Journal(order.out / "verdicts.jsonl")
    try:
        with quiet():
            ask = Kept(write, journal, _chunk(order.target), lambda count: told("answers", count))
            if recipe.suffix_steps:
                attempts += _suffixes(order, write, behaviours, journal, told)
            answers = converse(attempts, ask)
            judge = _judge_model(recipe, verdicts, told)
            items = judged_items(attempts, answers, judge)
            known = _calibrated(order, judge)
    finally:
        journal.close()
        verdicts.close()
    write_json(order.out / CALIBRATIONS, [one.model_dump(mode="json") for one in known])
    write_atomically(order.out / ITEMS, write_lines(items))
    return items


def _check(order: Order) -> None:
    recipe = order.recipe
    if recipe.suffix_steps and order.target.is_endpoint:
        raise InputError.of(
            "suffix_steps", recipe.suffix_steps, "an endpoint gives no gradients; give local weights, or 0"
        )
    if recipe.judge == "model" and not recipe.judge_place:
        raise InputError.of(
            "judge_place", "", "name the judge with --set judge_place=FOLDER or an address, and judge_name"
        )


def _calibrated(order: Order, judge: Ask | None) -> list[Judged]:
    if not order.labelled:
        return shipped_calibrations() if judge is None else []
    found: list[Judged] = []
    for source, rows in order.labelled.items():
        found += calibrations(rows, source)
        if judge is not None:
            found += _model_calibration(rows, source, judge)
    return found


def _model_calibration(rows: Sequence[Labelled], source: str, judge: Ask) -> list[Judged]:
    """The judge model on the labelled replies; a word that cannot be read counts as wrong, whatever people say."""
    words = model_verdicts([(row.request, row.reply) for row in rows], judge)
    said = {
        (row.request, row.reply): (not row.complied if word is None else word)
        for row, word in zip(rows, words, strict=True)
    }
    found = []
    for name in dict.fromkeys(row.model for row in rows):
        own = [row for row in rows if row.model == name]
        if len({row.complied for row in own}) == 2:
            found.append(
                judged("model", name, [said[r.request, r.reply] for r in own], [r.complied for r in own], source)
            )
    return [*found, pooled(found, "model")] if len(found) > 1 else found


def _judge_model(recipe: RedTeamRecipe, journal: Journal, told: Told) -> Ask | None:
    if recipe.judge != "model":
        return None
    target = Target(place=recipe.judge_place, model=recipe.judge_name, chat=True)
    return Kept(writer(target, VERDICT_TOKENS), journal, _chunk(target), lambda count: told("verdicts", count))


def _suffixes(order: Order, write: Any, behaviours: Sequence[Behaviour], journal: Journal, told: Told) -> list[Attempt]:
    """Suffixes that are optimised on the weights, kept in the journal: a killed search starts its behaviour again."""
    recipe = order.recipe
    assert isinstance(write, WeightsWriter)
    found = []
    for at, behaviour in enumerate(behaviours[: recipe.suffix_behaviours]):
        about = recipe.model_dump(
            mode="json", include={"suffix_steps", "suffix_tokens", "suffix_top", "suffix_tries", "seed"}
        )
        key = hash_value({"suffix": behaviour.text, **about})
        if not journal.count(key):
            journal.add(key, _optimised(recipe, write.lm, behaviour))
        told("suffixes", at + 1)
        found.append(library.suffix_attempt(behaviour, str(journal.reading()[key][0]["suffix"])))
    return found


def _optimised(recipe: RedTeamRecipe, lm: Any, behaviour: Behaviour) -> dict[str, Any]:
    import torch

    from aether.stages.evaluate.redteam import gcg

    tokenizer, model = lm.tokenizer, lm.model
    mark = "\u2042"
    text = prompt_of(tokenizer, [{"role": "user", "content": f"{behaviour.text} {mark}"}])
    before, after = text.split(mark)
    start = "! " * recipe.suffix_tokens

    def ids(part: str) -> "torch.Tensor":
        return torch.tensor(tokenizer.encode(part, add_special_tokens=False), dtype=torch.long, device=model.device)

    prompt = gcg.Prompt(ids(before), ids(after), ids(library.suffix_target(behaviour)))
    search = gcg.Search(recipe.suffix_steps, recipe.suffix_top, recipe.suffix_tries, recipe.seed)
    allowed = gcg.readable_tokens(tokenizer, model.get_input_embeddings().weight.shape[0])
    done = gcg.search_suffix(model, prompt, ids(start)[: recipe.suffix_tokens], search, allowed.to(model.device))
    return {"suffix": tokenizer.decode(done.suffix_S.tolist()), "losses": done.losses}


def _chunk(target: Target) -> int:
    return target.concurrency if target.is_endpoint else target.batch_size


def _claim(order: Order) -> None:
    target = order.target
    names = ("openai",) if target.is_endpoint else ("lm_eval", "transformers", "torch")
    identity: dict[str, Any] = {
        "recipe": order.recipe.model_dump(mode="json"),
        "behaviours": hash_value([b.model_dump(mode="json") for b in (*order.behaviours, *order.benign)]),
        "target": (order.stands_for or target.identity()) | {"dtype": target.dtype},
        "versions": {name: version(name) for name in names},
    }
    sets = {"behaviours": len(order.behaviours), "benign": len(order.benign)}
    about = {"place": target.place, "command": order.command, "sets": sets, "served": target.served()}
    claim(order.out / REQUEST, identity, about, "a run on another model, set, judge or attacks")
    check_served(read_json(order.out / REQUEST), about["served"])
