"""Reads the data files beside it. Every row has a kind, a source and a date; a row without them does not load.

Nothing here is computed, and nothing is read from outside the package.
"""

import difflib
import functools
import math
import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from aether.knowledge.sourced import Sourced
from aether.knowledge.tables import table
from aether.spec.errors import InputError

Rate = Literal["float32", "tfloat32", "bfloat16", "float16", "float8", "float4", "int8"]
"""What a device multiplies. float32 is without tensor cores."""


class Law(Sourced):
    """A published fit of loss (nats per token) = E + A / N^alpha + B / D^beta."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    standard_error: dict[str, float] = {}
    covariance: tuple[tuple[float, ...], ...] | None = None
    """Of (ln A, ln B, ln E, alpha, beta), where somebody has resampled the points; None: no interval can be given."""
    covariance_source: str | None = None
    parameters_range: tuple[float, float] | None = None
    """Smallest and largest model of the points it was fitted to. Beyond is extrapolation."""
    tokens_range: tuple[float, float] | None = None
    counts: str = "all parameters"
    """What N counts. A law that counts otherwise is not comparable at small sizes (arXiv 2406.19146)."""


class MixtureLaw(Sourced):
    """A published fit of the loss of mixtures of experts, nats per token, with N active parameters, D tokens, E experts:

    a e^delta N^(alpha + gamma ln e) + b e^omega D^(beta + zeta ln e) + c, where
    1 / e = 1 / (E - 1 + 1 / (1 / experts_start - 1 / experts_most)) + 1 / experts_most.
    """

    a: float
    alpha: float
    delta: float
    gamma: float
    b: float
    beta: float
    omega: float
    zeta: float
    c: float
    experts_start: float = Field(gt=1)
    experts_most: float = Field(gt=1)
    rms_error: float = Field(gt=0)
    """Root mean square error of the fit on its own runs, nats per token."""
    parameters_range: tuple[float, float]
    """Active parameters of the runs. Beyond any of the three ranges is extrapolation."""
    tokens_range: tuple[float, float]
    experts_range: tuple[int, int]
    experts_are: str
    """Which mixtures it was fitted to."""


class PowerLaw(Sourced):
    """A published y = coefficient x^exponent for the optimal `quantity` of a compute budget."""

    quantity: Literal["parameters", "tokens"]
    coefficient: float
    exponent: float
    x: str
    y: str
    x_range: tuple[float, float] | None = None


class Constant(Sourced):
    """One published or assumed number."""

    value: float
    unit: str


class Device(Sourced):
    """An accelerator (or a processor) by its data sheet: dense rates, memory, links, power. What is unknown is None."""

    aliases: tuple[str, ...] = ()
    """Other spellings; compared, as the name is, without case and punctuation."""
    vendor: str = Field(min_length=1)
    flops_per_s: dict[Rate, float]
    """Dense FLOP/s of matrix products (operations per second for int8), by the type that is multiplied."""
    memory_bytes: int = Field(gt=0)
    memory_bandwidth_bytes_per_s: float = Field(gt=0)
    intra_node_bytes_per_s: float | None = Field(default=None, gt=0)
    """One direction, per device, all links together, to the other devices of its node (or NVLink domain, or torus)."""
    inter_node_bytes_per_s: float | None = Field(default=None, gt=0)
    """One direction, per device, to devices beyond `devices_per_node`."""
    devices_per_node: int | None = Field(default=None, ge=1)
    host_link_bytes_per_s: float | None = Field(default=None, gt=0)
    """One direction, between the device and its host's memory."""
    power_w: float | None = Field(default=None, gt=0)
    unread: tuple[str, ...] = ()
    """Fields of a cited row that its source was not read for (`power_w`, `flops_per_s.int8`): these stay assumed."""

    @model_validator(mode="after")
    def _unread_are_given(self) -> "Device":
        if strangers := set(self.unread) - self.facts():
            raise ValueError(f"{self.name}: unread names {', '.join(sorted(strangers))}, which the row does not give")
        return self

    def facts(self) -> frozenset[str]:
        """The names of the numbers that this row gives, rates as `flops_per_s.bfloat16`."""
        words = {"name", "kind", "source", "as_of", "aliases", "vendor", "flops_per_s", "unread"}
        given = {name for name in type(self).model_fields if name not in words and getattr(self, name) is not None}
        return frozenset(given | {f"flops_per_s.{rate}" for rate in self.flops_per_s})


class Compressed(Sourced):
    """A published quality before and after compression: perplexity (less is better) or accuracy (more is)."""

    method: str
    bits: float = Field(gt=0)
    model: str
    family: str
    parameters: float = Field(gt=0)
    metric: Literal["perplexity", "accuracy"]
    baseline: float = Field(gt=0)
    compressed: float = Field(gt=0)
    evaluation: str


