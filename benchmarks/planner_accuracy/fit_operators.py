"""Fits the operators of `serving_efficiency.toml` to measured tables: matrix products, experts, attention, all-reduces.

The tables are those of the unpacked `aiconfigurator_core` 0.12.0 wheel (Apache-2.0; parquet). Each kind of operator gets the few
coefficients of a smooth roofline by generation and format; losses are robust (soft L1 on log time), the fastest kernel of each
shape counts. The tables are not kept here. Engines are fitted in `fit_inference`.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from aether.knowledge.library import device
from aether.planning.serving.efficiency import Reduction, Roofline
from aether.planning.serving.operators import ExpertPart
from aether.planning.serving.rooflines import Rates, grouped_s, peak_flops_per_s, product_s, reduce_s, smooth_max
from aether.planning.serving.setup import STORED_BYTES, Format

_SYSTEMS = {
    "ampere": {"a100_sxm": "A100-SXM-80GB"},
    "hopper": {"h100_sxm": "H100-SXM-80GB", "h200_sxm": "H200-SXM-141GB"},
    "blackwell": {"b200_sxm": "B200", "b300_sxm": "B300", "gb200": "GB200", "gb300": "GB300"},
    "ada": {"l40s": "L40S"},
    "blackwell_workstation": {"rtx_pro_6000_server": "RTX-PRO-6000"},
}
_FORMATS: dict[str, Format] = {
    "bfloat16": "bf16",
    "fp8": "fp8",
    "fp8_block": "fp8_block",
    "nvfp4": "nvfp4",
    "int4_wo": "int4",
    "w4a16_mxfp4": "mxfp4",
    "w4a8_mxfp4_mxfp8": "mxfp4",
    "int8_wo": "int8_weight",
    "sq": "int8",
}
_PER_OCTAVE = 400
"""Rows drawn from each doubling of the size, so that small and large shapes weigh alike."""


def _table(folder: Path, generation: str, pattern: str) -> Any:
    import pandas as pd

    found = []
    for system, name in _SYSTEMS[generation].items():
        for path in sorted(folder.glob(f"**/data/{system}/{pattern}.parquet")):
            found.append(pd.read_parquet(path).assign(device=name))
    if not found:
        return pd.DataFrame()
    table = pd.concat(found)
    said = {"framework", "version", "kernel_source", "path", "implementation", "latency", "model_name"}
    shape = [c for c in table.columns if c not in said]
    # Engines choose among kernels: the fastest of each shape is what a tuned engine runs.
    return table[table.latency > 0].groupby(shape, as_index=False, dropna=False).latency.min()


def _even(table: Any, size: Any) -> Any:
    octave = np.log2(np.maximum(1, size)).astype(int)
    return table.assign(octave=octave).groupby("octave").sample(_PER_OCTAVE, replace=True, random_state=0)


def _rates(table: Any, stored_as: Format) -> Rates:
    sheets = {name: device(name) for name in table.device.unique()}
    return Rates(
        np.array([peak_flops_per_s(sheets[name], stored_as) for name in table.device]),
        np.array([sheets[name].memory_bandwidth_bytes_per_s for name in table.device]),
    )


_BOUNDS: dict[str, tuple[float, float, float]] = {
    "compute": (0.5, 0.005, 2.4),
    "memory": (0.7, 0.05, 1.3),
    "rows": (30.0, 0.1, 600.0),
    "columns": (100.0, 0.5, 3000.0),
    "order": (1.8, 0.7, 8.0),
    "launch_s": (1e-5, 3e-7, 3e-4),
    "latency_s": (4e-6, 1e-7, 5e-5),
    "latency_rank_s": (1e-6, 1e-9, 1e-5),
    "share": (0.6, 0.05, 2.0),
}
"""Start, least and greatest value of each coefficient in the fit."""


def _fit(
    names: Iterable[str], time_s: Callable[[dict[str, float]], Any], measured_s: Any
) -> tuple[dict[str, float], float]:
    """The coefficients that minimise the robust log error, and the median relative error that is left."""
    from scipy.optimize import least_squares

    names = list(names)
    start, low, high = (np.log([_BOUNDS[n][i] for n in names]) for i in range(3))

    def residual(x: Any) -> Any:
        return np.log(time_s(dict(zip(names, np.exp(x), strict=True)))) - np.log(measured_s)

    best = least_squares(residual, start, bounds=(low, high), loss="soft_l1", f_scale=0.15)
    values = {n: float(f"{v:.4g}") for n, v in zip(names, np.exp(best.x), strict=True)}
    return values, float(np.median(np.abs(np.expm1(residual(best.x)))))


def _roofline(operator: str, generation: str, stored_as: str, names: str, time_s: Any, measured_s: Any) -> Roofline:
    def build(values: dict[str, float]) -> Roofline:
        filled = {"compute": 1.0, "memory": 1.0, **values}
        return Roofline(operator=operator, generation=generation, format=stored_as, **filled)

    values, error = _fit(names.split(), lambda v: time_s(build(v)), measured_s)
    print(f"{operator:18} {generation:22} {stored_as:10} rows {len(measured_s):6} median error {100 * error:5.1f} %")
    return build(values)


def fit_matrices(folder: Path, generation: str) -> list[Roofline]:
    """Dense matrix products."""
    table = _table(folder, generation, "gemm/*/*/gemm_perf")
    table = table[(table.n.between(512, 65536)) & (table.k.between(512, 32768)) & (table.m <= 16384)]
    found = []
    for stored_as, rows in table.groupby(table.gemm_dtype.map(_FORMATS)):
        rows = _even(rows, rows.m)
        m, n, k, rates = rows.m.to_numpy(float), rows.n.to_numpy(float), rows.k.to_numpy(float), _rates(rows, stored_as)

        def time_s(fit: Roofline, m=m, n=n, k=k, rates=rates, stored=STORED_BYTES[stored_as]) -> Any:
            return fit.launch_s + product_s(m, n, k, stored, rates, fit)

        names = "compute memory rows columns order launch_s"
        found.append(_roofline("matrix", generation, stored_as, names, time_s, rows.latency.to_numpy() / 1e3))
    return found


def fit_experts(folder: Path, generation: str) -> list[Roofline]:
    """Routed experts, under the tables' mildly skewed routing."""
    table = _table(folder, generation, "moe/*/*/moe_perf")
    table = table.assign(moe_dtype=table.moe_dtype.replace("w4a8_mxfp4_mxfp8", "w4a16_mxfp4"))
    shape = [c for c in table.columns if c != "latency"]
    table = table.groupby(shape, as_index=False).latency.min()
    table = table[(table.distribution == "power_law_1.01") & (table.num_tokens <= 16384) & (table.moe_ep_size <= 8)]
    table = table[(table.inter_size / table.moe_tp_size >= 128) & (table.num_experts / table.moe_ep_size >= 4)]
    found = []
    for stored_as, rows in table.groupby(table.moe_dtype.map(_FORMATS)):
        rows = _even(rows, rows.num_tokens)
        experts, ways = rows.num_experts.to_numpy(float), rows.moe_ep_size.to_numpy(float)
        inner, hidden = (
            rows.inter_size.to_numpy(float) / rows.moe_tp_size.to_numpy(float),
            rows.hidden_size.to_numpy(float),
        )
        arrays: Any = (1, experts, rows.topk.to_numpy(float), experts / ways, inner, hidden, 3, stored_as)
        part, tokens, rates = ExpertPart(*arrays), rows.num_tokens.to_numpy(float), _rates(rows, stored_as)

        def time_s(fit: Roofline, part=part, tokens=tokens, rates=rates) -> Any:
            return fit.launch_s + grouped_s(part, tokens, rates, fit, 1.0)

        names = "compute memory rows columns order launch_s"
        found.append(_roofline("experts", generation, stored_as, names, time_s, rows.latency.to_numpy() / 1e3))
    return found


