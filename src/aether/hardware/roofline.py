"""Time from work and rates: the larger of arithmetic and traffic, and which of the two binds.

Follows the roofline model (Williams, Waterman and Patterson, CACM 52(4), 2009) with a fixed overhead added, because at
the sizes that a CPU trains, launching kernels is a term of its own. It does not model caches or overlap between steps.
"""

from typing import Literal

from pydantic import Field

from aether.hardware.machine import Machine, Need
from aether.spec.base import Noun

Resource = Literal["arithmetic", "bandwidth", "overhead"]


class Work(Noun):
    """What a piece of computing does: FLOPs (two per multiply-add), bytes that must move, and fixed overhead."""

    flops: float = Field(default=0.0, ge=0)
    moved_bytes: float = Field(default=0.0, ge=0)
    overhead_s: float = Field(default=0.0, ge=0)


class Bound(Noun):
    """The least time that the work can take here, term by term."""

    time_s: float
    arithmetic_s: float
    bandwidth_s: float
    overhead_s: float
    binding: Resource
    dtype: str


def least_time(work: Work, machine: Machine, need: Need = "train", dtype: str | None = None) -> Bound:
    """max(flops / peak, bytes / bandwidth) + overhead, in seconds. `dtype` defaults to the fastest for the need."""
    dtype = dtype or machine.fastest_dtype(need)
    arithmetic_s = work.flops / machine.matmul_flops_per_s[dtype]
    bandwidth_s = work.moved_bytes / machine.memory_bandwidth_bytes_per_s
    terms: dict[Resource, float] = {
        "arithmetic": arithmetic_s,
        "bandwidth": bandwidth_s,
        "overhead": work.overhead_s,
    }
    return Bound(
        time_s=max(arithmetic_s, bandwidth_s) + work.overhead_s,
        arithmetic_s=arithmetic_s,
        bandwidth_s=bandwidth_s,
        overhead_s=work.overhead_s,
        binding=max(terms, key=lambda name: terms[name]),
        dtype=dtype,
    )


def ridge_flops_per_byte(machine: Machine, dtype: str) -> float:
    """The intensity (FLOPs per byte) at which arithmetic starts to bind."""
    return machine.matmul_flops_per_s[dtype] / machine.memory_bandwidth_bytes_per_s
