"""What a person wants: the brief, its targets, and what must be asked when it is partial. Parsing lives in `load_brief`."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from aether.spec.base import Extended, Noun
from aether.spec.errors import InputError
from aether.spec.metrics import GATES, METRICS
from aether.spec.units import humanize, parse_quantity, to_canonical

Comparison = Literal["<=", ">="]
_TARGET = re.compile(r"^\s*([a-z_0-9]+)\s*(<=|>=|==|<|>|=|≤|≥)\s*(.+?)\s*$")


class Target(Noun):
    """A bound that the built model must meet. `value` is in the metric's canonical unit.

    Written as one string ("ttft_p99 <= 250 ms") or as a table of metric, comparison, value, unit.
    """

    metric: str
    comparison: Comparison
    value: float
    unit: str

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, raw: Any) -> Any:
        if isinstance(raw, str):
            raw = cls._from_text(raw)
        if not isinstance(raw, dict):
            raise InputError.of("targets", raw, 'write a string such as "ttft_p99 <= 250 ms"')
        metric = METRICS.get(raw.get("metric", ""))
        if metric is None:
            raise InputError.of("targets.metric", raw.get("metric"), f"use one of {', '.join(METRICS)}")
        wanted = "<=" if metric.better == "lower" else ">="
        if raw.get("comparison") != wanted:
            raise InputError.of(
                "targets.comparison", raw.get("comparison"), f"{raw['metric']} is bounded with {wanted!r}"
            )
        value = raw.get("value")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError.of("targets.value", value, "give a number")
        if value <= 0:
            raise InputError.of("targets.value", value, f"{raw['metric']} needs a bound above zero")
        unit = raw.get("unit", metric.unit)
        return raw | {"value": to_canonical(value, unit, metric.unit, "targets.unit"), "unit": metric.unit}

    @staticmethod
    def _from_text(text: str) -> dict[str, Any]:
        match = _TARGET.match(text)
        if match is None:
            raise InputError.of("targets", text, 'write metric, comparison, value and unit: "ttft_p99 <= 250 ms"')
        name, comparison, quantity = match.groups()
        if name not in METRICS:
            raise InputError.of("targets.metric", name, f"use one of {', '.join(METRICS)}")
        comparison = {"≤": "<=", "≥": ">=", "<": "<=", ">": ">="}.get(comparison, comparison)
        unit = METRICS[name].unit
        return {"metric": name, "comparison": comparison, "value": parse_quantity(quantity, unit, f"targets.{name}")}

    def is_met_by(self, value: float) -> bool:
        """Whether a value in the canonical unit is on the right side of the bound."""
        return value <= self.value if self.comparison == "<=" else value >= self.value

    def __str__(self) -> str:
        return f"{self.metric} {self.comparison} {humanize(self.value, self.unit)}"


class Data(Noun):
    """Where the text is.

    A source is a file, folder or glob of text, JSONL or Parquet, or `python:stdlib` / `python:package/NAME`
    for what this machine's own interpreter has.
    """

    sources: tuple[str, ...] = ()
    out_of_distribution: tuple[str, ...] = ()
    text_field: str = "text"
    include: tuple[str, ...] = ("*",)

    @field_validator("sources", "out_of_distribution", "include", mode="before")
    @classmethod
    def _one_or_many(cls, raw: Any) -> Any:
        return (raw,) if isinstance(raw, str) else raw


def _first_and_others(raw: Any, field: str) -> Any:
    """A table whose `name` may be a list, with the names after the first as `others`."""
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), list | tuple):
        return raw
    if not raw["name"]:
        raise InputError.of(field, raw["name"], "name at least one")
    first, *rest = raw["name"]
    return raw | {"name": first, "others": rest}


class Hardware(Extended):
    """The machine to build and serve on: `this-machine`, or a name that `knowledge` has. Price unknown is None, never 0.

    Where a published model is planned for, `name` may be a list: each is compared, with `count` devices of it, or with as many as
    `counts` says of that name.
    """

    added: ClassVar[frozenset[str]] = frozenset({"counts"})
    name: str = "this-machine"
    others: tuple[str, ...] = ()
    """The names after the first, where several were given."""
    count: int = Field(default=1, ge=1)
    counts: dict[str, Annotated[int, Field(ge=1)]] = {}
    """Of one device, by name, where several are compared and there are not equally many."""
    price_usd_per_hour: float | None = Field(default=None, ge=0)
    """Of the machine; where a published model is planned for, of one device."""
    prices_usd_per_hour: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Of one device, by name, where several are compared."""

    @model_validator(mode="before")
    @classmethod
    def _one_or_many(cls, raw: Any) -> Any:
        return _first_and_others(raw, "hardware.name")

    @property
    def names(self) -> tuple[str, ...]:
        """Every choice."""
        return (self.name, *self.others)

    def count_of(self, name: str) -> int:
        """Devices of that name."""
        return self.counts.get(name, self.count)

    def is_counted(self, name: str) -> bool:
        """Whether it was said how many there are of that name."""
        return name in self.counts or "count" in self.model_fields_set


