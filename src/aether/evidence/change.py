"""What a change to a model did to held-out texts: bits per byte before and after, and the paired difference with its interval."""

from collections.abc import Sequence
from typing import Any

from aether.evidence.compare import DocumentScore, compare
from aether.evidence.statistics import ratio
from aether.spec.evidence import Evidence
from aether.spec.run import StepContext


def before_and_after(
    context: StepContext, label: str, before: Sequence[DocumentScore], after: Sequence[DocumentScore], texts: str
) -> tuple[tuple[Evidence, ...], dict[str, Any]]:
    """The evidence, and the same for a summary. A change above zero is a loss: more bits than before."""
    # One folder alone gives no interval: its files are then the units.
    cluster = "folder" if len({score.group for score in before}) > 1 else "file"
    evidence = []
    for when, scores in (("before", before), ("after", after)):
        found = ratio(
            [s.bits for s in scores],
            [s.bytes for s in scores],
            [s.group if cluster == "folder" else s.id for s in scores],
        )
        evidence.append(
            context.measured(
                "bits_per_byte",
                found.value,
                "bit/byte",
                f"{when}, on {texts}",
                label=f"{label}-{when}",
                interval=found.interval,
                n=found.n,
                clusters=found.clusters,
            )
        )
    compared = compare(after, before, cluster=cluster)
    evidence.append(
        context.measured(
            "bits_per_byte_change",
            compared.paired.difference,
            "bit/byte",
            f"after less before, paired, on {texts}",
            label=label,
            interval=compared.paired.interval,
            n=compared.paired.n,
            clusters=compared.paired.clusters,
        )
    )
    said = compared.sentence().replace("a is better", "better after").replace("b is better", "worse after")
    interval = compared.paired.interval
    summary = {
        "before": compared.b,
        "after": compared.a,
        "change": compared.paired.difference,
        "interval": None if interval is None else [interval.low, interval.high],
        "conclusion": said.replace("a - b", "after - before"),
    }
    return tuple(evidence), summary
