"""Published serving measurements against the predictions of `aether.planning.serving`, row by row.

A row is understood from its own fields: the model by its name in the library or by the numbers beside it, the device, the
layout, the formats, the traffic. Rows that state too little for anyone (no lengths, no arrival rate) belong to no family.
"""

import functools
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aether.knowledge.library import Device
from aether.planning.serving.answers import Answers, Range, residual_log, waiting_parts
from aether.planning.serving.closed_loop import ClosedLoop
from aether.planning.serving.efficiency import Coefficients, coefficients
from aether.planning.serving.memory import serving_memory
from aether.planning.serving.pools import Pools, pool_times
from aether.planning.serving.setup import Engine, Format, Precision, ServingSetup
from aether.planning.serving.step import StepModel
from aether.spec.architecture import Architecture, Experts
from benchmarks.planner_accuracy.machines import device_named
from benchmarks.planner_accuracy.prediction import Prediction
from benchmarks.planner_accuracy.shapes import architecture_of
from benchmarks.planner_accuracy.training import median_without

Row = dict[str, Any]

_ENGINES: tuple[tuple[str, Engine], ...] = (
    ("vllm", "vllm"),
    ("sglang", "sglang"),
    ("tensorrt", "trtllm"),
    ("trtllm", "trtllm"),
    ("fastertransformer", "trtllm"),
    ("llama.cpp", "llama.cpp"),
    ("litgpt", "transformers"),
    ("transformers", "transformers"),
)


def engine_of(text: str) -> Engine:
    """The engine by what a row calls it."""
    low = text.lower()
    for part, engine in _ENGINES:
        if part in low:
            return engine
    return "other"


def precision_of(row: Row) -> Precision:
    """Formats from the row's quantisation fields, or from its one word of precision."""
    word = str(row.get("precision") or "bf16").lower()
    cache = "fp8" if re.search(r"fp8|fp4", word) else "bf16"
    gemm, moe = _format(row.get("gemm_quant")), _format(row.get("moe_quant"))
    if gemm is None:
        gemm = _format(word) or "bf16"
    name = row["model"]["name"].lower()
    if "gpt-oss" in name or row["model"].get("model_type") == "gpt_oss":
        return Precision(weights="bf16", experts="mxfp4", cache=cache)
    if gemm in ("nvfp4", "int4") and row["model"].get("experts"):
        # Four-bit checkpoints of expert models keep attention and shared parts in 8 or 16 bits.
        return Precision(weights="bf16" if gemm == "int4" else "fp8", experts=moe or gemm, cache=cache)
    if row["model"].get("kv_lora_rank") and gemm == "fp8":
        return Precision(weights="fp8_block", experts="fp8_block", cache=cache)
    return Precision(weights=gemm, experts=moe or gemm, cache=cache)


_WORDS: tuple[tuple[str, Format], ...] = (
    ("nvfp4", "nvfp4"),
    ("mxfp4", "mxfp4"),
    ("fp4", "nvfp4"),
    ("fp8_block", "fp8_block"),
    ("fp8", "fp8"),
    ("w8a8", "int8"),
    ("smoothquant", "int8"),
    ("int8", "int8_weight"),
    ("int4", "int4"),
    ("awq", "int4"),
    ("gptq", "int4"),
    ("4bit", "int4"),
    ("4 bit", "int4"),
    ("nf4", "int4"),
    ("bf16", "bf16"),
    ("fp16", "bf16"),
    ("float16", "bf16"),
    ("fp32", "float32"),
)


def _format(word: object) -> Format | None:
    if not word:
        return None
    low = str(word).lower()
    return next((found for part, found in _WORDS if part in low), None)


def _whole(value: object) -> int:
    """A count of ranks: missing and zero mean one."""
    return int(value) if isinstance(value, int | float) and value > 0 else 1


def setup_of(row: Row) -> ServingSetup | None:
    """The replica that a row of an aggregated engine was measured on."""
    arch, hardware = architecture_of(row["model"]), device_named(str(row["hardware"]))
    if arch is None or hardware is None:
        return None
    return _setup(row, arch, hardware, layout_of(row), _whole(row.get("pp")))