class Price(Sourced):
    """What an hour of one device costs where `source` says; `name` is the device's."""

    usd_per_hour: float = Field(gt=0)


_read = functools.cache(table)


@functools.cache
def laws() -> dict[str, Law]:
    """Name -> published scaling law."""
    return {row["name"]: Law.model_validate(row) for row in _read("scaling_laws.toml")["law"]}


@functools.cache
def power_laws() -> dict[str, PowerLaw]:
    """Name -> published power law."""
    return {row["name"]: PowerLaw.model_validate(row) for row in _read("scaling_laws.toml")["power_law"]}


@functools.cache
def mixture_laws() -> dict[str, MixtureLaw]:
    """Name -> published law of mixtures of experts."""
    return {row["name"]: MixtureLaw.model_validate(row) for row in _read("scaling_laws.toml")["mixture_law"]}


@functools.cache
def constants() -> dict[str, Constant]:
    """Name -> constant."""
    return {row["name"]: Constant.model_validate(row) for row in _read("scaling_laws.toml")["constant"]}


@functools.cache
def compressed() -> tuple[Compressed, ...]:
    """What is published about the quality of compressed models."""
    return tuple(Compressed.model_validate(row) for row in _read("compression_quality.toml")["compressed"])


@functools.cache
def devices() -> dict[str, Device]:
    """Name -> device."""
    return {row["name"]: Device.model_validate(row) for row in _read("hardware.toml")["device"]}


def device(name: str) -> Device:
    """The device of that name or alias, in any case, order and punctuation, with or without its maker's name.

    Raises InputError: with the devices that a partial name may mean ("MI300", "RTX 6000"), else with all that are known.
    """
    words = _words(name)
    if found := _by_words().get(words):
        return found
    if words:
        may_be = [
            known.name
            for known in devices().values()
            if any(
                all(any(word.startswith(part) for word in spelt) for part in words)
                for spelt in map(_words, (known.name, *known.aliases))
            )
        ]
        if may_be:
            raise InputError.of("hardware.name", name, f"say which: {', '.join(may_be)}")
    spelt = {spelling.lower(): known.name for known in devices().values() for spelling in (known.name, *known.aliases)}
    near = difflib.get_close_matches(name.strip().lower(), spelt, n=5, cutoff=0.7)
    if near:
        likely = dict.fromkeys(spelt[spelling] for spelling in near)
        raise InputError.of("hardware.name", name, f"did you mean {', '.join(likely)}? `this-machine` is the one here")
    raise InputError.of("hardware.name", name, f"use this-machine, or one of {', '.join(devices())}")


def price_usd_per_hour(device_name: str, overrides: Mapping[str, float]) -> float | None:
    """The price of one device for one hour: the person's own, else the list price on record, else None (unknown).

    List prices differ several times between providers for the same device (see prices.toml): a person's own price is
    the one to plan with.
    """
    wanted = device(device_name)
    for name, price in overrides.items():
        if not (math.isfinite(price) and price > 0):
            raise InputError.of(f"prices.{name}", price, "give US dollars per device and hour, more than 0")
        if device(name) == wanted:
            return price
    listed = prices().get(wanted.name)
    return listed.usd_per_hour if listed else None


@functools.cache
def prices() -> dict[str, Price]:
    """Device name -> a list price on record."""
    return {row["name"]: Price.model_validate(row) for row in _read("prices.toml")["price"]}


@functools.cache
def _by_words() -> dict[frozenset[str], Device]:
    spellings: dict[frozenset[str], Device] = {}
    for known in devices().values():
        for name in (known.name, *known.aliases):
            assert spellings.setdefault(_words(name), known) is known, f"two devices are called {name}"
    return spellings


_SAID_BESIDES = frozenset(
    (
        "nvidia",
        "amd",
        "intel",
        "google",
        "aws",
        "amazon",
        "geforce",
        "tesla",
        "instinct",
        "radeon",
        "cloud",
        "oam",
        "hbm2",
        "hbm2e",
        "hbm3",
        "hbm3e",
    )
)
"""Words that drivers and people put around a name and that do not tell one device of `hardware.toml` from another."""


def _words(name: str) -> frozenset[str]:
    """The words of a name: in small letters, `RTX4090` and `H100SXM` apart, the generation of an SXM socket left out."""
    apart = re.sub(r"(?<=[a-z])(?=\d{4})|(?<=\d)(?=sxm|pcie|nvl\b|ti\b)|(?<=tpu)(?=v?\d)", " ", name.lower())
    words = {re.sub(r"^sxm\d$", "sxm", word) for word in re.findall(r"[a-z0-9]+", apart)}
    return frozenset(words - _SAID_BESIDES)
