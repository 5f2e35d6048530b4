"""A brief with a model, resolved: its architecture, the devices with their prices, the load, the targets, the formats.

Everything that a search needs and that a person can get wrong is checked here, once, with the field, the value and the
rule. Nothing is estimated.
"""

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from aether.knowledge import library
from aether.knowledge.library import Device
from aether.knowledge.models_library import published_model
from aether.models.accounting import Parameters, parameters
from aether.models.config_json import architecture_from_config
from aether.spec.architecture import Architecture
from aether.spec.brief import Brief, Load, ModelChoice, Target
from aether.spec.errors import InputError
from aether.spec.evidence import Kind
from aether.spec.fleet import Task
from aether.spec.units import humanize

SERVING_FORMATS = ("bf16", "fp8", "fp8-kv8", "int8", "int4", "mxfp4", "nvfp4")
TRAINING_FORMATS = ("bf16", "fp8", "mxfp8", "nvfp4")
FINE_TUNING_FORMATS = ("bf16",)
SEQUENCE_TOKENS, BATCH_TOKENS = 4096, 4_000_000.0
"""Where the brief says nothing (assumed: usual in reports of pretraining since 2023)."""
FINE_TUNING_BATCH_TOKENS = 500_000.0
"""The same for fine-tuning (assumed)."""

SERVING_METRICS = frozenset(
    {f"{kind}_{share}" for kind in ("ttft", "itl", "e2e") for share in ("p50", "p95", "p99")}
    | {"tpot_p50", "tpot_p99", "throughput", "device_memory", "cost_per_million_tokens"}
)
TRAINING_METRICS = frozenset({"build_time", "build_cost", "device_memory"})


@dataclass(frozen=True)
class Priced:
    """A device, how many there are, and what one costs by the hour, if that is known."""

    device: Device
    count: int
    price_usd_per_hour: float | None
    price_kind: Kind = "assumed"
    price_source: str = ""


@dataclass(frozen=True)
class Training:
    """What is trained: tokens in all, in a sequence, in a step."""

    tokens: float
    sequence_tokens: int
    global_batch: int
    """Sequences of a step."""
    method: Literal["full", "lora", "qlora"]


@dataclass(frozen=True)
class Problem:
    """What is searched."""

    brief: Brief
    model: str
    architecture: Architecture
    task: Task
    hardware: tuple[Priced, ...]
    formats: tuple[str, ...]
    load: Load
    targets: tuple[Target, ...]
    training: Training | None

    def target(self, metric: str) -> Target | None:
        """The bound on a metric, if there is one."""
        return next((t for t in self.targets if t.metric == metric), None)

    @cached_property
    def counts(self) -> Parameters:
        """The model's parameters by part."""
        return parameters(self.architecture)


def architecture_of(name: str) -> tuple[str, Architecture]:
    """The model of that name, or of the config.json at that path. Raises InputError."""
    path = Path(name)
    if not (name.endswith(".json") or path.is_file()):
        found = published_model(name)
        return found.name, found.architecture
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError.of("model.name", name, f"cannot be read as a config.json ({error})") from error
    if not isinstance(config, dict):
        raise InputError.of("model.name", name, "a config.json holds one table of fields")
    called = path.parent.name or path.stem
    return called, architecture_from_config(config, called)


def problem_of(brief: Brief) -> Problem:
    """The brief as a search needs it. It must have no open question. Raises InputError."""
    check_given(brief)
    chosen, hardware = brief.model, brief.hardware
    assert chosen is not None and chosen.name and chosen.task and hardware is not None
    name, architecture = architecture_of(chosen.name)
    overrides = dict(hardware.prices_usd_per_hour)
    if hardware.price_usd_per_hour:
        overrides.setdefault(hardware.name, hardware.price_usd_per_hour)
    return Problem(
        brief=brief,
        model=name,
        architecture=architecture,
        task=chosen.task,
        hardware=tuple(priced(each, hardware.count_of(each), overrides) for each in hardware.names),
        formats=chosen.formats or known_formats(chosen),
        load=brief.load,
        targets=brief.targets,
        training=None if chosen.task == "serve" else _training(brief),
    )


