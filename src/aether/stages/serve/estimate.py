"""What a server will do, before there is one: step time from its terms, then a simulated queue. No torch.

A step of the engine costs a fixed overhead, the longer of reading the weights once and of multiplying them with every
token of the step, and reading the cache of every row. The probe measures overheads and rates on this
machine; shares of those rates are constants below, each with where it was measured. The queue is simulated with the
scheduler that really runs (chunked prompts beside decode), so p99 contains the waiting. Not here: the network.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aether.hardware.machine import Machine, bytes_per_value
from aether.models.config import DecoderConfig
from aether.spec.brief import Load
from aether.spec.evidence import Interval
from aether.spec.plan import Estimate, Term
from aether.stages.serve.recipe import TRIAL_CLOSED_S, TRIAL_OPEN_S, EngineRecipe, Precision, ServeRecipe
from aether.stages.serve.scheduler import Scheduler
from aether.stages.serve.summary import LatencyReport, Timing, latency

STEP_OVERHEAD_S = 0.25e-3
"""Fixed time of a step outside the layers: masks, sampling, delivery. Measured on one Zen 4 core."""
LAYER_OVERHEAD_S = 0.12e-3
"""Fixed time of a layer, about 200 calls inside torch, where no probe is at hand. Measured on one Zen 4 core."""
LAYER_CALLS = 2.0
"""A served layer's fixed time over the probe's: it also writes and masks a cache. Measured on one Zen 4 core."""
ROWS_OVERHEAD_S = 0.05e-3
"""Fixed time outside the layers of a step in which nobody reads a prompt: numpy's, not torch's. Fitted with the next one to
0.37 ms between tokens of a lone request: two layers, 0.93M parameters in float32, a 2-core Zen 4, the demo's load (LOG, 2026-11-25)."""
ROWS_LAYER_S = 0.04e-3
"""Fixed time of a layer in such a step: 35 calls of numpy, about 1 us each (assumed share of the sum above)."""
TOKEN_OVERHEAD_S = 0.06e-3
"""Time for each token that is delivered: event, socket. Measured on one Zen 4 core."""
EFFICIENCY = 0.7
"""Share of the measured matrix rate that products of 8 to 128 rows reach. Measured on one Zen 4 core."""
CACHE_EFFICIENCY = 0.35
"""Share of the memory rate at which attention reads the cache, 32 rows of 170. Measured on one Zen 4 core."""
PROCESS_BYTES = 340_000_000
"""Resident memory of a server without a model, where no probe is at hand. Measured under load, torch 2.13."""
WEB_BYTES = 110_000_000
"""What web server, tokenizer and buffers add to a process that has loaded torch. Measured under load, torch 2.13."""
SPREAD = 3.0
"""A prediction is given as value / SPREAD to value x SPREAD. Two trials on a shared machine: measured / predicted was
0.5 to 2.6 for every latency and the throughput. As an interval with a level it is assumed."""

TRIAL_START_S = 2.0
"""The trials' own process: imports. Assumed share of TRIAL_LOAD_S's sum."""
TRIAL_LOAD_S = 0.3
"""What a candidate takes besides its two loops: loading, warm-up, its last request. Fitted to 7.0 s for three candidates of the
demo's model on a quiet 2-core Zen 4 (LOG, 2026-11-25)."""
CANDIDATES = 3
"""Engines and types that are tried where nothing is missing: packed in two types, llama.cpp in one."""


def choice_s(engine: EngineRecipe) -> float:
    """Seconds that the choice of an engine takes; none where the recipe leaves no choice."""
    if "auto" not in (engine.engine, engine.dtype):
        return 0.0
    return TRIAL_START_S + CANDIDATES * (TRIAL_LOAD_S + TRIAL_OPEN_S + TRIAL_CLOSED_S)


@dataclass(frozen=True)
class ServiceModel:
    """Time of a step: `fixed_s + max(weights_s, per_token_s x tokens) + per_position_s x cached positions`.

    `rows_fixed_s` stands for `fixed_s` in a step in which every token is delivered, so that no prompt is read.
    """

    fixed_s: float
    weights_s: float
    per_token_s: float
    per_position_s: float
    per_delivery_s: float = TOKEN_OVERHEAD_S
    rows_fixed_s: float | None = None

    def step_s(self, tokens: int, positions: int, delivered: int) -> float:
        """One step over `tokens` (decoding and prompt), reading `positions` of cache, delivering `delivered` tokens."""
        work_s = max(self.weights_s, self.per_token_s * tokens)
        fixed_s = self.fixed_s if tokens > delivered or self.rows_fixed_s is None else self.rows_fixed_s
        return fixed_s + work_s + self.per_position_s * positions + self.per_delivery_s * delivered

    def scaled(self, factor: float) -> "ServiceModel":
        """Every term times `factor`."""
        return ServiceModel(
            self.fixed_s * factor,
            self.weights_s * factor,
            self.per_token_s * factor,
            self.per_position_s * factor,
            self.per_delivery_s * factor,
            None if self.rows_fixed_s is None else self.rows_fixed_s * factor,
        )


