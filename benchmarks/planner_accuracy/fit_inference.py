"""Fits `src/aether/knowledge/serving_efficiency.toml`: operators to measured tables, engines to published served rows.

    python -m benchmarks.planner_accuracy.fit_inference --truth DIR [--operators DIR] [--cross-validate]

`--operators`: the unpacked `aiconfigurator_core` 0.12.0 wheel (Apache-2.0), whose parquet tables hold measured times of
matrix products, experts, attention and all-reduces; without it the operators' coefficients stay as they are. Losses are
robust (soft L1 on log time), because rows of one configuration differ by version and date.
"""

import argparse
import gzip
import json
import tomllib
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aether.planning.serving.answers import TAIL, model_class, residual_log, traits, waiting_parts
from aether.planning.serving.closed_loop import Observed, closed_loop
from aether.planning.serving.efficiency import (
    Coefficients,
    EngineCost,
    Familiarity,
    Measured,
    Residual,
    Spread,
    generation,
)
from aether.planning.serving.step import StepModel
from benchmarks.planner_accuracy.fit_operators import fit_operators
from benchmarks.planner_accuracy.inference import (
    Asked,
    Case,
    asked_of,
    case_of,
    pooled_quantity,
    pooled_value,
    replicas_stated,
)
from benchmarks.planner_accuracy.served import Row
from benchmarks.planner_accuracy.sources import measured_by

FILE = Path(__file__).parents[2] / "src" / "aether" / "knowledge" / "serving_efficiency.toml"

PARTS = (
    "matrix_scale",
    "expert_scale",
    "attention_scale",
    "cache_scale",
    "communication_scale",
    "launch_scale",
    "hidden_copies",
    "step_s",
    "sequence_s",
    "layer_s",
    "eager_layer_s",
)
_START = np.array([1, 1, 1, 1, 1, 0.7, 8, 5e-4, 1e-5, 5e-6, 1e-4])
_LOOSE = np.array([0.3, 0.3, 0.3, 0.3, 0.5, 0.7, 0.7, 1, 1, 1, 1])
"""How far (in logs) the common coefficients may move from the start: scales of measured tables little, overheads freely."""
_LOOSE_ENGINE = np.array([0.2, 0.25, 0.15, 0.25, 0.4, 0.4, 0.4, 0.6, 0.5, 0.5, 0.3])
"""The same for an engine from the common ones."""
_WAITING = ("waiting_scale", "request_s", "client_s", "prompt_token_s", "waiting_steps")
_WAITING_START = np.array([1.2, 0.05, 2e-3, 1e-5, 2.0])
_WAITING_LOOSE = np.array([0.5, 1.0, 1.0, 1.5, 1.0])
_SHRINKAGE = {"token": 15.0, "ttft": 60.0}
"""Rows (of weight one) that a trait needs before half of its residual is believed; chosen by leaving models out."""


_DRAFT = 0.2
"""Weight of rows whose source calls itself experimental: their times to first token are several times those of all other rows of
the same model and engine (chosen by leaving models and devices out)."""


@dataclass
class Sample:
    """A row with what the fit needs of it."""

    quantity: str
    measured: float
    """Seconds: per output token, per token of all, or to the first token."""
    parts: Any
    """Seconds that each coefficient of `PARTS` multiplies, at one."""
    case: Case
    asked: Asked
    source: str = ""
    """Who measured."""
    waiting: Any = None
    """The same for `_WAITING`."""

    @property
    def group(self) -> tuple[str, ...]:
        """Rows that are alike."""
        setup = self.case.setup
        return setup.architecture.name, setup.device.name, setup.engine, setup.precision.expert_format


def _condensed(steps: Sequence[tuple[float, ...]], bins: int = 10) -> list[tuple[float, ...]]:
    """Steps with and without prompt tokens, each averaged into a few."""
    found: list[tuple[float, ...]] = []
    for alike in ([s for s in steps if s[1] > 0], [s for s in steps if s[1] <= 0]):
        if alike:
            rows = np.array(alike)
            rows = rows[np.argsort(rows[:, 3] * 1e6 + rows[:, 1])]
            for some in np.array_split(rows, min(bins, len(rows))):
                count = some[:, 0]
                found.append((count.sum(), *(some[:, 1:6] * count[:, None]).sum(0) / count.sum()))
    return found


