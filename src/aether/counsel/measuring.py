"""Work that asks models many questions (a suite, a red team, a judge of pairs): what it would ask, and its start by the hash of that.

What it takes in time or money is not predicted: that depends on a model or a server that has not been asked yet. How many questions there
are at most, and how much may be written in reply, is counted.
"""

import hmac
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from aether.counsel.judging import pairs_to_judge
from aether.counsel.redteaming import gates_of
from aether.evidence.extras import need
from aether.evidence.hashing import hash_file, hash_value
from aether.running.jobs import Job, start
from aether.spec.base import Noun
from aether.spec.brief import Question
from aether.spec.endpoint import is_address
from aether.spec.errors import NeedsInput
from aether.stages.evaluate.estimate import Questions, judge_questions, red_team_questions, suite_questions

Model = Annotated[str, Field(description="A run, a model folder or a .gguf file, or the address of an endpoint.")]
Name = Annotated[str, Field(description="An endpoint's name for its model.")]
Settings = Annotated[tuple[str, ...], Field(description="FIELD=VALUE each, as the command's --set takes them.")]
Inside = Callable[[str, str], Path]
"""The path that a text means, and the field that it came from; raises InputError for one that leads out of the folder."""
_PLACES = ("judge_place=",)
"""Settings that name a model."""


class SuiteOrder(Noun):
    """A suite of tasks on a model."""

    target: Model
    suite: str = Field(description="A suite's TOML file, or the name of one that comes along: gsm8k, mt-bench, ...")
    data: str = Field(default=".", description="The folder that holds the suite's files.")
    limit: int | None = Field(default=None, ge=1, description="So many items of each task, drawn by lot.")
    model: Name = ""
    settings: Settings = ()


class RedTeamOrder(Noun):
    """Known attacks on a model, and benign requests beside them."""

    target: Model
    behaviours: tuple[str, ...] = Field(default=(), description="Files of harmful requests; none: a small set.")
    benign: tuple[str, ...] = Field(default=(), description="Files of benign requests; none: a small set.")
    labels: tuple[str, ...] = Field(default=(), description="Files of replies that people labelled.")
    gates: tuple[str, ...] = Field(default=(), description='Bounds, as "attack_success <= 10 %".')
    model: Name = ""
    settings: Settings = ()


class JudgeOrder(Noun):
    """A language model as judge of pairs of answers."""

    places: tuple[str, ...] = Field(description="A file of pairs, or two folders of finished evaluations.")
    target: Model
    model: Name = ""
    settings: Settings = ()


Order = SuiteOrder | RedTeamOrder | JudgeOrder


class Work(Noun):
    """What an order would ask, and the command that carries it out."""

    command: tuple[str, ...]
    """The words after `aether`."""
    questions: Questions
    approve: str
    """What `begin` must be given: another order, other files or another model has another hash."""

    @property
    def said(self) -> str:
        """In words."""
        asked, longest = self.questions.asks, self.questions.tokens
        return ", ".join(
            f"{who} at most {count:,} questions" + (f" with up to {longest[who]} tokens a reply" if who in longest else "")
            for who, count in asked.items()
        )  # fmt: skip


def work_of(order: Order, run: Path, inside: Inside) -> Work:
    """What an order would ask, its answers kept in the folder `run`. Raises InputError naming what of it cannot be used."""
    need("suites")
    given = (_place(order.target, "target", inside), order.model, _settings(order.settings, inside))
    if isinstance(order, SuiteOrder):
        suite = str(inside(order.suite, "suite")) if order.suite.endswith(".toml") else order.suite
        questions = suite_questions(given, suite, inside(order.data, "data"), order.limit)
        limit = ["--limit", str(order.limit)] if order.limit else []
        words = ["evaluate", questions.place, "--suite", suite, "--data", str(inside(order.data, "data")), *limit]
    elif isinstance(order, RedTeamOrder):
        gates_of(order.gates)
        sets = {"behaviours": order.behaviours, "benign": order.benign, "labels": order.labels}
        files = {name: [inside(path, name) for path in paths] for name, paths in sets.items()}
        questions = red_team_questions(given, files)
        words = ["redteam", questions.place, *_several("--gate", order.gates)]
        words += [word for name, paths in files.items() for word in _several(f"--{name}", map(str, paths))]
    else:
        places = [inside(path, "places") for path in order.places]
        read = [place / "items.jsonl" if place.is_dir() else place for place in places]
        questions = judge_questions(given, len(pairs_to_judge(places)), read)
        words = ["judge", *map(str, places), "--judge", questions.place]
    words += ["--out", str(run), *(["--model", order.model] if order.model else []), *_several("--set", given[2])]
    hashes = [hash_file(inside(path, "data")) for path in questions.files]
    approve = hash_value({"command": words, "files": hashes, "model": questions.model})
    return Work(command=tuple(words), questions=questions, approve=approve)


def begin(work: Work, run: Path, approve: str) -> Job:
    """Start it in the background. Raises NeedsInput with what it would ask where `approve` is not its hash, and RunBusy."""
    if not hmac.compare_digest(work.approve.encode(), approve.encode()):
        question = Question(
            field="approve",
            text=f"This asks {work.said}. Carry it out, with {work.approve}?",
            why="it takes the time of a machine and, where an endpoint has a price, money: neither is known before it is asked",
        )
        told = "work that asks a model is approved by the hash of what it asks"
        raise NeedsInput(
            told, questions=[question.model_dump(mode="json")], work=work.model_dump(mode="json"), approve=work.approve
        )
    return start(work.command, run)


def _place(text: str, field: str, inside: Inside) -> str:
    return text if is_address(text) else str(inside(text, field))


def _settings(given: Sequence[str], inside: Inside) -> tuple[str, ...]:
    found = []
    for one in given:
        mark = next((mark for mark in _PLACES if one.startswith(mark)), "")
        found.append(mark + _place(one[len(mark) :], mark.rstrip("="), inside) if mark else one)
    return tuple(found)


def _several(option: str, values: "Sequence[str] | map[str]") -> list[str]:
    return [word for value in values for word in (option, value)]
