"""What evaluations, red teams, judgements and studies left in folders: found, and drawn again from their records."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from aether.counsel import evaluating, judging, redteaming
from aether.counsel.annotation import Annotation
from aether.counsel.study import results_page
from aether.evidence.files import read_json
from aether.spec.answer import Page
from aether.spec.base import Noun
from aether.spec.errors import InputError

Kind = Literal["evaluation", "red team", "judgement", "study"]
DEPTH = 3
"""How far below a folder results are looked for."""
_STUDY = "pairs.jsonl.study.json"


class Result(Noun):
    """One folder of results."""

    folder: Path
    kind: Kind
    is_finished: bool
    """Whether there is something to draw: a run that was cut off goes on with its command."""


def result_of(folder: Path) -> Result | None:
    """What a folder holds; None for no results."""
    if (folder / "redteam.json").is_file():
        return Result(folder=folder, kind="red team", is_finished=(folder / "items.jsonl").is_file())
    if (folder / "evaluation.json").is_file():
        if (folder / "judged.jsonl").is_file():
            return Result(folder=folder, kind="judgement", is_finished=True)
        return Result(folder=folder, kind="evaluation", is_finished=(folder / "items.jsonl").is_file())
    if (folder / _STUDY).is_file():
        return Result(folder=folder, kind="study", is_finished=True)
    return None


def finished_result_of(folder: Path) -> Result:
    """What a folder holds, done. Raises InputError where it holds no results, or is still to be finished."""
    found = result_of(folder)
    if found is None:
        mend = "it holds no evaluation, red team, judgement or study; give the --out of one"
        raise InputError.of("folder", str(folder), mend)
    if not found.is_finished:
        raise InputError.of("folder", str(folder), "it is not finished; give its command again, which goes on")
    return found


def check_comparable(*folders: Path) -> None:
    """Raises InputError where results that have no items to pair stand among `folders`: cut off, beside a run, or of a kind that is not compared."""
    if not any(result_of(folder) for folder in folders):
        return
    for folder in folders:
        kind = finished_result_of(folder).kind
        if not (folder / "items.jsonl").is_file():
            mend = f"a {kind} has no items to pair; give two evaluations, or draw it with `aether report {folder}`"
            raise InputError.of("folder", str(folder), mend)


def red_team_of_run(run: Path) -> Path:
    """Where the red team of a build left its record: behind the brief's guard, or else in the evaluate step. Raises InputError where it had none."""
    for folder in (run / "redteam", run / "steps" / "evaluate" / "redteam"):
        if (folder / "redteam.json").is_file():
            return folder
    mend = "this build had no red team; give a folder of `aether redteam`, or gates such as attack_success in its brief"
    raise InputError.of("folder", str(run), mend)


def find_results(root: Path, depth: int = DEPTH) -> Iterator[Result]:
    """Every folder of results below `root`, by name; hidden ones are left out."""
    found = result_of(root)
    if found is not None:
        yield found
    if depth > 0:
        for child in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
            yield from find_results(child, depth - 1)


def draw(folder: Path, gates: Sequence[str] = (), beside: Sequence[Path] = ()) -> Page:
    """The page of a folder, every number summed up again. `gates`: bounds on a red team, as "attack_success <= 10 %". Raises InputError.

    `beside`: further evaluations, or the red team, of the same model: one page of all.
    """
    if beside:
        from aether.counsel.model_page import model_page

        return model_page([folder, *beside], gates)[0]
    found = finished_result_of(folder)
    if gates and found.kind != "red team":
        raise InputError.of("gates", list(gates), f"bounds are for a red team; this is a folder of kind {found.kind}")
    if found.kind == "red team":
        done = redteaming.read_red_team(folder)
        return redteaming.page_of(done, redteaming.judge_gates(done, redteaming.gates_of(gates)))
    if found.kind == "judgement":
        return judging.page_of(judging.read_judged(folder))
    if found.kind == "study":
        return results_page(Annotation(folder / "pairs.jsonl"))
    return evaluating.page_of(evaluating.read_evaluation(folder))


def answers_kept(folder: Path) -> int | None:
    """How many answers a folder holds so far; None for one that keeps none."""
    path = folder / "answers.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else None


def command_of(folder: Path) -> str:
    """The command that made a folder, which goes on where it was cut off; empty where none is known."""
    for name in ("redteam.json", "evaluation.json"):
        if (folder / name).is_file():
            return str(read_json(folder / name).get("command", ""))
    return ""