def _neutral(launch_scale: float) -> EngineCost:
    zero = dict.fromkeys(("hidden_copies", "step_s", "sequence_s", "layer_s", "eager_layer_s"), 0.0)
    return EngineCost(engine="all", launch_scale=launch_scale, **zero)


def parts_of(case: Case, seen: Observed, fitted: Coefficients) -> tuple[Any, Any]:
    """Seconds per coefficient: for each output token of a sequence, and for each output token of the replica."""
    bare = StepModel(case.setup, fitted.model_copy(update={"engine": (_neutral(0.0),)}))
    launched = StepModel(case.setup, fitted.model_copy(update={"engine": (_neutral(1.0),)}))
    setup = case.setup
    each_s = bare.hidden_vectors * setup.architecture.hidden_size * 2 / setup.device.memory_bandwidth_bytes_per_s
    eager = 0 if setup.compiled else bare.operators.layers
    of_token, of_all, tokens = np.zeros(len(PARTS)), np.zeros(len(PARTS)), 0.0
    for count, prompt, seen_prompt, live, context, held in _condensed(seen.steps):
        step = bare.time(prompt, seen_prompt, live, context)
        launches = max(0.0, launched.seconds(prompt, seen_prompt, live, context) - step.total_s)
        local = max(1.0, (prompt + live) / (setup.attn_dp * setup.pp))
        spent = [step.matrices_s, step.experts_s, step.prefill_attention_s, step.cache_s, step.communication_s]
        spent += [launches, each_s * local, 1, live, bare.small_kernels, eager]
        of_token += count * held * np.array(spent)
        of_all += count * np.array(spent)
        tokens += count * live
    return of_token / max(tokens, 1e-9), of_all / seen.output_tokens


def samples(rows: list[Row], fitted: Coefficients) -> list[Sample]:
    """The rows that the fit learns from: means and medians."""
    found: list[Sample] = []
    known: dict[int, tuple[Any, Any, Observed]] = {}
    for row in rows:
        case, asked = case_of(row), asked_of(row)
        if case is None or asked is None:
            continue
        share = 0.5 if asked.statistic == "mean" else float(asked.statistic[1:]) / 100
        tail = ", tail" if share > TAIL else ""
        source = measured_by(row)
        if asked.quantity in ("ttft", "prefill"):
            prompts = case.traffic.concurrency * case.traffic.prompt_tokens
            seconds = row["value"] * asked.factor if asked.quantity == "ttft" else prompts / row["value"]
            found.append(Sample("ttft" + tail, seconds, None, case, asked, source))
            continue
        measured = seconds_per_token(asked, row["value"], case)
        if measured is None:
            continue
        if id(case) not in known:
            seen = closed_loop(StepModel(case.setup, fitted), case.traffic)
            known[id(case)] = (*parts_of(case, seen, fitted), seen)
        of_token, of_all, seen = known[id(case)]
        whole = asked.quantity == "throughput"
        median = 1.0 if asked.statistic == "mean" else seen.token_quantile_s(share) / seen.mean_token_s
        found.append(Sample("token" + tail, measured, of_all if whole else of_token * median, case, asked, source))
    return found


def seconds_per_token(asked: Asked, value: float, case: Case) -> float | None:
    """A measured value as seconds per token of a sequence, or of the replica for a throughput."""
    if asked.quantity == "token":
        return value * asked.factor
    if asked.quantity == "user_rate":
        return 1 / value
    if asked.quantity == "decode_rate":
        return case.traffic.concurrency / value
    return 1 / (value * asked.factor) if asked.quantity == "throughput" else None


def _weights(given: list[Sample], power: float) -> Any:
    """Rows of one kind share a weight that grows slower than their number; work in progress counts less."""
    sizes = Counter(sample.group for sample in given)
    return np.array([(_DRAFT if "experimental" in s.source else 1.0) * sizes[s.group] ** -power for s in given])