def known_formats(chosen: ModelChoice) -> tuple[str, ...]:
    """Number formats of the task."""
    if chosen.task == "serve":
        return SERVING_FORMATS
    return FINE_TUNING_FORMATS if chosen.task == "finetune" and chosen.method != "full" else TRAINING_FORMATS


def check_given(brief: Brief) -> None:
    """Everything that a brief with a model already says, whatever is still open. Raises InputError."""
    chosen, hardware = brief.model, brief.hardware
    assert chosen is not None
    for name in (chosen.name, *chosen.others) if chosen.name else ():
        architecture_of(name)
    if hardware is not None and hardware.name != "this-machine":
        for name in hardware.names:
            library.device(name)
        for name in (*hardware.prices_usd_per_hour, *hardware.counts):
            library.device(name)
    _check_order(brief)
    if chosen.task is None:
        return
    if chosen.method != "full" and chosen.task != "finetune":
        raise InputError.of("model.method", chosen.method, f"{chosen.task} has no adapters: use full, or finetune")
    if chosen.task == "serve" and chosen.tokens is not None:
        raise InputError.of("model.tokens", chosen.tokens, "serving trains on none: leave it out, or use finetune")
    known = known_formats(chosen)
    for asked in chosen.formats:
        if asked not in known:
            raise InputError.of("model.formats", asked, f"{chosen.task} has {', '.join(known)}")
    allowed = SERVING_METRICS if chosen.task == "serve" else TRAINING_METRICS
    for target in brief.targets:
        if target.metric not in allowed:
            raise InputError.of(
                "targets.metric", target.metric, f"{chosen.task} is judged by {', '.join(sorted(allowed))}"
            )
    if chosen.tokens is not None:
        _training(brief)


def priced(name: str, count: int, overrides: Mapping[str, float]) -> Priced:
    """The device with the person's price, else the list price on record, else none."""
    device = library.device(name)
    price = library.price_usd_per_hour(name, overrides)
    if price is None:
        return Priced(device, count, None)
    if any(library.device(key) == device for key in overrides):
        return Priced(device, count, price, "assumed", "the brief's own price")
    listed = library.prices()[device.name]
    return Priced(device, count, price, listed.kind, f"{listed.source}, as of {listed.as_of}")


def _training(brief: Brief) -> Training:
    chosen = brief.model
    assert chosen is not None and chosen.tokens
    sequence = chosen.sequence_tokens or SEQUENCE_TOKENS
    usual = BATCH_TOKENS if chosen.task == "pretrain" else FINE_TUNING_BATCH_TOKENS
    wanted = (chosen.batch_tokens or usual) / sequence
    if wanted < 1:
        raise InputError.of("model.batch_tokens", chosen.batch_tokens, f"one sequence has {sequence} tokens")
    batch = round(wanted)
    if chosen.batch_tokens is None:
        # A batch that nobody asked for exactly is rounded to the nearest power of two, which many layouts divide.
        batch = 1 << round(math.log2(wanted))
    return Training(chosen.tokens, sequence, batch, chosen.method if chosen.task == "finetune" else "full")


_SHARES = ("p50", "p95", "p99")


def _check_order(brief: Brief) -> None:
    """Targets that contradict each other: a median above its percentile, a first token after the last."""
    for kind in ("ttft", "itl", "e2e", "tpot"):
        bounds = [(share, t) for share in _SHARES if (t := brief.target(f"{kind}_{share}")) is not None]
        for (low, tighter), (high, looser) in itertools.pairwise(bounds):
            if tighter.value > looser.value:
                bound = humanize(looser.value, "s")
                mend = f"{kind}_{high} <= {bound} binds it already, as {low} is never above {high}: swap them"
                raise InputError.of(f"targets.{kind}_{low}", f"<= {humanize(tighter.value, 's')}", mend)
    for share in _SHARES:
        first, whole = brief.target(f"ttft_{share}"), brief.target(f"e2e_{share}")
        if first and whole and first.value > whole.value:
            bound = humanize(whole.value, "s")
            mend = f"e2e_{share} <= {bound} contains the first token: it must be the larger"
            raise InputError.of(f"targets.ttft_{share}", f"<= {humanize(first.value, 's')}", mend)