def layout_of(row: Row) -> tuple[int, int, int]:
    """(tp, attn_dp, ep) of an aggregated row.

    One source multiplies the tensor and expert parallel sizes of the same devices with each other (tp 8 and ep 8 on eight
    devices become 64 ranks, with moe_tp = moe_ep = 8); those are taken back to the devices there were. Where the attention
    groups are not said but a batch for each of them is, their number is the concurrency over that batch.
    """
    tp, dp = _whole(row.get("tp")), _whole(row.get("attn_dp"))
    moe_tp, ep = _whole(row.get("moe_tp")), _whole(row.get("moe_ep"))
    if moe_tp == ep > 1 and tp * dp == moe_tp * ep:
        tp, dp = (1, ep) if dp > 1 else (ep, 1)
    elif moe_tp == 1 and tp == dp > 1 and ep == tp * dp:
        tp, ep = 1, dp
    elif row.get("attn_dp") is None and row.get("batch_size_per_rank") and row.get("concurrency"):
        groups = round(row["concurrency"] / row["batch_size_per_rank"])
        if groups > 1 and tp % groups == 0:
            tp, dp = tp // groups, groups
    return tp, dp, ep


def _setup(row: Row, arch: Architecture, hardware: Device, layout: tuple[int, int, int], pp: int) -> ServingSetup:
    tp, dp, ep = layout
    experts = max((g.mlp.count for g in arch.groups if isinstance(g.mlp, Experts)), default=0)
    ep = math.gcd(ep, tp * dp) if experts else 1
    eager = "eager" in str(row.get("framework")).lower()
    return ServingSetup(
        architecture=arch,
        device=hardware,
        precision=precision_of(row),
        tp=tp,
        attn_dp=dp,
        ep=ep,
        pp=pp,
        engine=engine_of(str(row.get("framework"))),
        engine_version=str(row.get("framework_version") or "") or None,
        max_sequences=8192,
        chunk_tokens=int(row.get("max_num_batched_tokens") or 8192),
        memory_share=min(1.0, float(row.get("gpu_mem_util") or 0.9)),
        compiled=not eager,
    )


@dataclass(frozen=True)
class Case:
    """One measured configuration: replica and traffic."""

    setup: ServingSetup
    traffic: ClosedLoop


@dataclass(frozen=True)
class Asked:
    """Which quantity a row measures."""

    quantity: str
    """ttft, token (time per output token), e2e, throughput (of the whole replica), prefill (prompt tokens per second)."""
    statistic: str
    """mean, or p50, p90, ..."""
    factor: float
    """The row's unit in SI units."""


_METRIC = re.compile(r"^(ttft|tpot|itl|e2e|latency)(?:_(?:ms|s))?(?:_(mean|median|p\d+))?(?:_(?:ms|s))?$")


def asked_of(row: Row) -> Asked | None:
    """The quantity of a row, or None when it is none of serving speed."""
    metric, unit = row["metric"], str(row.get("unit"))
    found = _METRIC.match(metric)
    if found:
        quantity = {"tpot": "token", "itl": "token", "latency": "e2e"}.get(found[1], found[1])
        statistic = {"median": "p50", None: "mean"}.get(found[2], found[2])
        return Asked(quantity, statistic, 1e-3 if unit == "ms" or "_ms" in metric else 1.0)
    if metric.startswith("prefill_tokens_per_sec"):
        return Asked("prefill", "mean", 1.0)
    if metric == "decode_tokens_per_sec_per_user":
        return Asked("user_rate", "mean", 1.0)
    if metric.startswith("decode_tokens_per_sec"):
        return Asked("decode_rate", "mean", 1.0)
    if metric.startswith("output_tokens_per_sec"):
        devices = _whole(row.get("gpus")) if re.search("(/|per )GPU", unit) else 1
        return Asked("throughput", "mean", float(devices))
    return None


