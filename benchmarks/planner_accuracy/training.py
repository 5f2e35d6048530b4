"""Training rows: throughput, MFU, iteration time, GPU-hours. Predicted by the planner, in the row's own metric and convention."""

import gzip
import json
import math
import os
import re
import statistics
from collections.abc import Callable
from pathlib import Path

from aether.knowledge.library import Device
from aether.models.accounting import flops_per_token, training_flops_per_token
from aether.planning.training.calibration import calibration
from aether.planning.training.estimate import step_parts
from aether.planning.training.setup import TrainingSetup
from aether.planning.training.work import peak_flops_per_s
from aether.spec.errors import InputError
from benchmarks.planner_accuracy.prediction import Prediction
from benchmarks.planner_accuracy.setups import Row, device_of, precision_of, setup_of
from benchmarks.planner_accuracy.sources import measured_by

METRICS = {
    "tokens_per_sec": "throughput",
    "tokens_per_sec_per_gpu": "throughput",
    "tflops_per_gpu": "throughput",
    "model_tflops_per_gpu": "throughput",
    "achieved_tflops_per_gpu": "throughput",
    "mfu_pct": "throughput",
    "mfu": "throughput",
    "iteration_time_s": "iteration time",
    "iteration_time_ms": "iteration time",
    "gpu_hours": "GPU-hours",
    "training_time_s": "run time",
}
"""Metrics by the name that `metric_of` gives them."""
_SPELLINGS = (
    ("%", "_pct"),
    ("/", "_per_"),
    ("[^a-z0-9]+", "_"),
    ("^_|_$", ""),
    ("^(tps|wps|words_per_s(ec(ond)?)?)(?=_|$)", "tokens_per_sec"),
    ("tok(en)?s?_per_s(ec(ond)?)?(?=_|$)", "tokens_per_sec"),
    ("tflops?(_per_s(ec)?)?(?=_|$)", "tflops"),
    ("_(per_)?(gpu|device|chip|accelerator)$", "_per_gpu"),
    ("^tflops$", "tflops_per_gpu"),
    ("^mfu_percent$", "mfu_pct"),
    ("^(step|iter|iteration)_time$", "iteration_time_s"),
    ("^(step|iter)_time_", "iteration_time_"),
)
"""Patterns of what tables write and what stands here for it, one after another on the name in small letters."""


def metric_of(row: Row) -> str:
    """The row's metric in this module's spelling; what is none of training speed stays what it is."""
    name = str(row.get("metric") or "").strip().lower()
    unit = str(row.get("unit") or "").lower()
    if name == "throughput" and re.search(r"tok(en)?s?\b", unit):
        name = f"tokens_per_sec{'_per_gpu' if re.search('gpu|device|chip', unit) else ''}"
    for pattern, plain in _SPELLINGS:
        name = re.sub(pattern, plain, name)
    if name == "mfu" and unit in ("%", "percent"):
        return "mfu_pct"
    # torchtitan's log calls the rate of one device "tps" and, before 2025, "wps".
    titan = "torchtitan" in str(row.get("framework")).lower() and re.match("(tps|wps)$", str(row.get("metric")).lower())
    each = titan or re.search(r"(/|per )(gpu|device|chip)", unit)
    return "tokens_per_sec_per_gpu" if name == "tokens_per_sec" and each else name


PRODUCTIVE_SHARE = {"few": 0.98, "many": 0.9}
"""Of the time of a run on up to 64 devices, and on more: the rest goes to failures, restarts, evaluation and checkpoints. Assumed;
Llama 3 405B reports above 0.9 on 16384 devices (arXiv 2407.21783, section 3.3.4; from memory)."""


