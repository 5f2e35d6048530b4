"""One page of one model from the folders of its evaluations and its red team: what it can do, what it can't, what was not tested; and the card.

Folders go together only if they are of the same model: weights with the same hash, or one address and name. A run of `aether build` stands for its
red team. Numbers are those of each folder's own page.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aether.counsel import evaluating, redteaming
from aether.counsel.evaluating import Evaluated, read_evaluation
from aether.counsel.identity import is_guarded, model_of, told
from aether.counsel.page_parts import Parts, page_of_parts, write_parts
from aether.counsel.redteaming import read_red_team
from aether.counsel.results import red_team_of_run, result_of
from aether.spec.answer import Page
from aether.spec.errors import InputError
from aether.spec.report import Text, text_of

SUBTITLE = (
    "Every number is summed up from the records of the folders at the end. Intervals of scores speak of other items of the same kind, those of "
    "rates of other requests of the same kind under the same attacks."
)
NO_TASKS = text_of("What it can do: no evaluation of it stands beside its red team (aether evaluate).")
BARE_TASKS = text_of(
    "The tasks behind the defences: the red team asked the server that has them, the evaluations asked without."
)
NO_RED_TEAM = text_of("Misuse and attacks: no red team of it stands beside its evaluations (aether redteam).")


def model_page(folders: Sequence[Path], gates: Sequence[str] = ()) -> tuple[Page, list[Parts]]:
    """The page of the model that all folders are of, and its parts. `gates`: bounds on the red team's rates.

    Raises InputError for a folder of another model, or that holds something else.
    """
    kinds = _kinds(folders)
    evaluations = [read_evaluation(folder) for folder in kinds.get("evaluation", ())]
    red_teams = [read_red_team(folder) for folder in kinds.get("red team", ())]
    if len(red_teams) > 1:
        mend = "two red teams' rates are not one; give one of them, and pair them with aether compare"
        raise InputError.of("folders", [str(one.folder) for one in red_teams], mend)
    _check_same([(one.folder, one.about) for one in (*evaluations, *red_teams)])
    parts = [evaluating.parts_of(_together(evaluations))] if evaluations else []
    bounds = redteaming.gates_of(gates)
    parts += [redteaming.parts_of(one, redteaming.judge_gates(one, bounds)) for one in red_teams]
    missing: list[Text] = [] if evaluations else [NO_TASKS]
    missing += [] if red_teams else [NO_RED_TEAM]
    if any(is_guarded(one.about) for one in red_teams) and not all(
        is_guarded(about) for one in evaluations for about in one.made
    ):
        missing.append(BARE_TASKS)
    return page_of_parts("Model", SUBTITLE, parts, missing), parts


def write_model_page(folders: Sequence[Path], out: Path) -> tuple[Page, tuple[Path, Path, Path]]:
    """The page, and report.md, report.html and MODEL_CARD.md in `out`. Raises InputError as `model_page` does, and for an `out` with records."""
    page, parts = model_page(folders)
    if result_of(out) is not None:
        raise InputError.of("out", str(out), "it holds records with a page of their own; give another folder")
    out.mkdir(parents=True, exist_ok=True)
    return page, write_parts(out, page, parts)


def default_folder(folders: Sequence[Path]) -> Path:
    """Where the page is written when nobody says: beside the first folder, by its model's name."""
    _, parts = model_page(folders)
    return folders[0].parent / f"{Path(parts[0].place).name or 'model'}-page"


def _kinds(folders: Sequence[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for given in folders:
        folder = red_team_of_run(given) if (given / "run.json").is_file() else given
        result = result_of(folder)
        if result is None or result.kind not in ("evaluation", "red team"):
            mend = "it holds no evaluation and no red team of a model; give the --out of `aether evaluate` or `aether redteam`"
            raise InputError.of("folder", str(folder), mend)
        if not result.is_finished:
            raise InputError.of("folder", str(folder), "it is not finished; give its command again, which goes on")
        found.setdefault(result.kind, []).append(folder)
    return found


def _check_same(records: Sequence[tuple[Path, dict[str, Any]]]) -> None:
    first, about = records[0]
    for folder, other in records[1:]:
        if model_of(other) is None or model_of(other) != model_of(about):
            mend = f"it is of {told(other)}, and {first} of {told(about)}; a page is of one model"
            raise InputError.of("folder", str(folder), mend)


def _together(evaluations: Sequence[Evaluated]) -> Evaluated:
    """All evaluations as one. Raises InputError where a task stands in two of them."""
    first, *others = evaluations
    whole = first
    seen = {item.task: first.folder for item in first.items}
    for other in others:
        for task in sorted({item.task for item in other.items}):
            if task in seen:
                mend = f"{other.folder} and {seen[task]} both hold it; give one of them"
                raise InputError.of("task", task, mend)
            seen[task] = other.folder
        whole = replace(
            whole,
            items=[*whole.items, *other.items],
            scores=[*whole.scores, *other.scores],
            sensitivities=[*whole.sensitivities, *other.sensitivities],
            sequential=[*whole.sequential, *other.sequential],
            made=[*whole.made, *other.made],
        )
    return replace(whole, slices=evaluating.slices_of(whole.items))