def _shared_fit(
    features: Any, measured: Any, engines: list[str], weight: Any, prior: tuple[Any, Any, Any]
) -> dict[str, Any]:
    """Positive coefficients for all engines and for each, shrunk towards the common ones, by robust log error."""
    from scipy.optimize import least_squares

    start, loose, loose_engine = prior
    names, size = sorted(set(engines)), len(start)
    index = np.array([names.index(e) for e in engines])
    scaled, log_measured, root = features * start, np.log(measured), np.sqrt(weight)

    def split(x: Any) -> tuple[Any, Any]:
        return x[:size], x[size:].reshape(len(names), size)

    def residual(x: Any) -> Any:
        common, own = split(x)
        error = np.log((scaled * np.exp(common + own[index])).sum(1)) - log_measured
        return np.concatenate([root * error, 0.6 * common / loose, (0.6 * own / loose_engine).ravel()])

    def jacobian(x: Any) -> Any:
        common, own = split(x)
        share = scaled * np.exp(common + own[index])
        share = share / share.sum(1, keepdims=True) * root[:, None]
        per_engine = [share * (index == i)[:, None] for i in range(len(names))]
        data = np.hstack([share, *per_engine])
        return np.vstack([data, np.diag(0.6 / np.concatenate([loose, np.tile(loose_engine, len(names))]))])

    start_at = np.zeros(size * (1 + len(names)))
    slope: Any = jacobian
    best = least_squares(residual, start_at, jac=slope, loss="soft_l1", f_scale=0.2, max_nfev=30)
    common, own = split(best.x)
    return {"all": start * np.exp(common)} | {name: start * np.exp(common + own[i]) for i, name in enumerate(names)}


def _with_engines(fitted: Coefficients, found: dict[str, Any], names: tuple[str, ...]) -> Coefficients:
    known = {row.engine: row for row in fitted.engine}
    rows = [
        known.get(engine, known["all"]).model_copy(
            update={"engine": engine} | {n: float(f"{v:.4g}") for n, v in zip(names, values, strict=True)}
        )
        for engine, values in found.items()
    ]
    return fitted.model_copy(update={"engine": tuple(rows)})


def fit_steps(given: list[Sample], fitted: Coefficients) -> Coefficients:
    """The engines' costs, from time per token and throughput."""
    known = [s for s in given if s.quantity == "token"]
    weight = _weights(known, 0.5)
    features, measured = np.array([s.parts for s in known]), np.array([s.measured for s in known])
    engines = [s.case.setup.engine for s in known]
    found = _shared_fit(features, measured, engines, weight / weight.mean(), (_START, _LOOSE, _LOOSE_ENGINE))
    return _with_engines(fitted, found, PARTS)


def step_seconds(given: list[Sample], fitted: Coefficients) -> Any:
    """What the engines' costs give for the samples of time per token."""
    costs = {e: np.array([getattr(fitted.cost(e), n) for n in PARTS]) for e in {s.case.setup.engine for s in given}}
    return np.array([s.parts @ costs[s.case.setup.engine] for s in given])


def add_waiting(given: list[Sample], fitted: Coefficients) -> None:
    """Simulates what the samples of time to first token wait for."""
    known: dict[int, Observed] = {}
    for sample in (s for s in given if s.quantity.startswith("ttft")):
        case = sample.case
        if id(case) not in known:
            known[id(case)] = closed_loop(StepModel(case.setup, fitted), case.traffic)
        seen = known[id(case)]
        whole = sample.asked.quantity == "ttft" and sample.asked.statistic == "mean"
        share = 1.0 if sample.asked.statistic == "mean" else float(sample.asked.statistic[1:]) / 100
        simulated = seen.mean_ttft_s if whole else seen.ttft_quantile_s(share)
        sample.waiting = waiting_parts(simulated, seen.mean_token_s, case.traffic)


