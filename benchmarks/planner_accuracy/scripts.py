"""How the servers of one source's rows were started, where the row does not say: what its published scripts hand to the engines.

SemiAnalysisAI/InferenceX (InferenceMAX before), benchmarks/single_node/fixed_seq_len/*.sh, read 2026-11-25: the ones of DeepSeek-R1,
Qwen3.5, GLM-5, MiniMax-M2.5, Kimi-K2.5 and gpt-oss on H100, H200, B200 and B300. A model that is not among them gets what its engine
and device get in most of them. The load: lengths uniform between 0.8 and 1 times the stated, ten requests for each client after two
for warming up, all sent at once (utils/bench_serving through benchmarks/benchmark_lib.sh). vLLM's `--max-num-batched-tokens` of twice
the prompt (MiniMax-M2.5 and Kimi-K2.5 on Blackwell) is left out: rows predicted with it lie further off (LOG, 2026-11-25).
"""

import re
from typing import Any, NamedTuple

from benchmarks.planner_accuracy.shapes import whole

LENGTHS = frozenset({(1024, 1024), (8192, 1024), (1024, 8192)})
"""Prompt and output tokens of its workloads."""


class Launch(NamedTuple):
    """What the script says."""

    chunk_tokens: int
    intake_steps: int
    memory_share: float = 0.9


def of_inferencex(row: dict[str, Any]) -> bool:
    """Whether the row was measured by these scripts."""
    source = str(row.get("source"))
    ours = "InferenceX" in source and "experimental" not in source and "gap-analysis/data" not in source
    return ours and (whole(row.get("isl")), whole(row.get("osl"))) in LENGTHS


def launch(row: dict[str, Any], engine: str) -> Launch | None:
    """The settings of a row's server; None for rows of other sources and engines."""
    if not of_inferencex(row) or row.get("serving_mode") == "disagg":
        return None
    model = row.get("model")
    name = str(model.get("name") if isinstance(model, dict) else model).lower()
    if engine == "sglang":
        return _sglang(row, name)
    if engine != "trtllm":
        return None
    tokens, clients = whole(row.get("isl")), whole(row.get("concurrency"))
    return Launch(20_000 if "gpt-oss" in name else max(8192, (clients + tokens + 127) // 64 * 64), 1)


def _sglang(row: dict[str, Any], name: str) -> Launch:
    """SGLang looks for new requests every 10 or 30 decode steps on Blackwell, and at its default, each, on Hopper."""
    hardware, precision, clients = (
        str(row.get("hardware")).lower(),
        str(row.get("precision")),
        whole(row.get("concurrency")),
    )
    usual = 30 if clients >= 16 else 10
    if not re.search(r"b[23]00", hardware):
        return Launch(16_384 if "qwen" in name else 32_768, 1)
    if "glm" in name:
        return Launch(32_768, 10 if "fp4" in precision else 1)
    if "qwen" in name and precision == "fp8" and "b300" in hardware and str(row.get("framework_version")) >= "0.5.10":
        return Launch(
            16_384, 10
        )  # 0.5.9 was started as on the B200 (assumed: the script of that release was not found)
    if "qwen" in name and "fp4" in precision and "b200" in hardware:
        return Launch(16_384, 30 if clients > 4 else 10)
    if "deepseek" in name and "fp4" in precision:
        return Launch(16_384, usual)
    if "deepseek" in name and whole(row.get("tp")) == 4:
        return Launch(8192, 10, 0.95)
    return Launch(32_768, usual)
