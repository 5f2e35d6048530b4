"""Two things in one request that cannot both be meant, as sentences. What is only redundant or ambitious is no contradiction."""

from itertools import pairwise

from aether.counsel.reading.findings import Findings
from aether.counsel.reading.pricing import prices_apart
from aether.spec.answer import Intent
from aether.spec.units import humanize

_ORDER = ("p50", "p95", "p99")
_PROCESSORS = ("EPYC", "Xeon")
"""Of devices on record: what is a CPU itself."""


def contradictions(found: Findings, intent: Intent) -> list[str]:
    """Every contradiction that the parts show."""
    return [*_targets(found), *_fields(found), *_machines(found), *_training(found, intent)]


def _targets(found: Findings) -> list[str]:
    said: dict[str, list[float]] = {}
    for bound in found.bounds:
        values = said.setdefault(bound.metric, [])
        if bound.value not in values:
            values.append(bound.value)
    unit = "s"
    wrong = [
        f"{metric} is bounded by {' and by '.join(humanize(v, unit) if metric.startswith(('ttft', 'itl', 'tpot', 'e2e')) else f'{v:.6g}' for v in values)}: which one holds?"
        for metric, values in said.items()
        if len(values) > 1
    ]
    for family in ("ttft", "itl", "tpot", "e2e"):
        known = [(share, said[f"{family}_{share}"][0]) for share in _ORDER if f"{family}_{share}" in said]
        for (low, a), (high, b) in pairwise(known):
            if a > b:
                wrong.append(
                    f"{family}_{low} <= {humanize(a, unit)} is looser than {family}_{high} <= {humanize(b, unit)}, which already implies it"
                )
    if "ttft_p99" in said and "e2e_p99" in said and said["ttft_p99"][0] > said["e2e_p99"][0]:
        wrong.append("the whole request is bounded more tightly than its first token")
    return wrong


def _fields(found: Findings) -> list[str]:
    said: dict[str, list[str]] = {}
    apart = prices_apart(found)
    for field in found.fields:
        if apart and field.field == "hardware.price_usd_per_hour":
            continue
        values = said.setdefault(field.field, [])
        if field.said not in values:
            values.append(field.said)
    return [
        f"{name} is said to be {' and '.join(values)}: which one holds?"
        for name, values in said.items()
        if len(values) > 1
    ]


def _machines(found: Findings) -> list[str]:
    counts: dict[str, set[int]] = {}
    for one in found.machines:
        if one.count is not None:
            counts.setdefault(one.name, set()).add(one.count)
    wrong = [
        f"{name} is counted as {' and as '.join(map(str, sorted(values)))}: how many are there?"
        for name, values in counts.items()
        if len(values) > 1
    ]
    names = {one.name for one in found.machines if not one.name.startswith(_PROCESSORS)}
    words = " ".join(
        found.text.plain[one.span.start : one.span.end] for one in found.machines if one.name == "this-machine"
    )
    if "this-machine" in names and len(names) > 1 and ("cpu" in words or "no gpu" in words or "without a gpu" in words):
        others = ", ".join(sorted(names - {"this-machine"}))
        wrong.append(f"no GPU, and {others}: which one is there?")
    return wrong


def _training(found: Findings, intent: Intent) -> list[str]:
    methods = {named.method.name for named in found.methods if named.wanted}
    plain = found.text.plain
    wrong = []
    if intent in ("pretrain",) and methods & {"lora", "qlora"}:
        wrong.append("pretraining from scratch has no base model for adapters (LoRA) to sit on")
    if intent == "finetune" and "from scratch" in plain:
        wrong.append("fine-tuning starts from a trained model; from scratch there is none")
    if intent == "finetune" and "full-fine-tuning" in methods and methods & {"lora", "qlora"}:
        wrong.append("full fine-tuning and adapters (LoRA) exclude each other")
    formats = {named.method.format for named in found.methods if named.wanted and named.method.format}
    if "without quantization" in plain and formats & {"int4", "int8", "fp8", "mxfp4", "nvfp4"}:
        wrong.append(f"no quantisation, and {', '.join(sorted(formats))}: which one holds?")
    return wrong
