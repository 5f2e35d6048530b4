"""AIConfigurator (PyPI `aiconfigurator`) asked about rows on stdin: time to first token and per output token, in milliseconds.

Runs in that package's own environment and imports nothing of ours. Its own names are used: systems, backends, and the model
paths whose configurations it ships; a row that needs another is answered with a reason. Its defaults stand: the newest tables
of a backend, quantisation inferred from the model unless the row states it, batch size the row's own per rank.
"""

import contextlib
import json
import logging
import re
import sys
from importlib import resources

from aiconfigurator.cli.api import cli_estimate

BACKENDS = {"vllm": "vllm", "sglang": "sglang", "trtllm": "trtllm", "tensorrt": "trtllm"}
METRICS = {"ttft_ms": "ttft", "tpot_ms": "tpot"}


def shipped() -> dict[str, str]:
    """Model paths whose configuration the package carries, by their last part in lower case."""
    folder = resources.files("aiconfigurator_core") / "model_configs"
    names = [f.name.removesuffix("_config.json") for f in folder.iterdir() if f.name.endswith("_config.json")]
    paths = [name.replace("--", "/") for name in names if not name.endswith("hf_quant")]
    return {plain(path): path for path in sorted(paths, reverse=True)}


def plain(name: str) -> str:
    """The model without maker, "Meta", "Instruct" and number format, in lower case: what two spellings share."""
    last = name.rsplit("/", 1)[-1].lower()
    return re.sub(r"(meta-|-instruct|-it|-fp8|-nvfp4|-fp4|-bf16|-mxfp4|-\d{4}$)", "", last)


def system_of(hardware: str) -> str:
    """The row's device as the package calls it."""
    low = hardware.lower().replace("-", "_")
    for name in ("gb300", "gb200"):
        if name in low:
            return name
    for name in ("b300", "b200", "h200", "h100", "a100"):
        if name in low:
            return f"{name}_sxm"
    if "l40s" in low:
        return "l40s"
    raise LookupError(f"no such system: {hardware}")


def estimated(row: dict, models: dict[str, str]) -> dict[str, float]:
    """The package's answers by metric. Raises whatever the package raises, and LookupError for what it does not have."""
    if row["metric"] not in METRICS or row.get("serving_mode") == "disagg" or not (row.get("isl") and row.get("osl")):
        raise LookupError("no such question: an aggregated ttft_ms or tpot_ms with lengths is wanted")
    name = row["model"]["name"]
    path = models.get(plain(name))
    if path is None:
        raise LookupError(f"no configuration of {name} is shipped")
    backend = next((b for word, b in BACKENDS.items() if word in row["framework"].lower().replace("-", "")), None)
    if backend is None:
        raise LookupError(f"no such backend: {row['framework']}")
    ranks = row.get("attn_dp") or 1
    batch = row.get("batch_size_per_rank") or max(
        1, round((row.get("concurrency") or row.get("batch_size") or 1) / ranks)
    )
    experts = {"moe_tp_size": row["moe_tp"], "moe_ep_size": row["moe_ep"]} if row.get("moe_ep") else {}
    result = cli_estimate(
        path,
        system_of(row["hardware"]),
        backend_name=backend,
        isl=row["isl"],
        osl=row["osl"],
        batch_size=batch,
        tp_size=row.get("tp") or 1,
        pp_size=row.get("pp") or 1,
        attention_dp_size=ranks,
        gemm_quant_mode=row.get("gemm_quant"),
        moe_quant_mode=row.get("moe_quant"),
        **experts,
    )
    return {metric: float(getattr(result, attribute)) for metric, attribute in METRICS.items()}


def main() -> None:
    """One JSON line in, one out: {"id", "value"} or {"id", "reason"}."""
    logging.disable(logging.CRITICAL)
    models, kept = shipped(), {}
    for line in sys.stdin:
        row = json.loads(line)
        key = row.get("row_id") or row["id"]
        answer = {"id": row["id"]}
        with contextlib.redirect_stdout(sys.stderr):
            try:
                if key not in kept:
                    kept[key] = estimated(row, models)
                answer["value"] = kept[key][row["metric"]]
            except Exception as error:  # noqa: BLE001 - a peer's own errors of any kind are its answer
                answer["reason"] = f"{type(error).__name__}: {str(error)[:120]}"
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
