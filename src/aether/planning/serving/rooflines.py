"""Seconds of one operator by a smooth roofline (`efficiency`): a matrix product, routed experts, an all-reduce.

Plain formulas over numbers or arrays, shared by the step model and by the fits of its coefficients. Experts are activated like balls
in bins; all-reduces pay latency and bytes. What operators a step has stands in `operators`, their sum in `step`.
"""

from typing import Any, NamedTuple

from aether.knowledge.library import Device
from aether.planning.serving.efficiency import Reduction, Roofline
from aether.planning.serving.operators import ExpertPart
from aether.planning.serving.setup import MULTIPLIED_IN, Format

HIDDEN_BYTES = 2.0
"""Activations travel in 16 bits."""


class ProductFit(NamedTuple):
    """What a product takes of a `Roofline`, as a key."""

    compute: float
    memory: float
    rows: float
    columns: float
    order: float


def peak_flops_per_s(device: Device, stored_as: Format) -> float:
    """The data sheet's rate for a format; what the device cannot multiply, it does in 16 bits.

    Devices that multiply four bits take MXFP4 weights with eight-bit activations.
    """
    rates = device.flops_per_s
    if stored_as == "mxfp4" and "float4" in rates:
        return rates["float8"]
    sixteen = rates.get("bfloat16") or rates.get("float16") or max(rates.values())
    return rates.get(MULTIPLIED_IN[stored_as], sixteen)


def smooth_max(compute_s: Any, memory_s: Any, order: float) -> Any:
    """(a^p + b^p)^(1/p)."""
    return (compute_s**order + memory_s**order) ** (1.0 / order)


class Rates(NamedTuple):
    """What the data sheet promises for one format."""

    flops_per_s: Any
    bytes_per_s: Any


def product_s(
    rows: Any, outputs: Any, inputs: Any, stored_bytes: float, rates: Rates, fit: Roofline | ProductFit
) -> Any:
    """Seconds of a matrix product without its launch; numbers or arrays."""
    compute = 2 * (rows + fit.rows) * (outputs + fit.columns) * inputs / (rates.flops_per_s * fit.compute)
    moved = outputs * inputs * stored_bytes + HIDDEN_BYTES * rows * (inputs + outputs)
    return smooth_max(compute, moved / (rates.bytes_per_s * fit.memory), fit.order)


def grouped_s(part: ExpertPart, tokens: Any, rates: Rates, fit: Roofline, skew: float) -> Any:
    """Seconds of one layer's routed experts for `tokens` of the whole model, without their launch."""
    reached = activated_experts(part, tokens, skew)
    rows = tokens * part.active * part.local / part.experts
    values = part.matrices * part.hidden
    compute = 2 * (rows + fit.rows * reached) * values * (part.inner + fit.columns) / (rates.flops_per_s * fit.compute)
    moved = reached * part.expert_bytes + HIDDEN_BYTES * rows * (2 * part.hidden + part.matrices * part.inner)
    return smooth_max(compute, moved / (rates.bytes_per_s * fit.memory), fit.order)


def activated_experts(part: ExpertPart, tokens: Any, skew: float) -> Any:
    """Experts of this device that `tokens` of the whole model reach: balls in bins, with fewer balls under skewed routing."""
    missed = (1.0 - part.active / part.experts) ** (tokens * skew)
    return part.local * (1.0 - missed)


def reduce_s(message_bytes: Any, ranks: Any, link_bytes_per_s: Any, fit: Reduction) -> Any:
    """Seconds of one all-reduce; numbers or arrays."""
    moved = 2 * (ranks - 1) / ranks * message_bytes / (link_bytes_per_s * fit.share)
    return smooth_max(fit.latency_s + fit.latency_rank_s * (ranks - 1), moved, fit.order)