def case_of(row: Row) -> Case | None:
    """The configuration of a row that states its lengths and its load, on one aggregated replica."""
    if row.get("serving_mode") == "disagg" or "workload" in row:
        return None
    key = {k: v for k, v in row.items() if k not in _RESULT}
    return _case(json.dumps(key, sort_keys=True))


_RESULT = ("id", "metric", "value", "unit", "source", "url_or_repo_path", "note", "aux", "row_id")

_SPREAD = ((1024, 1024), (8192, 1024), (1024, 8192))
"""Workloads of InferenceX, whose lengths are uniform between 0.8 and 1 times the stated ones (assumed from its scripts)."""
_SINGLE_PROMPT, _SINGLE_OUTPUT = 128, 200
"""Of single-stream decoding where a row does not say (assumed: the readers' own scripts use short prompts)."""
_OFFLINE_ROUNDS = 4.0
"""Batches that an offline run is assumed to go through, where the number of requests is not said."""


@functools.lru_cache(maxsize=8192)
def _case(text: str) -> Case | None:
    row = json.loads(text)
    setup = setup_of(row)
    if setup is None:
        return None
    batch = row.get("concurrency") or row.get("batch_size")
    prompt = int(row.get("isl") or _SINGLE_PROMPT)
    output = max(2, int(row.get("osl") or _SINGLE_OUTPUT))
    rounds = 10.0 if row.get("concurrency") else 1.0
    if not batch and "offline" in str(row.get("arrival")):
        batch = min(4096, serving_memory(setup, prompt + output).sequences)
        rounds = _OFFLINE_ROUNDS
    if not batch or batch < 1:
        return None
    if row.get("num_requests"):
        rounds = max(1.0, row["num_requests"] / batch)
    spread = 0.2 if (prompt, output) in _SPREAD and row.get("concurrency") else 0.0
    traffic = ClosedLoop(
        prompt_tokens=prompt, output_tokens=output, concurrency=int(batch), rounds=rounds, spread=spread
    )
    return Case(setup, traffic)


def pools_of(row: Row, fitted: Coefficients) -> tuple[Pools, ClosedLoop] | None:
    """The two pools of a disaggregated row; where it does not say how many replicas there are, one of each."""
    arch, hardware, said = architecture_of(row["model"]), device_named(str(row["hardware"])), row["disagg"]
    if arch is None or hardware is None or not row.get("concurrency") or not row.get("isl"):
        return None
    models = []
    for side in ("prefill", "decode"):
        names = ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
        tp, dp, moe_tp, ep = (_whole(said.get(f"{side}_{name}")) for name in names)
        if moe_tp == 1 and tp == dp > 1 and ep == tp * dp:
            tp, ep = 1, dp
        setup = _setup(row, arch, hardware, (tp, dp, ep), _whole(said.get(f"{side}_pp_size")))
        models.append(StepModel(setup, fitted))
    counts = [_whole(said.get(f"{side}_num_workers")) for side in ("prefill", "decode")]
    output = max(2, int(row.get("osl") or _SINGLE_OUTPUT))
    spread = 0.2 if (row["isl"], output) in _SPREAD else 0.0
    traffic = ClosedLoop(
        prompt_tokens=int(row["isl"]), output_tokens=output, concurrency=int(row["concurrency"]), spread=spread
    )
    return Pools(models[0], models[1], counts[0], counts[1]), traffic


def family(row: Row) -> str | None:
    """The error table's family; None for rows of something else and for rows that state no load."""
    asked = asked_of(row)
    if asked is None or "workload" in row:
        return None
    name = {"token": "time per output token", "ttft": "time to first token", "e2e": "end to end"}.get(
        asked.quantity, "single-stream and throughput"
    )
    if asked.statistic not in ("mean", "p50"):
        name += f", {asked.statistic}"
    if row.get("serving_mode") == "disagg":
        return f"serving {name}, disaggregated" + ("" if replicas_stated(row) else ", replicas not stated")
    if not (row.get("concurrency") or row.get("batch_size") or "offline" in str(row.get("arrival"))):
        return None
    return f"serving {name}"


