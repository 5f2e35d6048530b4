"""A fleet plan in words: the numbers with interval and evidence kind, and the whole plan as Markdown.

Every number comes from the plan. The pictures are those of `fleet_plots`, the page for a browser is `fleet_page`.
"""

from collections.abc import Sequence

from aether.spec.fleet import FleetPlan
from aether.spec.plan import Estimate
from aether.spec.units import humanize, humanize_range

LATENCIES = ("ttft_p99", "itl_p99")
"""What a deployment's speed is shown by, where the brief bounds no other."""
SHORT = {
    "quality_loss": "quality loss",
    "cost_per_million_tokens": "cost / M tokens",
    "device_memory": "memory / device",
    "mfu": "MFU",
}


def said(estimate: Estimate | None, *, interval: bool = True) -> str:
    """A value with its interval, or that it is unknown."""
    if estimate is None or estimate.value is None:
        return "unknown"
    text, ends = _spelled(estimate.value, estimate.unit), interval_of(estimate)
    return f"{text} ({ends})" if ends and interval else text


def _spelled(value: float, unit: str) -> str:
    return humanize(_rounded(value, unit), "fraction" if unit == "ratio" else unit)


def _rounded(value: float, unit: str) -> float:
    """With three digits: a prediction has no more."""
    return float(f"{value:.3g}") if unit in ("USD", "token/s") else value


def interval_of(estimate: Estimate | None) -> str:
    """ "98 to 413 ms"; empty without an interval, and where both ends are said as the value is."""
    if estimate is None or estimate.value is None or estimate.interval is None:
        return ""
    unit, range_ = "fraction" if estimate.unit == "ratio" else estimate.unit, estimate.interval
    low, high, value = (_rounded(v, unit) for v in (range_.low, range_.high, estimate.value))
    return humanize_range(low, high, value, unit)


def kind_of(estimate: Estimate | None) -> str:
    """Where a number comes from, its price apart: "computed, price cited"."""
    if estimate is None or estimate.value is None:
        return "unknown"
    price = next((term for term in estimate.terms if term.name == "price"), None)
    return estimate.kind if price is None else f"{estimate.kind}, price {price.kind}"


def columns(plan: FleetPlan) -> tuple[str, ...]:
    """The metrics of the table: quality, what the brief bounds, memory, cost."""
    serving = plan.task == "serve"
    last = ("device_memory", "cost_per_million_tokens" if serving else "build_cost")
    asked = [t.metric for t in plan.targets if t.metric not in last]
    usual = LATENCIES if serving else ("build_time", "mfu")
    speed = [*asked, *(name for name in usual if name not in asked)][: max(2, len(asked))]
    return ("quality_loss", *speed, *last)


def asked(plan: FleetPlan, metric: str) -> str:
    """The bound on a metric, or nothing."""
    target = next((t for t in plan.targets if t.metric == metric), None)
    if target is None:
        return ""
    return f"{'≤' if target.comparison == '<=' else '≥'} {humanize(target.value, target.unit)}"


def heading(plan: FleetPlan, metric: str) -> str:
    """A column's name with what is asked of it."""
    name, bound = SHORT.get(metric, metric.replace("_", " ")), asked(plan, metric)
    return f"{name} {bound}".strip()


def name_of(plan: FleetPlan) -> str:
    """The plan's title."""
    return f"{' or '.join(plan.models)}: {plan.task}"


def kinds(plan: FleetPlan) -> str:
    """One sentence on the evidence behind a plan's numbers."""
    found: dict[str, list[str]] = {}
    for metric in columns(plan):
        for option in plan.options:
            kind = kind_of(option.estimate(metric))
            names = found.setdefault(kind, [])
            if kind != "unknown" and SHORT.get(metric, metric.replace("_", " ")) not in names:
                names.append(SHORT.get(metric, metric.replace("_", " ")))
    parts = [f"{kind}: {', '.join(names)}" for kind, names in found.items() if names]
    return f"Intervals are 80 %; each end alone is kept at 90 %. {'; '.join(parts)}."


def markdown(plan: FleetPlan, pictures: Sequence[str], exports: Sequence[str], notes: Sequence[str]) -> str:
    """The whole page."""
    names = columns(plan)
    rows = [
        [str(i), o.name, *(said(o.estimate(n)) for n in names), o.complexity, o.standing.replace("_", " ")]
        for i, o in enumerate(plan.options, 1)
    ]
    heads = ["", "option", *(heading(plan, n) for n in names), "complexity", "targets"]
    lines = [f"# {name_of(plan)}", "", f"**Decision: {plan.decided}.** {plan.because}", "", "## Options", ""]
    lines += [pipe_table(heads, rows), "", kinds(plan), "Every term with its source stands in plan.json.", ""]
    lines += ["## What would change it", ""]
    lines += [f"- {change}" for change in plan.would_change] or ["- nothing among the options"]
    lines += ["", "## Not known", ""]
    lines += [f"- {unknown(e)}" for e in plan.unknown] or ["- nothing"]
    lines += ["", f"## Left out ({plan.considered:,} layouts weighed)", ""]
    lines += [
        pipe_table(["count", "reason", "for example"], [[f"{x.count:,}", x.meaning, x.example] for x in plan.left_out])
    ]
    lines += ["", *(f"![{name.removesuffix('.svg').replace('-', ' ')}]({name})" for name in pictures)]
    lines += ["", "## Files for the tools", "", *(f"- `{name}`" for name in exports)]
    lines += [*(f"- note: {note}" for note in notes), ""]
    return "\n".join(lines)


def unknown(estimate: Estimate) -> str:
    """What has no number, why, and what would settle it."""
    return f"{estimate.metric.replace('_', ' ')}: {estimate.formula}. To settle it: {estimate.protocol}"


def pipe_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in lines)