@dataclass(frozen=True)
class MachineRates:
    """What a machine does for one server process, in one type of number. `of` reads them from the probe."""

    dtype: str
    flops_per_s: float
    memory_bytes_per_s: float
    step_overhead_s: float = STEP_OVERHEAD_S
    layer_overhead_s: float = LAYER_OVERHEAD_S
    process_bytes: float = PROCESS_BYTES

    @classmethod
    def of(cls, machine: Machine, wanted: Precision, hidden_size: int, threads: int = 1) -> "MachineRates":
        """From the probe, for a server with `threads` of the threads that were probed with.

        `auto` is estimated as float32 by our own engine: the stage chooses by measuring, which nobody can know before, and
        on a Zen 4 with bfloat16 that was its choice for the demo's model (LOG, 2026-11-25).
        """
        dtype = "float32" if wanted == "auto" else wanted
        share = min(1.0, threads / machine.threads)
        layer_s = LAYER_OVERHEAD_S if machine.layer_overhead_s is None else machine.layer_overhead_s * LAYER_CALLS
        process_bytes = PROCESS_BYTES if machine.runtime_memory_bytes is None else machine.runtime_memory_bytes
        return cls(
            dtype=dtype,
            flops_per_s=machine.rate_near(dtype, hidden_size) * share,
            # One thread alone takes most of what memory gives.
            memory_bytes_per_s=machine.memory_bandwidth_bytes_per_s,
            layer_overhead_s=layer_s,
            process_bytes=process_bytes + WEB_BYTES,
        )

    @property
    def value_bytes(self) -> int:
        """Bytes of a weight and of a cached value."""
        return bytes_per_value(self.dtype)


def service_model(config: DecoderConfig, rates: MachineRates, slowdown: float = 1.0) -> ServiceModel:
    """The step time of a model on a machine. `slowdown` scales it all: measured / predicted of an earlier run."""
    width = rates.value_bytes
    model = ServiceModel(
        fixed_s=rates.step_overhead_s + config.layers * rates.layer_overhead_s,
        weights_s=config.parameters() * width / rates.memory_bytes_per_s,
        per_token_s=config.flops_per_token(0.0) / (rates.flops_per_s * EFFICIENCY),
        per_position_s=config.kv_bytes_per_token(width) / (rates.memory_bytes_per_s * CACHE_EFFICIENCY),
        rows_fixed_s=ROWS_OVERHEAD_S + config.layers * ROWS_LAYER_S,
    )
    return model.scaled(slowdown)


@dataclass(frozen=True)
class _Job:
    index: int
    due_s: float
    produced: list[float]


def simulate(load: Load, engine: EngineRecipe, model: ServiceModel, seed: int) -> list[Timing]:
    """The load's requests through the engine's own scheduler, on a clock that `model` moves. Same seed, same arrivals.

    Requests beyond slots + queue are refused, as the server does.
    """
    gaps = np.random.default_rng(seed).exponential(1.0 / load.requests_per_s, load.requests)
    due = [(float(at), index) for index, at in enumerate(np.cumsum(gaps))]
    heapq.heapify(due)
    scheduler: Scheduler[_Job] = Scheduler(engine.slots, engine.chunk_tokens, max(engine.chunk_tokens, 512))
    timings: list[Timing] = []
    now_s = 0.0
    while due or scheduler.rows or scheduler.waiting:
        if not scheduler.rows and not scheduler.waiting:
            now_s = max(now_s, due[0][0])
        while due and due[0][0] <= now_s:
            at, index = heapq.heappop(due)
            if len(scheduler.rows) + len(scheduler.waiting) >= engine.slots + engine.max_queue:
                timings.append(_timing(load, _Job(index, at, []), at, "refused"))
            else:
                scheduler.enqueue(_Job(index, at, []), load.prompt_tokens)
        scheduler.admit()
        now_s = _advance(scheduler, model, load, now_s, timings)
    return sorted(timings, key=lambda timing: timing.index)