def answers_of(row: Row) -> Answers | None:
    """The prediction of a row's configuration, shared by the rows that measure different quantities of it."""
    case = case_of(row)
    return None if case is None else _kept(case)


_latest: dict[int, tuple[Case, Answers]] = {}


def _kept(case: Case) -> Answers:
    if id(case) not in _latest:
        if len(_latest) > 4096:
            _latest.clear()
        _latest[id(case)] = (case, Answers(case.setup, case.traffic))
    return _latest[id(case)][1]


def predict(row: Row) -> Prediction | None:
    """The predicted value with its 80 % interval, in the row's unit; None where model, device or load are not known."""
    asked = asked_of(row)
    if asked is None:
        return None
    if row.get("serving_mode") == "disagg":
        return _predict_pools(row, asked)
    found = answers_of(row)
    if found is None:
        return None
    share = None if asked.statistic == "mean" else float(asked.statistic[1:]) / 100
    whole = found.output_tokens_per_s
    ranges: dict[str, Callable[[], Range]] = {
        "token": lambda: found.token_s(share).times(1 / asked.factor),
        "ttft": lambda: found.ttft_s(share).times(1 / asked.factor),
        "e2e": lambda: found.e2e_s(share).times(1 / asked.factor),
        "user_rate": lambda: found.token_s().inverse(),
        "decode_rate": lambda: found.token_s().inverse(found.traffic.concurrency),
        "throughput": lambda: whole().times(1 / asked.factor),
        "prefill": found.prefill_tokens_per_s,
    }
    given = ranges[asked.quantity]()
    return Prediction(given.value, given.low, given.high)


def replicas_stated(row: Row) -> bool:
    """Whether a disaggregated row says how many replicas each pool has."""
    return "decode_num_workers" in row.get("disagg", {})


def pooled_quantity(quantity: str, stated: bool) -> str:
    """The name under which the spread of disaggregated rows is kept."""
    return f"{quantity}, pools" if stated else f"{quantity}, pools of unknown size"


def _predict_pools(row: Row, asked: Asked) -> Prediction | None:
    value = pooled_value(row, coefficients())
    if value is None:
        return None
    wide = math.exp(coefficients().width(pooled_quantity(asked.quantity, replicas_stated(row))))
    return Prediction(value, value / wide, value * wide)


def pooled_value(row: Row, fitted: Coefficients) -> float | None:
    """The prediction of a disaggregated row, in its unit."""
    asked, found = asked_of(row), pools_of(row, fitted)
    if asked is None or found is None or asked.quantity not in ("token", "ttft"):
        return None
    pools, traffic = found
    times = pool_times(pools, traffic)
    if asked.quantity == "token":
        residual = residual_log("token", pools.decode.setup, traffic, fitted)
        return float(times.token_s * math.exp(residual) / asked.factor)
    engine = pools.decode.engine
    costs = [engine.waiting_scale, engine.request_s, engine.client_s, engine.prompt_token_s, engine.waiting_steps]
    return float(waiting_parts(times.ttft_s, times.token_s, traffic) @ costs / asked.factor)


def baselines(rows: list[Row]) -> dict[str, Callable[[Row], float | None]]:
    """The median of the family's other rows, and of the other rows with the same model, device and engine."""
    return {
        "median of the family": _medians(rows, lambda row: ()),
        "median of model, device and engine": _medians(rows, _alike),
    }


def _alike(row: Row) -> tuple[str, ...]:
    return row["model"]["name"], row["hardware"], engine_of(str(row.get("framework")))


def _medians(rows: list[Row], key: Callable[[Row], tuple[str, ...]]) -> Callable[[Row], float | None]:
    values: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        values.setdefault((family(row), row["metric"], *key(row)), []).append(row["value"])
    return lambda row: median_without(values.get((family(row), row["metric"], *key(row)), []), row["value"])