def fit_waiting(given: list[Sample], fitted: Coefficients) -> Coefficients:
    """What the engines add to the simulated time to first token."""
    known = [s for s in given if s.quantity == "ttft"]
    weight = _weights(known, 0.5)
    features, measured = np.array([s.waiting for s in known]), np.array([s.measured for s in known])
    engines = [s.case.setup.engine for s in known]
    prior = (_WAITING_START, _WAITING_LOOSE, _WAITING_LOOSE)
    return _with_engines(fitted, _shared_fit(features, measured, engines, weight / weight.mean(), prior), _WAITING)


def waiting_seconds(given: list[Sample], fitted: Coefficients) -> Any:
    """What the engines' waiting gives for the samples of time to first token."""
    costs = {e: np.array([getattr(fitted.cost(e), n) for n in _WAITING]) for e in {s.case.setup.engine for s in given}}
    return np.array([s.waiting @ costs[s.case.setup.engine] for s in given])


def fit_residual(quantity: str, given: list[Sample], computed: Any) -> list[Residual]:
    """Ridge regression of the log ratio on traits. Cauchy weights: rows of servers that compiled while they were measured lie
    far off and say nothing."""
    names: dict[str, int] = {}
    rows = [[(names.setdefault(t, len(names)), v) for t, v in traits(s.case.setup, s.case.traffic)] for s in given]
    design = np.zeros((len(given), len(names)))
    for i, row in enumerate(rows):
        for j, value in row:
            design[i, j] = value
    target = np.log([s.measured for s in given]) - np.log(computed)
    weight, found = _weights(given, 0.5), np.zeros(len(names))
    for _ in range(15):
        robust = weight / (1.0 + ((target - design @ found) / 0.15) ** 2)
        left = (design * robust[:, None]).T
        found = np.linalg.solve(left @ design + _SHRINKAGE[quantity] * np.eye(len(names)), left @ target)
    return [Residual(quantity=quantity, trait=t, log_ratio=float(f"{found[j]:.4g}")) for t, j in names.items()]


def fit_all(given: list[Sample], fitted: Coefficients) -> Coefficients:
    """Engines, waiting and residuals from these samples; `add_waiting` has run on them."""
    fitted = fit_waiting(given, fit_steps(given, fitted))
    tokens, first = [s for s in given if s.quantity == "token"], [s for s in given if s.quantity == "ttft"]
    residual = fit_residual("token", tokens, step_seconds(tokens, fitted))
    residual += fit_residual("ttft", first, waiting_seconds(first, fitted))
    kinds = Counter(kind_of(s) for s in given if "tail" not in s.quantity)
    names: dict[tuple[str, str, str], set[str]] = {kind: set() for kind in kinds}
    for sample in (s for s in given if "tail" not in s.quantity):
        names[kind_of(sample)].add(sample.case.setup.measured_as)
    measured = [
        Measured(engine=kind[0], generation=kind[1], model_class=kind[2], rows=rows, models=tuple(sorted(names[kind])))
        for kind, rows in sorted(kinds.items())
    ]
    sources = tuple(sorted({s.source for s in given}))
    return fitted.model_copy(update={"residual": tuple(residual), "measured": tuple(measured), "laboratories": sources})


def log_errors(quantity: str, given: list[Sample], fitted: Coefficients) -> Any:
    """Log of predicted over measured."""
    alike = [s for s in given if s.quantity == quantity]
    if not alike:
        return np.zeros(0)
    base = quantity.split(",")[0]
    computed = (step_seconds if base == "token" else waiting_seconds)(alike, fitted)
    corrected = [residual_log(base, s.case.setup, s.case.traffic, fitted) for s in alike]
    return np.log(computed) + np.array(corrected) - np.log([s.measured for s in alike])


QUANTITIES = ("token", "ttft", "token, tail", "ttft, tail")
"""What has errors of its own; a throughput counts as a time per token."""


def kind_of(sample: Sample) -> tuple[str, str, str]:
    """Engine, generation and class of model: what counts as one combination."""
    setup = sample.case.setup
    return setup.engine, generation(setup.device), model_class(setup.architecture)


