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

from aether.planning.serving.answers import Answers, Range, residual_log, waiting_parts
from aether.planning.serving.closed_loop import ClosedLoop
from aether.planning.serving.efficiency import Coefficients, coefficients
from aether.planning.serving.memory import serving_memory
from aether.planning.serving.pools import Pools, pool_times
from aether.planning.serving.setup import ServingSetup
from aether.planning.serving.step import StepModel
from aether.spec.architecture import Experts
from aether.spec.errors import AetherError
from benchmarks.planner_accuracy.prediction import Prediction
from benchmarks.planner_accuracy.scripts import LENGTHS
from benchmarks.planner_accuracy.served import Row, count, engine_of, hardware_of, replica, setup_of, tidy
from benchmarks.planner_accuracy.shapes import architecture_of, whole
from benchmarks.planner_accuracy.sources import measured_by
from benchmarks.planner_accuracy.training import median_without


@dataclass(frozen=True)
class Case:
    """One measured configuration: replica and traffic."""

    setup: ServingSetup
    traffic: ClosedLoop


@dataclass(frozen=True)
class Asked:
    """Which quantity a row measures."""

    quantity: str
    """ttft, token (time per output token of a request), gap (between two tokens, quantiles), e2e, throughput (of the whole replica), prefill (prompt tokens per second), requests and total (answered requests, and prompt and output tokens, per second)."""
    statistic: str
    """mean, or p50, p90, ..."""
    factor: float
    """The row's unit in SI units."""


_METRIC = re.compile(r"^(ttft|tpot|itl|e2e|latency)(?:_(?:ms|s))?(?:_(mean|median|p\d+))?(?:_(?:ms|s))?$")
_LONG_NAMES = {
    "time_to_first_token": "ttft",
    "first_token_latency": "ttft",
    "time_per_output_token": "tpot",
    "inter_token_latency": "itl",
    "end_to_end_latency": "e2e",
    "request_latency": "e2e",
    "e2e_latency": "e2e",
    "e2el": "e2e",
    "output_throughput": "output_tokens_per_sec",
    "tokens_per_second": "tokens_per_sec",
}
"""What vLLM's, SGLang's and others' load generators call these quantities, each with a statistic before or behind it."""


def _metric(text: str) -> str:
    """A metric's name as the rows of our tables write it."""
    name = re.sub(r"[^a-z0-9.]+", "_", text.lower()).strip("_")
    for long, short in _LONG_NAMES.items():
        name = name.replace(long, short)
    first = re.match(r"^(mean|median|avg|average|p\d+)_(ttft|tpot|itl|e2e|latency)(?:_(ms|s))?$", name)
    if first is None:
        return name
    statistic = {"avg": "mean", "average": "mean"}.get(first[1], first[1])
    return "_".join(part for part in (first[2], statistic, first[3]) if part)


def asked_of(row: Row) -> Asked | None:
    """The quantity of a row, or None when it is none of serving speed."""
    metric, unit = _metric(str(row.get("metric"))), str(row.get("unit"))
    found = _METRIC.match(metric)
    if found:
        quantity = {"tpot": "token", "itl": "token", "latency": "e2e"}.get(found[1], found[1])
        statistic = {"median": "p50", None: "mean"}.get(found[2], found[2])
        if found[1] == "itl" and statistic != "mean":
            quantity = "gap"
        return Asked(quantity, statistic, 1e-3 if unit == "ms" or "_ms" in metric else 1.0)
    if metric.startswith("prefill_tokens_per_sec"):
        return Asked("prefill", "mean", 1.0)
    if metric == "decode_tokens_per_sec_per_user":
        return Asked("user_rate", "mean", 1.0)
    if metric.startswith("decode_tokens_per_sec"):
        return Asked("decode_rate", "mean", 1.0)
    per_second = str(row.get("metric")).lower()
    if re.search(r"^(request_throughput|req(uest)?s?(/|_per_)s(ec(ond)?)?)", per_second):
        return Asked("requests", "mean", 1.0)
    if re.search(r"^total_tok(en)?s?_(throughput|per_s)", per_second):
        return Asked("total", "mean", float(count(row.get("gpus")) if re.search("(/|per )GPU", unit) else 1))
    if metric.startswith("output_tokens_per_sec"):
        devices = count(row.get("gpus")) if re.search("(/|per )GPU", unit) else 1
        return Asked("throughput", "mean", float(devices))
    return None


def case_of(row: Row) -> Case | None:
    """The configuration of a row that states its lengths and its load, on one aggregated replica."""
    row = tidy(row)
    if row.get("serving_mode") == "disagg" or "workload" in row:
        return None
    key = {k: v for k, v in row.items() if k not in _RESULT}
    return _case(json.dumps(key, sort_keys=True, default=str))


_RESULT = ("id", "metric", "value", "unit", "source", "url_or_repo_path", "note", "aux", "row_id")

