"""Memory rows: peak memory of training, fine-tuning and plain inference. Predicted from the planner's ledger, in the row's unit."""

import math
import re
from collections.abc import Callable

from aether.knowledge.library import Device
from aether.models.accounting import cache_bytes, parameters
from aether.planning.training.estimate import MEMORY_HALFWIDTH
from aether.planning.training.memory import Memory, layer_activation_bytes, ledger, training_memory
from aether.planning.training.setup import TrainingSetup
from benchmarks.planner_accuracy.prediction import Prediction
from benchmarks.planner_accuracy.setups import Row, architecture, device_of, setup_of
from benchmarks.planner_accuracy.shapes import whole

PEAKS = (
    "peak_vram",
    "max_mem",
    "max_gpu_ram",
    "peak_memory",
    "peak_gpu_memory",
    "peak_memory_gb",
    "memory",
    "peak_mem",
)
PARTS = ("params_grads_optimizer_mem", "activation_mem", "activation_mem_pct_of_tp_baseline")
UNITS = {"GB": 1e9, "GiB": 2.0**30, "MB": 1e6, "MiB": 2.0**20, "bytes": 1.0}
HALFWIDTH = {"training": MEMORY_HALFWIDTH, "inference": 0.12}
"""80 % intervals, relative: somewhat more than the 80 % quantile of absolute errors on the published rows (measured; the record
beside this package), because some byte counts were chosen on those rows."""


def _peak(row: Row) -> bool:
    metric = str(row.get("metric") or "").lower()
    return metric in PEAKS or bool(
        re.search(
            r"(peak|max|reserved|allocated).*(mem|ram)|mem.*(peak|max|gib|gb)|(peak|max)_?(reserved|allocated|active)",
            metric,
        )
    )


def family(row: Row) -> str | None:
    """The error-table family; out-of-memory rows have no number."""
    value, metric = row.get("value"), str(row.get("metric") or "")
    number = isinstance(value, int | float) and math.isfinite(value) and value > 0
    if not number or str(row.get("unit")) not in (*UNITS, "%"):
        return None
    if metric in PARTS:
        return "memory of parts (analytic rows)"
    if not _peak(row):
        return None
    return "memory, inference" if "inference" in str(row.get("task") or "") else "memory, training"


