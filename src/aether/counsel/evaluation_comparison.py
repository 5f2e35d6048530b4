"""Two evaluations of the same suite side by side: paired differences with intervals, corrected for how many tasks, and what could not be seen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from aether.evidence.items import ItemComparison, compare_items, less_is_better, read_items
from aether.evidence.likelihoods import UNITS, name_of
from aether.evidence.statistics import smallest_detectable
from aether.spec.answer import Page
from aether.spec.base import Noun
from aether.spec.evidence import Evidence, Interval
from aether.spec.report import Cite, Paragraph, Report, Section, Table, Verbatim, Words, heads, text_of

ALPHA = 0.05
Conclusion = Literal["a is better", "b is better", "no evidence of a difference"]


class ComparedTask(Noun):
    """One task and metric of two evaluations."""

    task: str
    metric: str
    a: float
    b: float
    difference: float
    interval: Interval | None
    p_value: float | None
    """Adjusted for every task and metric compared (Holm)."""
    mcnemar_p: float | None
    effect_size: float | None
    """t over the square root of the clusters."""
    detectable: float | None
    """The smallest true difference that these pairs find four times in five."""
    items: int
    clusters: int
    left_out: int
    conclusion: Conclusion


def compared(a: Path, b: Path) -> tuple[ComparedTask, ...]:
    """The two folders' items, paired. Raises InputError where they share none or were asked different things."""
    found = compare_items(read_items(a / "items.jsonl"), read_items(b / "items.jsonl"))
    return tuple(_row(one) for one in found)


def _row(one: ItemComparison) -> ComparedTask:
    paired = one.paired
    return ComparedTask(
        task=one.task,
        metric=one.metric,
        a=one.a,
        b=one.b,
        difference=paired.difference,
        interval=paired.interval,
        p_value=one.p_value,
        mcnemar_p=one.mcnemar_p,
        effect_size=paired.effect_size,
        detectable=None if not paired.se else smallest_detectable(paired.se, paired.clusters),
        items=paired.n,
        clusters=paired.clusters,
        left_out=one.left_out,
        conclusion=_conclusion(one),
    )


def _conclusion(one: ItemComparison) -> Conclusion:
    if one.p_value is None or one.p_value >= ALPHA:
        return "no evidence of a difference"
    return "a is better" if (one.paired.difference < 0) == less_is_better(one.metric) else "b is better"


def comparison_page(rows: Sequence[ComparedTask], a: Path, b: Path) -> Page:
    """The comparison as a page, every number evidence."""
    evidence: list[Evidence] = []
    cells = []
    for number, row in enumerate(rows):
        unit = UNITS.get(name_of(row.metric), "score")
        told = f"items of both folders, task {row.task}, {row.metric}"

        def cite(
            name: str, value: float | None, unit: str, source: str, interval: Interval | None = None, at: int = number
        ) -> tuple[Cite | Words, ...]:
            if value is None:
                return (Words(text="—"),)
            key = f"compare.{at}.{name}"
            evidence.append(
                Evidence(id=key, metric=name, value=value, unit=unit, kind="measured", source=source, interval=interval)
            )
            return (Cite(id=key, show="full"),)

        p_told = f"paired t over clusters, Holm over {len(rows)}; exact McNemar unadjusted: {row.mcnemar_p}"
        cells.append(
            (
                (Verbatim(role="name", text=row.task),),
                (Verbatim(role="name", text=row.metric),),
                cite("a", row.a, unit, told),
                cite("b", row.b, unit, told),
                cite("difference", row.difference, unit, f"{told}, {row.clusters} clusters", row.interval),
                cite("p", row.p_value, "", p_told),
                cite(
                    "detectable",
                    row.detectable,
                    unit,
                    "the smallest true difference that these pairs find four times in five",
                ),
                (Words(text=row.conclusion),),
            )
        )
    table = Table(
        columns=heads("task", "metric", "a", "b", "a less b", "p, corrected", "could see", "conclusion"),
        rows=tuple(cells),
        numeric=(2, 3, 4, 5, 6),
    )
    notes = [
        Paragraph(
            text=text_of("Seeds of training are not in it: these are two sets of weights on the same items."),
            tone="note",
        )
    ]
    if any(row.left_out for row in rows):
        notes.append(
            Paragraph(text=text_of("Some items stand in one of the two alone and are left out."), tone="warning")
        )
    title = text_of(Verbatim(role="path", text=str(a)), " and ", Verbatim(role="path", text=str(b)))
    section = Section(key="comparison", title="Paired differences", blocks=(table, *notes))
    return Page(report=Report(title=title, sections=(section,)), evidence=tuple(evidence))