class ModelChoice(Noun):
    """A model that is planned for instead of designed: one that was published, or a config.json, and what happens to it.

    `name` may be a list: any of them would do, and the plan chooses among them.
    """

    name: str | None = None
    """A published model, or the path of a config.json."""
    others: tuple[str, ...] = ()
    """The names after the first, where several were given."""
    task: Literal["serve", "pretrain", "finetune"] | None = None
    formats: tuple[str, ...] = ()
    """Number formats that may be used; empty: every one that the hardware has."""
    tokens: float | None = Field(default=None, gt=0)
    """Tokens to train on."""
    sequence_tokens: int | None = Field(default=None, ge=1)
    batch_tokens: float | None = Field(default=None, gt=0)
    """Tokens of one step of training."""
    method: Literal["full", "lora", "qlora"] = "full"
    """How a fine-tuning learns."""

    @model_validator(mode="before")
    @classmethod
    def _one_or_more(cls, raw: Any) -> Any:
        return _first_and_others(raw, "model.name")

    @property
    def alternatives(self) -> tuple["ModelChoice", ...]:
        """Each model as the only choice."""
        return tuple(self.model_copy(update={"name": name, "others": ()}) for name in (self.name, *self.others))

    @field_validator("formats", mode="before")
    @classmethod
    def _one_or_many(cls, raw: Any) -> Any:
        return tuple(part.strip() for part in raw.split(",")) if isinstance(raw, str) else raw

    @field_validator("tokens", "batch_tokens", mode="before")
    @classmethod
    def _counted(cls, raw: Any, info: ValidationInfo) -> Any:
        return parse_quantity(raw, "count", f"model.{info.field_name}") if isinstance(raw, str) else raw


class Load(Noun):
    """The traffic that latency targets are measured under: open loop, Poisson arrivals."""

    requests_per_s: float = Field(default=2.0, gt=0)
    prompt_tokens: int = Field(default=128, ge=1)
    output_tokens: int = Field(default=32, ge=1)
    requests: int = Field(default=60, ge=20)


class RedTeamChoice(Noun):
    """What the bounds on metrics of safety are shown with: requests of a file in place of the small set that comes along, and defences."""

    behaviours: str | None = None
    """A file of harmful requests (HarmBench, AdvBench, StrongREJECT, own)."""
    benign: str | None = None
    """A file of benign requests (XSTest, own)."""
    requests: int | None = Field(default=None, ge=1)
    """So many of each, drawn by lot; None: all."""
    guard: str | None = None
    """A file of the server's defences: the served model is tried behind them, in place of the bare model."""


class Brief(Extended):
    """What the model must do, how well, how fast, how cheap, on what hardware, with what data.

    Every part may be missing: `policy.questions` says what must be asked before anything is spent.
    """

    added: ClassVar[frozenset[str]] = frozenset({"red_team"})
    name: str = Field(default="model", pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    intended_use: str | None = None
    modality: Literal["code", "text"] | None = None
    data: Data = Data()
    model: ModelChoice | None = None
    """None: a model is designed and built. Otherwise this one is planned for, at the scale of `hardware`."""
    hardware: Hardware | None = None
    targets: tuple[Target, ...] = ()
    load: Load = Load()
    quality_loss_bound: float = Field(default=0.01, ge=0, le=1)
    """Largest relative rise of bits per byte that compression may cost."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    red_team: RedTeamChoice | None = None

    @model_validator(mode="after")
    def _asked_for(self) -> "Brief":
        if self.red_team is not None and not any(target.metric in GATES for target in self.targets):
            given = self.red_team.model_dump(exclude_none=True)
            raise InputError.of(
                "red_team", given, f"nothing asks for it: bound one of {', '.join(GATES)}, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _one_target_per_metric(self) -> "Brief":
        seen: set[str] = set()
        for target in self.targets:
            if target.metric in seen:
                raise InputError.of("targets", target.metric, "bound each metric once")
            seen.add(target.metric)
        return self

    def target(self, metric: str) -> Target | None:
        """The bound on `metric`, if the brief has one."""
        return next((t for t in self.targets if t.metric == metric), None)


class Question(Noun):
    """Something that must be known before advice is given."""

    field: str
    text: str
    why: str
    default: str | None = None
    choices: tuple[str, ...] = ()
