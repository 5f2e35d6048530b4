"""From work to step time: each term over its efficiency, communication less what computing hides, bubble, optimiser.

The coefficients are few and physical (an efficiency, an overhead, a share that is not hidden), log-linear in generation,
precision, software family and year, and fitted once for all hardware (`knowledge/training_efficiency.toml`). Products take
`flops / (peak * efficiency) + bytes / bandwidth`, so that efficiency falls smoothly as they shrink. All arithmetic is numpy's
on floats or on arrays alike: the planner and the fit share it. Not modelled: stragglers, thermal throttling, input stalls.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from aether.knowledge.library import Device
from aether.planning.training.setup import TrainingSetup
from aether.spec.architecture import Experts, LatentAttention, Recurrence

Value = Any
"""A float, or an array with one entry for each setup."""

REFERENCE_YEAR = 2026.0
"""Years of expert-parallel software count from here (a choice of origin)."""
MATURING_YEARS = 1.0
"""Kernels for a new generation approach their final speed with this time constant (measured: of 0.5, 1 and 1.5 the one that
leaves the least error on the rows that are fitted)."""
TP_HIDDEN_SINCE = 2023.5
"""Since about then tensor-parallel collectives run under matrix products (Transformer Engine's userbuffers); before, after them."""
LAYER_GRAPHS_SINCE, STEP_GRAPHS_SINCE = 2025.6, 2026.4
"""Megatron-Bridge launches attention, scans and routers from CUDA graphs since about 25.09 on NVLink domains of more than eight
devices and in hybrids, and whole steps with block-scaled experts on those domains since 26.06. Cited: its repository,
scripts/performance/configs/{qwen,deepseek,gpt_oss,nemotronh}/*_workload_base_configs.py, fields `cuda_graph_impl` and
`cuda_graph_scope` (read 2026-11-25; the months are those of its docs/performance-summary)."""

_LAUNCHED = {"volta": 2017.8, "ampere": 2020.4, "ada": 2022.8, "hopper": 2022.8, "blackwell": 2025.0, "cdna": 2023.9}
"""When a generation became available (public announcements; to a few months)."""
_GENERATIONS = {
    "volta": ("V100",),
    "ampere": ("A100", "A800", "A10", "A30", "A40", "RTX-3", "RTX-A"),
    "ada": ("L4", "L40", "L20", "RTX-4", "RTX-6000-ADA"),
    "hopper": ("H100", "H200", "H800", "H20", "GH200"),
    "blackwell": ("B200", "B300", "GB200", "GB300", "RTX-5", "RTX-PRO"),
    "cdna": ("MI",),
    "tpu": ("TPU",),
}


_WATTS_PER_TFLOP = {
    "volta": 300 / 125,
    "ampere": 400 / 312,
    "ada": 350 / 362,
    "hopper": 700 / 989,
    "blackwell": 1200 / 2500,
    "cdna": 750 / 1307,
}
"""Power for each TFLOP/s in sixteen bits of a generation's device that runs were measured on (data sheets, `knowledge/hardware.toml`)."""
_POWER_RANGE = (-0.7, 0.2)
"""Logarithms of that ratio beyond which power is taken to change nothing more (a choice)."""


def power_margin(device: Device) -> float:
    """Logarithm of a device's power for each FLOP/s over that of its generation: matrix units under full load clock down to their
    power limit, so that a card of less power reaches less of its data sheet (an MI355X with 40 % more power than an MI350X has 7 to 10 %
    more on paper and "significantly" more sustained: humeconsulting.co, read 2026-11-27). 0 where the power is not known."""
    usual, rate = _WATTS_PER_TFLOP.get(generation(device)), device.flops_per_s.get("bfloat16", 0.0)
    rate = rate or device.flops_per_s.get("float16", 0.0)
    if not usual or not device.power_w or not rate:
        return 0.0
    low, high = _POWER_RANGE
    return min(high, max(low, math.log(device.power_w / rate * 1e12 / usual)))


def generation(device: Device) -> str:
    """The family of the device's matrix units."""
    return _generation(device.name)


@functools.cache
def _generation(called: str) -> str:
    name = called.upper().replace(" ", "-")
    matches = [(len(p), key) for key, prefixes in _GENERATIONS.items() for p in prefixes if name.startswith(p)]
    return max(matches)[1] if matches else "other"


def model_class(setup: TrainingSetup) -> str:
    """`dense` or `moe`; with `latent` attention, or `hybrid` with recurrences, where kernels differ."""
    groups = setup.architecture.groups
    kinds = "moe" if any(isinstance(group.mlp, Experts) for group in groups) else "dense"
    if any(isinstance(group.mixer, Recurrence) for group in groups):
        return f"{kinds} hybrid"
    return f"{kinds} latent" if any(isinstance(group.mixer, LatentAttention) for group in groups) else kinds


def residual_groups(setup: TrainingSetup, device: Device) -> tuple[str, ...]:
    """From coarse to fine: groups whose measured runs differ from the model by more than chance."""
    coarse = f"{setup.software.framework}|{generation(device)}|{model_class(setup)}"
    return coarse, f"{coarse}|{setup.precision}", f"{setup.software.framework}|{setup.architecture.name.lower()}"


def graphs(setup: TrainingSetup, device: Device) -> Literal["none", "layers", "step"]:
    """What a training program of the setup's framework and time launches from CUDA graphs (the rule of `LAYER_GRAPHS_SINCE`)."""
    soft, hybrid = setup.software, "hybrid" in model_class(setup)
    wide = (device.devices_per_node or 8) > 8
    if soft.framework != "megatron" or soft.year < LAYER_GRAPHS_SINCE or not (wide or hybrid):
        return "none"
    whole = soft.year >= STEP_GRAPHS_SINCE and wide and not hybrid and setup.precision in ("mxfp8", "nvfp4")
    return "step" if whole else "layers"


def coefficient_terms(setup: TrainingSetup, device: Device) -> dict[str, dict[str, float]]:
    """Coefficient -> the fitted parameters whose weighted sum is its logarithm."""
    gen, soft = generation(device), setup.software
    family, year = soft.framework, soft.year - REFERENCE_YEAR
    age = max(0.0, soft.year - _LAUNCHED.get(gen, 2020.0))
    low = setup.precision in ("fp8", "mxfp8", "nvfp4")
    compute = {"linear": 1.0, f"linear.{gen}": 1.0, "power": power_margin(device)}
    precise = {f"linear.{setup.precision}": 1.0, f"linear.{gen}.{setup.precision}": 1.0} if low else {}
    era = {"immature": math.exp(-age / MATURING_YEARS)}
    kernel = "vendor" if family in ("megatron", "maxtext") and soft.year > 2024 else "flash"
    moe_era = {"era.moe": year}
    graphed = graphs(setup, device)
    whole = {"graphs.step": float(graphed == "step")}
    return {
        "linear": compute | precise | era,
        "linear16": compute | era,
        "expert": compute | precise | era | {"expert": 1.0},
        "attention": {"attention": 1.0, f"attention.{gen}": 1.0, f"attention.{gen}.{kernel}": 1.0} | era,
        "attention_small": {"attention_small": 1.0},
        "traffic": {"traffic": 1.0, f"traffic.{gen}": 1.0},
        "score": {"score": 1.0},
        "element": {"element": 1.0, f"element.{'compiled' if soft.compiled else family}": 1.0},
        "scan": {"scan": 1.0},
        "cast": {"cast": 1.0, f"cast.{setup.precision}": 1.0},
        "dispatch": {"dispatch": 1.0} | moe_era,
        "launch": {"launch": 1.0, f"launch.{'compiled' if soft.compiled else family}": 1.0},
        "expert_launch": {"expert_launch": 1.0, "graphs.layers": float(graphed == "layers")} | whole | moe_era,
        "expert_call": {"expert_call": 1.0} | whole,
        "chunk": {"chunk": 1.0},
        "tp": {"tp": 1.0, "tp.exposed": float(soft.year < TP_HIDDEN_SINCE)},
        "cp": {"cp": 1.0},
        "ep": {"ep": 1.0} | moe_era,
        "ep_cross": {"ep_cross": 1.0} | moe_era,
        "ep_hidden": {"ep_hidden": 1.0},
        "pp": {"pp": 1.0},
        "gather": {"gather": 1.0, f"gather.{family}": 1.0},
        "gather_hidden": {"gather_hidden": 1.0},
        "dp": {"dp": 1.0},
        "dp_hidden": {"dp_hidden": 1.0},
        "uneven": {"uneven": 1.0},
        "fixed": {"fixed": 1.0},
    }


def effective(terms: Mapping[str, Mapping[str, float]], parameters: Mapping[str, float]) -> dict[str, float]:
    """The coefficients of one setup. A parameter that was never fitted (a generation never seen) is zero: no correction."""
    return {
        name: float(np.exp(sum(weight * parameters.get(key, 0.0) for key, weight in weights.items())))
        for name, weights in terms.items()
    }


def _positive_part(x: Value, scale: Value) -> Value:
    """max(0, x), smooth within `scale`."""
    return 0.5 * (x + np.sqrt(x * x + scale * scale))


def step_terms(work: Mapping[str, Value], by: Mapping[str, Value]) -> dict[str, Value]:
    """Seconds of one step by part; their sum is the step time. `work` holds the fields of `Work`, `by` the coefficients."""
    attention = work["attention_s"] + by["attention_small"] * work["attention_small_s"]
    products_s = work["linear_s"] / by["linear"] + work["linear16_s"] / by["linear16"]
    experts_s = work["expert_s"] / by["expert"]
    attention_s = attention / by["attention"] + by["score"] * work["score_s"] / by["traffic"]
    element_s = by["element"] * work["element_s"] + by["scan"] * work["scan_s"] + by["cast"] * work["cast_s"]
    memory_s = (work["linear_traffic_s"] + work["expert_traffic_s"] + element_s) / by["traffic"]
    calls_s = by["expert_launch"] * work["expert_layers"] + by["expert_call"] * work["expert_calls"]
    launch_s = 1e-6 * (by["launch"] * work["layers"] + calls_s)
    compute_s = products_s + experts_s + attention_s + memory_s + launch_s
    dispatch_s = by["dispatch"] * work["dispatch_s"] / by["traffic"]
    gather_s = by["gather"] * work["gather_s"]
    gather_s = _positive_part(gather_s - by["gather_hidden"] * compute_s, 0.1 * gather_s)
    tensor_s = by["tp"] * work["tp_s"]
    context_s = by["cp"] * work["cp_s"]
    exchange_s = by["ep"] * work["ep_s"] + by["ep_cross"] * work["ep_cross_s"]
    hidden_s = by["ep_hidden"] * work["overlapped"] * compute_s
    expert_parallel_s = _positive_part(exchange_s - hidden_s, 0.1 * exchange_s) + dispatch_s
    stage_s = compute_s + tensor_s + context_s + expert_parallel_s + gather_s
    rounds = work["micro_batches"]
    update_s = work["optimiser_s"] / by["traffic"]
    replicas_s = by["dp"] * work["dp_s"]
    return {
        "matrix products": rounds * products_s,
        "experts": rounds * experts_s,
        "attention": rounds * attention_s,
        "memory traffic": rounds * memory_s,
        "kernel launches": rounds * launch_s,
        "tensor parallelism": rounds * tensor_s,
        "context parallelism": rounds * context_s,
        "expert parallelism": rounds * expert_parallel_s,
        "sharded weights": rounds * gather_s,
        "pipeline transfers": rounds * (by["pp"] * work["pp_s"] + 1e-6 * by["chunk"] * work["chunks"]),
        "pipeline bubble": (work["bubble"] + by["uneven"] * work["head_share"] * rounds) * stage_s,
        "data parallelism": _positive_part(replicas_s - by["dp_hidden"] * compute_s, 0.1 * replicas_s),
        "optimiser": update_s + work["offload_s"],
        "fixed": 1e-3 * by["fixed"] + 0.0 * rounds,
    }