def written(fitted: Coefficients) -> str:
    """The coefficients as TOML."""
    lines = [f"# Written by {fitted.command}"]
    plain = fitted.model_dump(mode="python")
    tables = {name: plain.pop(name) for name in ("roofline", "reduction", "engine", "residual", "spread", "measured")}
    lines += [f"{name} = {_value(value)}" for name, value in plain.items()]
    for name, rows in tables.items():
        for row in rows:
            lines += ["", f"[[{name}]]", *(f"{key} = {_value(value)}" for key, value in row.items())]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def read_rows(truth: Path) -> list[Row]:
    """The rows of inference in a folder of published measurements."""
    with gzip.open(truth / "inference.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--operators", type=Path)
    parser.add_argument("--cross-validate", action="store_true")
    given = parser.parse_args()
    fitted = Coefficients.model_validate(tomllib.loads(FILE.read_text(encoding="utf-8")))
    if given.operators:
        rooflines, reductions = fit_operators(given.operators)
        fitted = fitted.model_copy(update={"roofline": tuple(rooflines), "reduction": tuple(reductions)})
    rows = read_rows(given.truth)
    found = samples(rows, fitted)
    add_waiting(found, fit_steps(found, fitted))
    from benchmarks.planner_accuracy.leave_out_serving import cross_validated

    spread = cross_validated(found, fitted) if given.cross_validate else fitted.spread
    FILE.write_text(written(finished(found, rows, fitted, spread)), encoding="utf-8")


def fold(sample: Sample) -> str:
    """Rows of one setup and load stay together, whatever their release and how their server was started."""
    setup, load = sample.case.setup, sample.case.traffic
    kept = setup.model_copy(update={"engine_version": None, "intake_steps": 1, "chunk_tokens": 8192})
    words = f"{kept.model_dump_json()} {load.prompt_tokens} {load.output_tokens} {load.concurrency}"
    return str(zlib.crc32(words.encode()) % 10)


def spread_of(quantity: str, errors: Any, familiarity: Familiarity = "near", shift: float = 0.0) -> Spread:
    """The 80 % quantile of |log error|."""
    half = float(f"{np.quantile(np.abs(errors), 0.8):.4g}")
    shift = float(f"{shift:.4g}")
    return Spread(quantity=quantity, half_width=half, rows=len(errors), familiarity=familiarity, shift=shift)


def finished(found: list[Sample], rows: list[Row], fitted: Coefficients, spread: tuple[Spread, ...]) -> Coefficients:
    """The whole fit on all samples, and the spread of disaggregated rows, which nothing is fitted to."""
    kept = [row for row in spread if row.quantity in (*QUANTITIES, "rate")]
    fitted = fit_all(found, fitted).model_copy(update=_STATUS)
    for quantity in ("token", "ttft"):
        relative = np.abs(np.expm1(log_errors(quantity, found, fitted)))
        print(f"fitted: {quantity} rows {len(relative)} median |error| {np.median(relative):.3f}")
    for stated in (True, False):
        errors: dict[str, list[float]] = {}
        for row in (row for row in rows if row.get("serving_mode") == "disagg"):
            asked, value = asked_of(row), pooled_value(row, fitted)
            if asked is not None and value is not None and replicas_stated(row) == stated:
                errors.setdefault(asked.quantity, []).append(float(np.log(value / row["value"])))
        for quantity, values in errors.items():
            kept.append(spread_of(pooled_quantity(quantity, stated), values))
            relative = np.abs(np.expm1(values))
            print(f"not fitted: {kept[-1].quantity} rows {len(values)} median |error| {np.median(relative):.3f}")
    return fitted.model_copy(update={"spread": tuple(kept)})


_STATUS = {
    "kind": "computed",
    "source": "Operators: least squares on the tables of aiconfigurator_core 0.12.0 (Apache-2.0), the fastest kernel of each "
    "shape. Engines and residuals: robust least squares on published served rows (InferenceX through AIConfigurator's "
    "silicon_sample.csv, InferenceX, TensorRT-LLM, gpt-fast, torchao, exllamav2, AutoAWQ, LitGPT)",
    "as_of": "2026-11-26",
    "command": "python -m benchmarks.planner_accuracy.fit_inference --truth DIR --operators DIR --cross-validate",
}


if __name__ == "__main__":
    main()