def usable(row: Row) -> bool:
    """A number for a workload that anybody could reproduce: not a change of algorithm, not a state."""
    value = row.get("value")
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        return False
    metric = metric_of(row)
    if metric not in METRICS:
        return False
    if "NOT a throughput-reproducible" in str(row.get("note") or ""):
        return False
    if metric == "gpu_hours" and not row.get("tokens"):
        return False
    if metric == "training_time_s" and not row.get("steps"):
        return False
    served = any(row.get(field) for field in ("isl", "osl", "concurrency", "arrival"))
    return not served and not re.search(r"inference|serving", str(row.get("task") or ""))


def family(row: Row) -> str | None:
    """The error-table family."""
    if not usable(row):
        return None
    kind = METRICS[metric_of(row)]
    if re.search(r"lora|sft|fine", str(row.get("task") or "").lower()):
        return f"fine-tuning {kind}"
    stated = row.get("model")
    model = stated if isinstance(stated, dict) else {"name": stated}
    label = f"{model.get('name')} {model.get('label')}".lower()
    moe = model.get("experts") or re.search(r"moe|mixtral|a\d+b|deepseek-v|kimi|gpt.oss", label)
    # "15T+" tokens: the true number, and with it the hours, may be any larger one, so such rows are told apart.
    least = ", tokens a lower bound" if kind == "GPU-hours" and "lower bound" in str(row.get("note")) else ""
    return f"training {kind}, {'MoE' if moe else 'dense'}{least}"


def convention_flops_per_token(row: Row, setup: TrainingSetup) -> float:
    """FLOPs per token as the row's source counts them.

    Megatron-LM and NeMo counted the full square of attention until 2025, and Narayanan et al. 2021 the recomputed forward
    pass too (their equation 3); llm-foundry counts 6 N + 12 L d s; newer ones count what a causal kernel computes.
    """
    arch, seq = setup.architecture, setup.seq_tokens
    causal = training_flops_per_token(arch, seq)
    if (
        setup.software.framework == "megatron" and setup.software.year < 2025
    ) or setup.software.framework == "deepspeed":
        forward = flops_per_token(arch, seq, causal=False)
        if metric_of(row) == "achieved_tflops_per_gpu":
            return 4 * forward.total - forward.head
        return 3 * forward.total
    return causal


def in_row_units(row: Row, setup: TrainingSetup, device: Device, step_s: float) -> float | None:
    """A step time as the row's metric. The conversion is its own inverse up to the constant: value * step is fixed for rates."""
    metric = metric_of(row)
    per_device = setup.tokens_per_step / step_s / setup.devices
    if metric.startswith("tokens_per_sec"):
        return per_device * (1 if metric.endswith("per_gpu") else setup.devices)
    if METRICS[metric] == "throughput":
        rate = per_device * convention_flops_per_token(row, setup)
        if metric.startswith("mfu"):
            # The row's own MFU is against the unmodified data sheet.
            share = metric == "mfu" and row["value"] <= 1
            return (1 if share else 100) * rate / peak_flops_per_s(device, setup.precision)
        return rate / 1e12
    if METRICS[metric] == "iteration time":
        return step_s * (1e3 if metric.endswith("_ms") else 1.0)
    if metric == "gpu_hours":
        return float(row["tokens"]) / per_device / 3600
    return step_s * float(row["steps"])


def step_from_row(row: Row, setup: TrainingSetup, device: Device) -> float | None:
    """The step time that the row's value says."""
    at_one = in_row_units(row, setup, device, 1.0)
    if not at_one:
        return None
    return at_one / row["value"] if METRICS[metric_of(row)] == "throughput" else row["value"] / at_one


def predict(row: Row) -> Prediction | None:
    """The planner's value with its 80 % interval, in the row's unit; None where model or device are unknown."""
    setup, device = setup_of(row), device_of(row)
    if setup is None or device is None or family(row) is None:
        return None
    step_s = sum(step_parts(setup, device).values())
    value = in_row_units(row, setup, device, step_s)
    if value is None:
        return None
    spread = calibration().halfwidth(setup, device, source=measured_by(row))
    if METRICS[metric_of(row)] in ("GPU-hours", "run time"):
        # A real run also waits, restarts and evaluates, and its layout is rarely published.
        share = PRODUCTIVE_SHARE["many" if setup.devices >= 64 else "few"]
        value, spread = value / share, spread + 0.3
    return Prediction(value, value * math.exp(-spread), value * math.exp(spread))