_SPREAD = LENGTHS
"""Workloads whose lengths are uniform between 0.8 and 1 times the stated ones."""
_JITTER = 0.1
"""Spread of the lengths of other loads of many clients (assumed): with equal lengths all clients would stay in step and wait for
each other in every round, which no measured row shows."""
_SINGLE_PROMPT, _SINGLE_OUTPUT = 128, 200
"""Of single-stream decoding where a row does not say (assumed: the readers' own scripts use short prompts)."""
_OFFLINE_ROUNDS = 4.0
"""Batches that an offline run is assumed to go through, where the number of requests is not said."""

_MOST_ROUNDS = 256.0
"""Requests of each client that are looked at: by then a closed loop is as it stays (a choice, to bound the time)."""


@functools.lru_cache(maxsize=8192)
def _case(text: str) -> Case | None:
    row = json.loads(text)
    setup = setup_of(row)
    if setup is None:
        return None
    clients = whole(row.get("concurrency"))
    batch = clients or whole(row.get("batch_size"))
    prompt = whole(row.get("isl")) or _SINGLE_PROMPT
    output = max(2, whole(row.get("osl")) or _SINGLE_OUTPUT)
    rounds = 10.0 if clients else 1.0
    if not batch and "offline" in str(row.get("arrival")):
        batch = min(4096, serving_memory(setup, prompt + output).sequences)
        rounds = _OFFLINE_ROUNDS
    if not batch:
        return None
    if requests := whole(row.get("num_requests")):
        rounds = min(_MOST_ROUNDS, max(1.0, requests / batch))
    spread = (0.2 if (prompt, output) in _SPREAD else _JITTER) if clients > 1 else 0.0
    traffic = ClosedLoop(prompt_tokens=prompt, output_tokens=output, concurrency=batch, rounds=rounds, spread=spread)
    return Case(setup, traffic)


def pools_of(row: Row, fitted: Coefficients) -> tuple[Pools, ClosedLoop] | None:
    """The two pools of a disaggregated row; where it does not say how many replicas there are, as many as are usual."""
    row = tidy(row)
    arch, hardware, said = architecture_of(row["model"]), hardware_of(row), row["disagg"]
    clients, prompt = whole(row.get("concurrency")), whole(row.get("isl"))
    if arch is None or hardware is None or not clients or not prompt:
        return None
    models = []
    for side in ("prefill", "decode"):
        layout = _pool_layout(row, side, any(isinstance(g.mlp, Experts) for g in arch.groups))
        setup = replica(row, arch, hardware, layout, count(said.get(f"{side}_pp_size")))
        models.append(StepModel(setup, fitted))
    output = max(2, whole(row.get("osl")) or _SINGLE_OUTPUT)
    spread = 0.2 if (prompt, output) in _SPREAD else _JITTER
    traffic = ClosedLoop(prompt_tokens=prompt, output_tokens=output, concurrency=clients, spread=spread)
    if replicas_stated(row):
        counts = [count(said.get(f"{side}_num_workers")) for side in ("prefill", "decode")]
        return Pools(models[0], models[1], counts[0], counts[1]), traffic
    return _usual_pools(models[0], models[1], traffic), traffic


def _pool_layout(row: Row, side: str, experts: bool) -> tuple[int, int, int]:
    """(tp, attn_dp, ep) of one pool. Where a row does not state its replicas it does not state attention groups either (all
    have 1): one wide decode replica then has a group on each rank, as those that state theirs have."""
    names = ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    tp, dp, moe_tp, ep = (count(row["disagg"].get(f"{side}_{name}")) for name in names)
    if moe_tp == 1 and tp == dp > 1 and ep == tp * dp:
        tp, ep = 1, dp
    if experts and dp == 1 and side == "decode" and not replicas_stated(row) and tp >= _WIDE_RANKS:
        tp, dp = 1, tp
    return tp, dp, ep


_WIDE_RANKS = 16
"""Decode ranks from which deployments have one decode replica (measured: the published rows that state their replicas)."""
_USUAL_DECODERS = 4
"""Decode replicas where they are narrower (measured: the median of the same rows)."""
_BUSY = 0.9
"""Prefill replicas are added until they work at most this share of the time (assumed: a deployment is sized to keep up)."""


def _usual_pools(prefill: StepModel, decode: StepModel, traffic: ClosedLoop) -> Pools:
    """Pools of the usual size for this load."""
    setup = decode.setup
    decoders = 1 if setup.devices >= _WIDE_RANKS else min(_USUAL_DECODERS, traffic.concurrency)
    pools = Pools(prefill, decode, 1, decoders)
    while pool_times(pools, traffic).prefill_busy > _BUSY and pools.prefill_replicas < 16:
        pools = Pools(prefill, decode, pools.prefill_replicas + 1, decoders)
    return pools


