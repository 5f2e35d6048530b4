"""GenZ (PyPI `genz-llm`) asked about rows on stdin: prefill and decode time of one replica, in milliseconds.

Runs in that package's own environment and imports nothing of ours. It has A100 and H100 systems and models by name; it knows
no queue, so a time to first token is that of one prompt alone. `system_eff` is 1 by its default.
"""

import contextlib
import json
import re
import sys
import warnings

from GenZ.LLM_inference import llm_decode, llm_prefill
from GenZ.Models.default_models import MODEL_DICT

METRICS = ("ttft_ms", "tpot_ms")


def plain(name: str) -> str:
    """The model without maker, "Meta", "Instruct" and number format, in lower case."""
    return re.sub(r"(meta-|-instruct|-base|-hf|-it|-fp8|-nvfp4|-fp4|-bf16|-v0\.1)", "", name.rsplit("/", 1)[-1].lower())


def system_of(row: dict) -> str:
    """The device as the package calls it."""
    low = row["hardware"].lower()
    if re.search(r"(?<!g)h100", low):
        return "H100_GPU"
    if "a100" in low:
        return "A100_40GB_GPU" if "40" in low else "A100_80GB_GPU"
    raise LookupError(f"no such system: {row['hardware']}")


def estimated(row: dict, models: dict[str, str]) -> float:
    """The package's answer. Raises whatever the package raises, and LookupError for what it does not have."""
    if row["metric"] not in METRICS or row.get("serving_mode") == "disagg" or not (row.get("isl") and row.get("osl")):
        raise LookupError("no such question: an aggregated ttft_ms or tpot_ms with lengths is wanted")
    name = row["model"]["name"]
    model = models.get(plain(name))
    if model is None:
        raise LookupError(f"no model {name}")
    precision = str(row.get("precision") or "bf16").lower()
    common = {
        "model": model,
        "input_tokens": row["isl"],
        "system_name": system_of(row),
        "bits": "int8" if "8" in precision else "int4" if "4" in precision else "bf16",
        "tensor_parallel": row.get("tp") or 1,
        "pipeline_parallel": row.get("pp") or 1,
    }
    if row["metric"] == "ttft_ms":
        return float(llm_prefill.prefill_moddeling(batch_size=1, **common)["Latency"])
    batch = row.get("batch_size_per_rank") or row.get("concurrency") or row.get("batch_size") or 1
    return float(llm_decode.decode_moddeling(batch_size=batch, output_tokens=row["osl"], Bb=1, **common)["Latency"])


def main() -> None:
    """One JSON line in, one out: {"id", "value"} or {"id", "reason"}."""
    warnings.simplefilter("ignore")
    models = {plain(name): name for name in sorted(MODEL_DICT.list_models(), reverse=True)}
    for line in sys.stdin:
        row = json.loads(line)
        answer = {"id": row["id"]}
        with contextlib.redirect_stdout(sys.stderr):
            try:
                answer["value"] = estimated(row, models)
            except Exception as error:  # noqa: BLE001 - a peer's own errors of any kind are its answer
                answer["reason"] = f"{type(error).__name__}: {str(error)[:120]}"
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
