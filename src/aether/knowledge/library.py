"""Reads the data files beside it. Every row has a kind, a source and a date; a row without them does not load.

Nothing here is computed, and nothing is read from outside the package.
"""

import functools
import tomllib
from importlib.resources import files
from typing import Any

from pydantic import Field

from aether.spec.base import Noun
from aether.spec.errors import InputError
from aether.spec.evidence import Kind


class Sourced(Noun):
    """A row of what is known."""

    name: str = Field(min_length=1)
    kind: Kind
    source: str = Field(min_length=10)
    as_of: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")


class Law(Sourced):
    """A published fit of loss (nats per token) = E + A / N^alpha + B / D^beta."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    standard_error: dict[str, float] = {}


class Constant(Sourced):
    """One published or assumed number."""

    value: float
    unit: str


class Device(Sourced):
    """An accelerator by its data sheet: dense rates (FLOP/s, or operations for int8), memory, bandwidth."""

    vendor: str
    flops_per_s: dict[str, float]
    memory_bytes: int
    memory_bandwidth_bytes_per_s: float


@functools.cache
def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files("aether.knowledge").joinpath(name).read_text(encoding="utf-8"))


@functools.cache
def laws() -> dict[str, Law]:
    """Name -> published scaling law."""
    return {row["name"]: Law.model_validate(row) for row in _read("scaling_laws.toml")["law"]}


@functools.cache
def constants() -> dict[str, Constant]:
    """Name -> constant."""
    return {row["name"]: Constant.model_validate(row) for row in _read("scaling_laws.toml")["constant"]}


@functools.cache
def devices() -> dict[str, Device]:
    """Name -> device."""
    return {row["name"]: Device.model_validate(row) for row in _read("hardware.toml")["device"]}


def device(name: str) -> Device:
    """The device of that name. Raises InputError listing those that are known."""
    found = devices().get(name)
    if found is None:
        raise InputError.of("hardware.name", name, f"use this-machine, or one of {', '.join(devices())}")
    return found