def family(row: Row) -> str | None:
    """The error table's family; None for rows of something else and for rows that state no load."""
    asked = asked_of(row)
    if asked is None or "workload" in row:
        return None
    name = {
        "token": "time per output token",
        "gap": "time between tokens",
        "ttft": "time to first token",
        "e2e": "end to end",
    }.get(asked.quantity, "single-stream and throughput")
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
    return None if case is None else _kept(case, measured_by(row) not in coefficients().laboratories)


_latest: dict[tuple[int, bool], tuple[Case, Answers]] = {}


def _kept(case: Case, elsewhere: bool) -> Answers:
    key = (id(case), elsewhere)
    if key not in _latest:
        if len(_latest) > 4096:
            _latest.clear()
        _latest[key] = (case, Answers(case.setup, case.traffic, elsewhere=elsewhere))
    return _latest[key][1]


def predict(row: Row) -> Prediction | None:
    """The predicted value with its 80 % interval, in the row's unit; None where model, device or load are not known."""
    asked = asked_of(row)
    if asked is None:
        return None
    try:
        if row.get("serving_mode") == "disagg":
            return _predict_pools(row, asked)
        found = answers_of(row)
    except AetherError:
        return None
    if found is None:
        return None
    share = None if asked.statistic == "mean" else float(asked.statistic[1:]) / 100
    whole = found.output_tokens_per_s
    shorter = 1 - found.traffic.spread / 2
    prompts, outputs = found.traffic.prompt_tokens * shorter, found.traffic.output_tokens * shorter
    ranges: dict[str, Callable[[], Range]] = {
        "token": lambda: found.token_s(share).times(1 / asked.factor),
        "gap": lambda: found.gap_s(0.5 if share is None else share).times(1 / asked.factor),
        "ttft": lambda: found.ttft_s(share).times(1 / asked.factor),
        "e2e": lambda: found.e2e_s(share).times(1 / asked.factor),
        "user_rate": found.decode_tokens_per_s,
        "decode_rate": lambda: found.decode_tokens_per_s(found.traffic.concurrency),
        "throughput": lambda: whole().times(1 / asked.factor),
        "prefill": found.prefill_tokens_per_s,
        "requests": lambda: whole().times(1 / outputs),
        "total": lambda: whole().times((1 + prompts / outputs) / asked.factor),
    }
    given = ranges[asked.quantity]()
    return Prediction(given.value, given.low, given.high)


def why_not(row: Row) -> str | None:
    """Why a row has no prediction, in words; None where it has one."""
    if predict(row) is not None:
        return None
    row = tidy(row)
    if asked_of(row) is None:
        return f"metric {row.get('metric')!r} is no serving speed"
    if architecture_of(row["model"]) is None:
        return f"model {row['model'].get('name')!r} is not known and its numbers do not make one"
    if hardware_of(row) is None:
        return f"hardware {row.get('hardware')!r} is not known"
    if "workload" in row:
        return "a workload's name states neither lengths nor arrivals"
    if row.get("serving_mode") == "disagg" and not _pooled(asked_of(row)):
        return "of disaggregated pools only means of the times to first and per output token are predicted"
    return "the load is not stated: concurrency, batch_size or an offline run"


def replicas_stated(row: Row) -> bool:
    """Whether a disaggregated row says how many replicas each pool has."""
    said = row.get("disagg")
    return isinstance(said, dict) and "decode_num_workers" in said


def pooled_quantity(quantity: str, stated: bool) -> str:
    """The name under which the spread of disaggregated rows is kept."""
    return f"{quantity}, pools" if stated else f"{quantity}, pools of unknown size"


def _pooled(asked: Asked | None) -> bool:
    """Whether the closed form of two pools gives this quantity."""
    return asked is not None and asked.quantity in ("token", "ttft") and asked.statistic in ("mean", "p50")


def _predict_pools(row: Row, asked: Asked) -> Prediction | None:
    value = pooled_value(row, coefficients())
    if value is None:
        return None
    fitted = coefficients()
    width = fitted.width(pooled_quantity(asked.quantity, replicas_stated(row)))
    if measured_by(row) not in fitted.laboratories:
        width = max(width, fitted.width(asked.quantity, "new source"))
    wide = math.exp(width)
    return Prediction(value, value / wide, value * wide)


def pooled_value(row: Row, fitted: Coefficients) -> float | None:
    """The prediction of a disaggregated row, in its unit."""
    asked, found = asked_of(row), pools_of(row, fitted)
    if asked is None or found is None or not _pooled(asked):
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
    return str(tidy(row)["model"].get("name")), str(row.get("hardware")), engine_of(str(row.get("framework")))


def _medians(rows: list[Row], key: Callable[[Row], tuple[str, ...]]) -> Callable[[Row], float | None]:
    values: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        values.setdefault((family(row), row["metric"], *key(row)), []).append(row["value"])
    return lambda row: median_without(values.get((family(row), row["metric"], *key(row)), []), row["value"])