def fit_prefill(folder: Path, generation: str) -> list[Roofline]:
    """Attention of whole prompts: of grouped queries, and of latent attention in its expanded form."""
    table = _table(folder, generation, "attention/*/*/context_attention_perf")
    table = table[
        (table.window_size.fillna(0) == 0) & (table.isl >= 128) & (table.head_dim >= 64) & (table.num_heads >= 4)
    ]
    table = table[table.attn_dtype == "bfloat16"].assign(flops=lambda t: 4.0 * t.num_heads * t.head_dim)
    latent = _table(folder, generation, "mla/*/*/context_mla_perf")
    latent = latent[(latent.isl >= 128) & (latent.num_heads >= 4)].assign(
        flops=lambda t: 2.0 * t.num_heads * (192 + 128)
    )
    found = []
    for kind, rows in (("bf16", table), ("latent", latent)):
        rows = _even(rows, rows.isl * rows.batch_size)
        tokens, seen = (rows.isl * rows.batch_size).to_numpy(float), rows.isl.to_numpy(float) / 2
        flops, peak = rows.flops.to_numpy(float), _rates(rows, "bf16").flops_per_s

        def time_s(fit: Roofline, tokens=tokens, seen=seen, flops=flops, peak=peak) -> Any:
            return fit.launch_s + tokens * (seen + fit.rows) * flops / (peak * fit.compute)

        measured_s = rows.latency.to_numpy() / 1e3
        found.append(_roofline("prefill_attention", generation, kind, "compute rows launch_s", time_s, measured_s))
    return found


