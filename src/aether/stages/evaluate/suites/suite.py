"""A suite of tasks as data: what is asked, under which prompts, how it is scored, and which items are alike. No torch.

Tasks come from three places: a JSONL or CSV file with a prompt and a metric (`data`), a task of lm-evaluation-harness by name (`harness`), or
one of inspect-ai (`inspect`). Own tasks become lm-evaluation-harness configurations, so that one engine asks and scores all of them.
Several `templates`, `few_shot` values, `few_shot_orders`, `option_orders` or `separators` make a grid of prompts: a score is then a distribution over them.
"""

import itertools
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationError, model_validator

from aether.evidence.items import Distribution, Item
from aether.spec.base import Extended, Noun
from aether.spec.errors import InputError

Metric = Literal["exact_match", "accuracy", "bits_per_byte", "word_perplexity", "words"]
LIBRARY = resources.files("aether.stages.evaluate.suites") / "library"


class Task(Extended):
    """One task. Exactly one of `data`, `harness` and `inspect` says where its items come from."""

    added: ClassVar[frozenset[str]] = frozenset({"follow_ups", "few_shot_orders"})
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    data: str | None = None
    """A .jsonl, .csv or .txt file (a text becomes documents at its top headings), relative to the data folder."""
    harness: str | None = None
    """A task of lm-evaluation-harness, by its name."""
    include: str | None = None
    """A folder of task definitions for lm-evaluation-harness. Python that they name is executed: use folders that you trust."""
    inspect: str | None = None
    """A task of inspect-ai: `file.py@task` or a name in its registry. The file is executed: use files that you trust."""
    templates: tuple[str, ...] = ()
    """Prompts in Jinja over an item's fields."""
    follow_ups: tuple[str, ...] = ()
    """Further turns, in Jinja over an item's fields: each is asked with the model's own answers before it. The last answer is scored."""
    target: str = ""
    """The right answer, or the index of the right choice, in Jinja over an item's fields."""
    choices: str | tuple[str, ...] = ()
    """Of a task that is scored by the likelihood of each: texts, or the name of the field that lists them."""
    metric: Metric = "exact_match"
    """`words`, how many were written, is for open questions: their answers are judged in pairs (`aether judge`)."""
    extract: str = ""
    """A regular expression that takes the answer out of what the model wrote; the last match counts."""
    stop: tuple[str, ...] = ("\n\n",)
    max_tokens: int = Field(default=256, ge=1)
    few_shot: tuple[int, ...] = (0,)
    few_shot_data: str | None = None
    few_shot_orders: int = Field(default=1, ge=1)
    """In so many orders do the examples stand before a prompt: that of the file first, further ones by lot."""
    option_orders: Literal["as written", "also reversed"] = "as written"
    """For tasks with choices: whether the answer moves when the options are listed the other way round."""
    separators: tuple[str, ...] = (" ",)
    """Between prompt and answer."""
    cluster: str | None = None
    """The field whose equal values mark items that are alike."""
    slices: tuple[str, ...] = ()
    """Fields by whose values weak spots are looked for."""
    distribution: Distribution = "unknown"
    """Whether the task is like what the model was trained on."""
    source: str = ""
    """Where the items come from, with the licence."""

    @model_validator(mode="after")
    def _one_place(self) -> "Task":
        places = [name for name in ("data", "harness", "inspect") if getattr(self, name)]
        if len(places) != 1:
            raise ValueError(f"task {self.name} has {len(places)} of data, harness and inspect: give one")
        if self.data and not self.templates:
            raise ValueError(f"task {self.name} has data and no templates: give at least one prompt")
        if self.choices and self.metric not in ("accuracy", "exact_match"):
            raise ValueError(f"task {self.name} has choices, so its metric is accuracy, not {self.metric}")
        if self.metric == "accuracy" and self.data and not self.choices:
            raise ValueError(f"task {self.name} has the metric accuracy and no choices: list them, or use exact_match")
        if self.few_shot_orders > 1 and (not self.data or min(self.few_shot) < 2):
            raise ValueError(f"task {self.name} has few_shot_orders: give data, and few_shot values of two or more")
        if self.follow_ups and (not self.data or not self.is_written or self.few_shot != (0,)):
            raise ValueError(
                f"task {self.name} has follow_ups: give data, exact_match or words as metric, and no few_shot"
            )
        return self

    @property
    def is_written(self) -> bool:
        """Whether the model writes an answer, rather than that texts are scored."""
        return not self.choices and self.metric in ("exact_match", "words")

    def variants(self) -> list["Variant"]:
        """Every prompt of the grid, the first being the one that a plain run would use."""
        reversed_too = (False, True) if self.option_orders == "also reversed" else (False,)
        templates, orders = self.templates or ("",), range(self.few_shot_orders)
        grid = itertools.product(
            range(len(templates)), self.few_shot, orders, reversed_too, range(len(self.separators))
        )
        return [
            Variant(task=self, template=template, shots=shots, order=order, reversed_options=back, separator=separator)
            for template, shots, order, back, separator in grid
        ]


class Variant(Noun):
    """One prompt of a task."""

    task: Task
    template: int
    shots: int
    order: int
    reversed_options: bool
    separator: int

    @property
    def label(self) -> str:
        """Its levels of the factors that vary, as "template=1,few_shot=5"; empty for a task with one prompt."""
        task = self.task
        parts = []
        if len(task.templates) > 1:
            parts.append(f"template={self.template}")
        if len(task.few_shot) > 1:
            parts.append(f"few_shot={self.shots}")
        if task.few_shot_orders > 1:
            parts.append(f"order={self.order}")
        if task.option_orders == "also reversed":
            parts.append(f"options={'reversed' if self.reversed_options else 'as written'}")
        if len(task.separators) > 1:
            parts.append(f"separator={self.separator}")
        return ",".join(parts)

    def item(self, name: str, document: Mapping[str, Any], **told: Any) -> Item:
        """The item of one document under this prompt: whose it is, and `told`, which is asked and answered and scored."""
        task = self.task
        return Item(
            task=task.name,
            id=name,
            variant=self.label,
            distribution=task.distribution,
            cluster=str(document[task.cluster]) if task.cluster else name,
            tags={field: str(document[field]) for field in task.slices if field in document},
            **told,
        )


class Suite(Noun):
    """A named list of tasks."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    description: str = ""
    tasks: tuple[Task, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names(self) -> "Suite":
        names = [task.name for task in self.tasks]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"two tasks are named {', '.join(sorted(twice))}: give each a name of its own")
        return self


def library() -> tuple[str, ...]:
    """Names of the suites that come with Aether; their data does not."""
    return tuple(
        sorted(entry.name.removesuffix(".toml") for entry in LIBRARY.iterdir() if entry.name.endswith(".toml"))
    )


def read_suite(which: str) -> Suite:
    """A suite by the name of one that comes with Aether, or from a TOML file. Raises InputError naming the field."""
    if which in library():
        text = (LIBRARY / f"{which}.toml").read_text(encoding="utf-8")
    else:
        path = Path(which)
        if not path.is_file():
            raise InputError.of(
                "suite", which, f"no such file, and no suite of that name; there are {', '.join(library())}"
            )
        text = path.read_text(encoding="utf-8")
    try:
        return Suite.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise InputError.of("suite", which, _told(error)) from error


def _told(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first: Any = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{place + ': ' if place else ''}{first['msg'].removeprefix('Value error, ')}"
    return str(error)