def _by_mfu(mfu_of: Callable[[Row], float | None]) -> Callable[[Row], float | None]:
    """A predictor that knows FLOPs and peaks, and takes MFU from a table."""

    def value(row: Row) -> float | None:
        mfu = mfu_of(row)
        setup, device = setup_of(row), device_of(row)
        if mfu is None or setup is None or device is None:
            return None
        flops = training_flops_per_token(setup.architecture, setup.seq_tokens) * setup.tokens_per_step / setup.devices
        return in_row_units(row, setup, device, flops / (mfu * peak_flops_per_s(device, "bf16")))

    return value


def _mfu(row: Row) -> float | None:
    """Model FLOPs per second over the bfloat16 peak that the row's own value says."""
    try:
        setup, device = setup_of(row), device_of(row)
    except InputError:
        return None
    if setup is None or device is None or METRICS.get(metric_of(row)) != "throughput":
        return None
    step_s = step_from_row(row, setup, device)
    if not step_s:
        return None
    flops = training_flops_per_token(setup.architecture, setup.seq_tokens) * setup.tokens_per_step / setup.devices
    return flops / step_s / peak_flops_per_s(device, "bf16")


def _table(rows: list[Row], key: Callable[[Row], tuple[str, ...]]) -> Callable[[Row], float | None]:
    """Median MFU per key, over the other rows: the row that is asked about is left out."""
    seen: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        mfu = _mfu(row) if family(row) else None
        if mfu:
            seen.setdefault(key(row), []).append(mfu)
    return _by_mfu(lambda row: median_without(seen.get(key(row), []), _mfu(row)))


def median_without(values: list[float], own: float | None) -> float | None:
    """Median of the values without one that equals `own`; None where nothing is left."""
    others = list(values)
    if own in others:
        others.remove(own)
    return statistics.median(others) if others else None


def baselines(rows: list[Row]) -> dict[str, Callable[[Row], float | None]]:
    """Constant MFU: one half, the best overall, per device, and per device and precision."""
    return {
        "MFU 0.5": _by_mfu(lambda _: 0.5),
        "constant MFU": _table(rows, lambda _: ()),
        "MFU per device": _table(rows, lambda row: (str(row.get("hardware")),)),
        "MFU per device and precision": _table(rows, lambda row: (str(row.get("hardware")), precision_of(row))),
    }


def default_rows(name: str) -> Path:
    """Where the published measurements lie beside a checkout, or under AETHER_TRUTH."""
    folder = os.environ.get("AETHER_TRUTH") or Path(__file__).parents[3] / "shared" / "truth"
    return Path(folder) / f"{name}.jsonl.gz"


UNREADABLE = "unreadable"
"""Field of the stand-in for a line that is no row: it holds the reason."""


def read_rows(paths: list[Path]) -> list[Row]:
    """All rows of some .jsonl or .jsonl.gz files. A row without an id gets its file and line; a line that is no JSON object
    becomes a row that says so in `UNREADABLE`."""
    rows: list[Row] = []
    for path in paths:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", errors="replace")
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                row = _row(line)
                row.setdefault("id", f"{path.name}:{number}")
                rows.append(row)
    return rows


_NUMBER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?(e[+-]?\d+)?", re.I)
"""A value in quotes, with commas between thousands or none."""


def _row(line: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {UNREADABLE: "line is not JSON"}
    if not isinstance(row, dict):
        return {UNREADABLE: "line is not a JSON object"}
    if isinstance(row.get("value"), str) and _NUMBER.fullmatch(row["value"].strip()):
        row["value"] = float(row["value"].replace(",", ""))
    return row