def fit_decode(folder: Path, generation: str) -> list[Roofline]:
    """Attention of one token for each sequence: streaming the cache."""
    table = _table(folder, generation, "attention/*/*/generation_attention_perf")
    table = table[(table.window_size.fillna(0) == 0) & (table.head_dim >= 64) & (table.num_heads >= 4)]
    table = table.assign(
        flops=4.0 * table.num_heads * table.head_dim, values=2.0 * table.num_key_value_heads * table.head_dim
    )
    latent = _table(folder, generation, "mla/*/*/generation_mla_perf")
    latent = latent[latent.num_heads >= 4]
    latent = latent.assign(flops=2.0 * latent.num_heads * (576 + 512), values=576.0)
    found = []
    kinds = [("bf16", table, "bfloat16"), ("fp8", table, "fp8"), ("latent", latent, None)]
    for kind, rows, cache in kinds:
        rows = rows[rows.kv_cache_dtype == cache] if cache else rows
        if not len(rows):
            continue
        rows = _even(rows, (rows.isl + rows.step) * rows.batch_size)
        seen = (rows.step * rows.batch_size).to_numpy(float)
        stored = np.where(rows.kv_cache_dtype == "fp8", 1.0, 2.0) * rows["values"].to_numpy(float)
        flops, rates = rows.flops.to_numpy(float), _rates(rows, "bf16")

        def time_s(fit: Roofline, seen=seen, stored=stored, flops=flops, rates=rates) -> Any:
            compute = seen * flops / (rates.flops_per_s * fit.compute)
            return fit.launch_s + smooth_max(compute, seen * stored / (rates.bytes_per_s * fit.memory), fit.order)

        measured_s = rows.latency.to_numpy() / 1e3
        names = "compute memory order launch_s"
        found.append(_roofline("decode_attention", generation, kind, names, time_s, measured_s))
    return found


def fit_reduction(folder: Path, generation: str) -> Reduction:
    """All-reduce: the engines' own kernels and NCCL together."""
    import pandas as pd

    own = _table(folder, generation, "comm/*/*/custom_allreduce_perf")
    nccl = _table(folder, generation, "comm/nccl/*/nccl_perf")
    table = pd.concat([own, nccl[nccl.nccl_dtype == "half"]])
    table = table[(table.op_name == "all_reduce") & (table.num_gpus <= 8) & (table.latency > 0)]
    ranks, message = table.num_gpus.to_numpy(float), 2.0 * table.message_size.to_numpy(float)
    link = np.array([device(name).intra_node_bytes_per_s for name in table.device])
    names = ["latency_s", "latency_rank_s", "share", "order"]
    values, error = _fit(
        names,
        lambda v: reduce_s(message, ranks, link, Reduction(generation=generation, **v)),
        table.latency.to_numpy() / 1e3,
    )
    print(f"{'all-reduce':18} {generation:22} {'':10} rows {len(table):6} median error {100 * error:5.1f} %")
    return Reduction(generation=generation, **values)


def fit_operators(folder: Path) -> tuple[list[Roofline], list[Reduction]]:
    """All operators of all generations."""
    rooflines: list[Roofline] = []
    reductions: list[Reduction] = []
    for each in _SYSTEMS:
        for fit in (fit_matrices, fit_experts, fit_prefill, fit_decode):
            rooflines += fit(folder, each)
        reductions.append(fit_reduction(folder, each))
    return rooflines, reductions