def _advance(scheduler: Scheduler[_Job], model: ServiceModel, load: Load, now_s: float, timings: list[Timing]) -> float:
    """One step; returns the time at its end."""
    rows, pieces = scheduler.rows, scheduler.plan()
    decoding = [index for index, row in enumerate(rows) if not row.reading]
    heard = decoding + [piece.row for piece in pieces if piece.last]
    tokens = len(decoding) + sum(piece.count for piece in pieces)
    positions = sum(rows[index].length for index in decoding)
    now_s += model.step_s(tokens, positions, len(heard))
    for piece in pieces:
        rows[piece.row].length += piece.count
    for index in decoding:
        rows[index].length += 1
    done = []
    for index in heard:
        rows[index].item.produced.append(now_s)
        if len(rows[index].item.produced) == load.output_tokens:
            timings.append(_timing(load, rows[index].item, now_s, None))
            done.append(index)
    scheduler.release(done)
    return now_s


def _timing(load: Load, job: _Job, ended_s: float, error: str | None) -> Timing:
    return Timing(
        phase="open",
        index=job.index,
        prompt="simulated",
        due_s=job.due_s,
        started_s=job.due_s,
        ended_s=ended_s,
        pieces_s=tuple(job.produced),
        prompt_tokens=load.prompt_tokens,
        output_tokens=len(job.produced),
        status=429 if error else 200,
        finish=None if error else "length",
        error=error,
    )


def saturated_tokens_per_s(recipe: ServeRecipe, model: ServiceModel) -> float:
    """Output tokens per second with `saturation.clients` always asking, prompts and answers in steady state."""
    load, rows = recipe.load, min(recipe.saturation.clients, recipe.engine.slots)
    positions = rows * (load.prompt_tokens + load.output_tokens / 2)
    prompt_share = rows * load.prompt_tokens / load.output_tokens
    step_s = model.step_s(math.ceil(rows + prompt_share), int(positions), rows)
    return rows / step_s


def serving_memory_bytes(config: DecoderConfig, engine: EngineRecipe, rates: MachineRates) -> float:
    """Resident bytes at the peak: the process, the weights as they are read and packed, the whole cache."""
    loading = config.parameters() * (3 * 4 + 2 * rates.value_bytes)
    row = (config.context_tokens + 1) * config.kv_bytes_per_token(rates.value_bytes)
    cache = engine.slots * (row + config.state_bytes(rates.value_bytes))
    return rates.process_bytes + loading + cache


def estimate(
    recipe: ServeRecipe, config: DecoderConfig, rates: MachineRates, seed: int, slowdown: float = 1.0
) -> tuple[Estimate, ...]:
    """Latency, throughput and memory of a served model, each with its interval and terms."""
    middle = service_model(config, rates, slowdown)
    scenes = [_scene(recipe, middle.scaled(factor), seed) for factor in (1 / SPREAD, 1.0, SPREAD)]
    terms = _terms(middle)
    found = []
    for metric in ("ttft_p50", "ttft_p99", "itl_p50", "itl_p99", "e2e_p50", "e2e_p99"):
        values = [scene.metrics[metric].value if metric in scene.metrics else None for scene in scenes]
        found.append(_estimate(metric, "s", values, terms, "queue simulation over step time"))
    tokens = [saturated_tokens_per_s(recipe, middle.scaled(factor)) for factor in (SPREAD, 1.0, 1 / SPREAD)]
    found.append(_estimate("throughput", "token/s", tokens, terms, "rows / step time in steady state"))
    memory = serving_memory_bytes(config, recipe.engine, rates)
    formula = "process + parameters x (12 + 2 value bytes) + slots x ((context + 1) x cache bytes per token + state)"
    found.append(_estimate("serving_memory", "byte", [memory * 0.8, memory, memory * 1.25], terms, formula))
    return tuple(found)


def _scene(recipe: ServeRecipe, model: ServiceModel, seed: int) -> LatencyReport:
    return latency(simulate(recipe.load, recipe.engine, model, seed), recipe.level, seed)


def _estimate(
    metric: str, unit: str, values: Sequence[float | None], terms: tuple[Term, ...], formula: str
) -> Estimate:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        protocol = "the simulated server refuses every request at this load: lower it, or serve on a faster machine"
        return Estimate(
            metric=metric, value=None, unit=unit, interval=None, kind="computed", formula=formula, protocol=protocol
        )
    low, high = min(known), max(known)
    interval = Interval(low=low, high=high, level=0.9, method=f"terms scaled by {SPREAD:g} either way (assumed)")
    return Estimate(
        metric=metric, value=known[1], unit=unit, interval=interval, kind="computed", formula=formula, terms=terms
    )


def _terms(model: ServiceModel) -> tuple[Term, ...]:
    source = "aether.stages.serve.estimate: constants measured on one Zen 4 core; rates from this machine's probe"
    return tuple(
        Term(name=name, value=value, unit="s", kind="computed", source=source)
        for name, value in vars(model).items()
        if value is not None
    )