def inference_peak_bytes(row: Row) -> float | None:
    """Allocated bytes of one generation: weights, cache of the whole sequence, logits of the prompt, and a reserve."""
    arch = architecture(row)
    if arch is None:
        return None
    words = str(row.get("precision") or "").lower()
    counts, four_bit = parameters(arch), re.search(r"int4|nf4|4-?bit|awq|gptq", words)
    # Embedding and head stay in two bytes; four-bit weights carry a scale (and a zero) for each group.
    bits = 16.0 if not four_bit else (4.127 if "dq" in words else (4.5 if "nf4" in words else 4.25))
    kept = counts.embedding + counts.head + counts.norms
    weights = (counts.total - kept) * bits / 8 + kept * 2.0
    batch, isl = whole(row.get("batch_size")) or 1, whole(row.get("isl")) or 50
    tokens = isl + (whole(row.get("osl")) or 50)
    if "awq" in words:
        tokens = max(512, tokens // 2)  # AutoAWQ reserves a cache of the longer of prompt and 512
    cache = batch * cache_bytes(arch, min(tokens, arch.context_tokens or tokens), 2.0)
    # Static caches and eager prefill: attention scores of one layer and logits of the prompt in float32 as well.
    prompt = batch * isl
    working = prompt * (arch.vocab_size * 6.0 + 12.0 * arch.hidden_size * 2)
    if four_bit and "nf4" in words:
        working += (
            2.4 * arch.vocab_size * arch.hidden_size
        )  # quantised on the device, the largest matrix passes in two bytes
    return (weights + cache + working) / (whole(row.get("tp")) or 1)


def _allocated(row: Row, found: Memory) -> float:
    """torch's peak of allocated tensors where the source reads that (PEFT's script: max_memory_allocated); what the device must have elsewhere."""
    if re.search(
        r"litgpt|torchtune|huggingface/peft|allocated",
        f"{row.get('framework')} {row.get('source')} {row.get('metric')}".lower(),
    ):
        return found.allocated_bytes
    return found.allocated_bytes + found.fragmentation_bytes


def _part(row: Row, setup: TrainingSetup) -> float | None:
    words = str(row.get("recompute") or "none").lower()
    recompute = "full" if "full" in words else ("selective" if "sel" in words else "none")
    layout = setup.layout.model_copy(update={"sequence_parallel": "sp" in words})
    found = ledger(setup.model_copy(update={"layout": layout}), recompute)
    if row["metric"] == "params_grads_optimizer_mem":
        return found.weights_bytes + found.gradients_bytes + found.optimiser_bytes
    if row["metric"] == "activation_mem":
        return found.activations_bytes
    base = setup.model_copy(update={"layout": setup.layout.model_copy(update={"sequence_parallel": False})})
    group = setup.architecture.groups[0]
    kept = layer_activation_bytes(setup.model_copy(update={"layout": layout}), group, recompute)
    return 100 * kept / layer_activation_bytes(base, group, "none")


def predicted_bytes(row: Row) -> float | None:
    """The row's quantity in bytes (in percent for a share)."""
    kind = family(row)
    if kind is None:
        return None
    if kind == "memory, inference":
        return inference_peak_bytes(row)
    setup, device = setup_of(row), device_of(row)
    if setup is None or device is None:
        return None
    if "parts" in kind:
        return _part(row, setup)
    return _allocated(row, _ledger(row, setup, device))


def _ledger(row: Row, setup: TrainingSetup, device: Device) -> Memory:
    # What a row does not say about recomputation is what its program does by default.
    if setup.recompute is None and setup.software.framework == "eager":
        # PEFT's README: ZeRO-3 with offload_param_device and offload_optimizer_device cpu.
        return ledger(setup, "none", weights_on_host="cpu offload" in str(row.get("task") or "").lower())
    return training_memory(setup, device)


def predict(row: Row) -> Prediction | None:
    """The prediction in the row's unit with its 80 % interval."""
    value = predicted_bytes(row)
    if value is None:
        return None
    value /= UNITS.get(str(row["unit"]), 1.0)
    half = HALFWIDTH["inference" if family(row) == "memory, inference" else "training"]
    return Prediction(value, value * (1 - half), value * (1 + half))


def contradicts_itself(row: Row) -> bool:
    """Whether a training row holds less than the weights, gradients and states that its own configuration must store."""
    if family(row) != "memory, training":
        return False
    setup, device = setup_of(row), device_of(row)
    if setup is None or device is None:
        return False
    found = _ledger(row, setup, device)
    stored = found.weights_bytes + found.gradients_bytes + found.optimiser_bytes
    return stored > row["value"] * UNITS[str(row["unit"])]


def _weights_only(row: Row) -> float | None:
    """The weights in two bytes and nothing else, as `accelerate estimate-memory` counts inference."""
    arch = architecture(row)
    if arch is None or str(row["unit"]) not in UNITS:
        return None
    return 2.0 * parameters(arch).total / UNITS[str(row["unit"])]


def _weights_by_sixteen(row: Row) -> float | None:
    """Sixteen bytes a parameter (ZeRO), or the two of inference and LoRA plus a fifth, the usual rule of thumb."""
    value = _weights_only(row)
    if value is None:
        return None
    return 8 * value if re.search(r"full|pretrain", str(row.get("task") or "").lower()) else 1.2 * value


def baselines(rows: list[Row]) -> dict[str, Callable[[Row], float | None]]:
    """Rules of thumb."""
    return {"weights in two bytes": _weights_only, "16 B a parameter, or weights + 20 %": _weights_by_sixteen}
