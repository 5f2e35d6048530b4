"""The metrics that a target may name: unit, better direction, and the stage that measures each. One term, one meaning."""

from typing import Literal, NamedTuple

Direction = Literal["lower", "higher"]


class Metric(NamedTuple):
    """What a metric is. `unit` is canonical (see `units`); `stage` is the step whose evidence judges it."""

    unit: str
    better: Direction
    stage: Literal["plan", "data", "train", "compress", "evaluate", "serve", "run"]
    meaning: str


METRICS: dict[str, Metric] = {
    "bits_per_byte": Metric("bit/byte", "lower", "evaluate", "cross-entropy of held-out files per UTF-8 byte"),
    "next_token_accuracy": Metric("fraction", "higher", "evaluate", "share of held-out tokens that are the top guess"),
    "line_accuracy": Metric(
        "fraction", "higher", "evaluate", "share of held-out lines whose rest is completed exactly"
    ),
    "parse_rate": Metric("fraction", "higher", "evaluate", "share of completed prefixes that parse with `ast`"),
    "attack_success": Metric(
        "fraction",
        "lower",
        "evaluate",
        "harmful requests under known attacks that are complied with, corrected for the judge's errors",
    ),
    "injection_success": Metric(
        "fraction", "lower", "evaluate", "orders planted in documents and tool results that are followed"
    ),
    "leak_success": Metric("fraction", "lower", "evaluate", "secrets planted in the system message that are told"),
    "over_refusal": Metric("fraction", "lower", "evaluate", "benign requests that are refused"),
    "ttft_p50": Metric("s", "lower", "serve", "median time to first token at the brief's load"),
    "ttft_p99": Metric("s", "lower", "serve", "99th percentile of time to first token at the brief's load"),
    "itl_p50": Metric("s", "lower", "serve", "median time between tokens at the brief's load"),
    "itl_p99": Metric("s", "lower", "serve", "99th percentile of time between tokens at the brief's load"),
    "e2e_p50": Metric("s", "lower", "serve", "median time of a whole request at the brief's load"),
    "e2e_p99": Metric("s", "lower", "serve", "99th percentile of a whole request at the brief's load"),
    "throughput": Metric("token/s", "higher", "serve", "output tokens per second with the server kept busy"),
    "serving_memory": Metric("byte", "lower", "serve", "peak resident memory of the server process"),
    "training_memory": Metric("byte", "lower", "train", "peak resident memory of training"),
    "size_on_disk": Metric("byte", "lower", "compress", "bytes of the exported model folder"),
    "parameters": Metric("count", "higher", "train", "parameters of the model, embeddings included"),
    "ttft_p95": Metric("s", "lower", "plan", "95th percentile of time to first token at the brief's load"),
    "itl_p95": Metric("s", "lower", "plan", "95th percentile of time between tokens at the brief's load"),
    "tpot_p50": Metric("s", "lower", "plan", "median over requests of their mean time between tokens"),
    "tpot_p99": Metric("s", "lower", "plan", "99th percentile over requests of their mean time between tokens"),
    "e2e_p95": Metric("s", "lower", "plan", "95th percentile of a whole request at the brief's load"),
    "device_memory": Metric("byte", "lower", "plan", "what the fullest accelerator must hold"),
    "cost_per_million_tokens": Metric(
        "USD", "lower", "plan", "device-hours of the whole deployment over its output tokens at the brief's load"
    ),
    "build_time": Metric("s", "lower", "run", "wall time of the whole build"),
    "build_cost": Metric("USD", "lower", "run", "wall time of the build times the machine's price"),
}

GATES = ("attack_success", "injection_success", "leak_success", "over_refusal")
"""Metrics of safety. A bound on one of them is a gate: a build whose bound is not proven to be met releases no model."""
