"""llm-analysis (PyPI `llm-analysis`) asked about rows on stdin: tokens per second per GPU and iteration time in training.

Runs in that package's own environment and imports nothing of ours. The user must say what share of the peak is reached; 0.5
is what its documentation's examples take. Models go in by their numbers, as its own JSON configurations; devices by its names.
"""

import contextlib
import json
import logging
import sys
import tempfile
from pathlib import Path

from llm_analysis.analysis import train

EFFICIENCY = 0.5
METRICS = ("tokens_per_sec_per_gpu", "iteration_time_s")


def device_of(hardware: str) -> str:
    """The device as the package calls it."""
    low = hardware.lower()
    if "a100" in low:
        return "a100-sxm-40gb" if "40" in low else "a100-sxm-80gb"
    if "h100" in low and "gh" not in low:
        return "h100-sxm-80gb"
    raise LookupError(f"no such device: {hardware}")


def estimated(row: dict, folder: Path) -> float:
    """The package's answer. Raises whatever the package raises, and LookupError for what it cannot be told."""
    model = row["model"]
    if row["metric"] not in METRICS or str(row.get("task") or "").lower().startswith("lora"):
        raise LookupError("no such question")
    if not all(model.get(key) for key in ("layers", "hidden", "heads", "vocab")):
        raise LookupError("the row does not state the model's numbers")
    if not all(row.get(key) for key in ("gpus", "seq_len", "global_batch")):
        raise LookupError("the row does not state the batch")
    config = {
        "name": "row",
        "num_layers": model["layers"],
        "n_head": model["heads"],
        "num_key_value_heads": model.get("kv_heads") or model["heads"],
        "hidden_dim": model["hidden"],
        "vocab_size": model["vocab"],
        "max_seq_len": row["seq_len"],
        "ffn_embed_dim": model.get("moe_ffn") or model.get("ffn") or 4 * model["hidden"],
        "moe_num_experts": model.get("experts") or 1,
        "moe_top_k": model.get("topk") or 1,
    }
    path = folder / "model.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    parallel = {name: row.get(name) or 1 for name in ("tp", "pp", "ep")}
    dp = row.get("dp") or row["gpus"] // (parallel["tp"] * parallel["pp"])
    found = train(
        model_name=str(path),
        gpu_name=device_of(row["hardware"]),
        dtype_name="w8a8e16" if "fp8" in str(row.get("precision")).lower() else "w16a16e16",
        log_level="ERROR",
        batch_size_per_gpu=row.get("micro_batch") or 1,
        global_batch_size=row["global_batch"],
        seq_len=row["seq_len"],
        activation_recomputation=2
        if "full" in str(row.get("recompute"))
        else 1
        if "sel" in str(row.get("recompute"))
        else 0,
        ds_zero=row.get("zero_stage") or 0,
        dp_size=dp,
        tp_size=parallel["tp"],
        pp_size=parallel["pp"],
        ep_size=parallel["ep"],
        total_num_gpus=row["gpus"],
        flops_efficiency=EFFICIENCY,
    )
    iteration_s = float(found["latency_per_iter"])
    if row["metric"] == "iteration_time_s":
        return iteration_s
    return row["global_batch"] * row["seq_len"] / iteration_s / row["gpus"]


def main() -> None:
    """One JSON line in, one out: {"id", "value"} or {"id", "reason"}."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            row = json.loads(line)
            answer = {"id": row["id"]}
            with contextlib.redirect_stdout(sys.stderr):
                try:
                    answer["value"] = estimated(row, Path(folder))
                except (Exception, SystemExit) as error:  # noqa: BLE001 - a peer's own errors of any kind are its answer
                    answer["reason"] = f"{type(error).__name__}: {str(error)[:120]}"
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
