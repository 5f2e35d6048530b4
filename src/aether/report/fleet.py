"""A fleet plan for a person: the options in one table, the decision, what was left out, and three pictures.

Every number comes from the plan. Markdown links to pictures (SVG, drawn by matplotlib without a display); nothing is decided.
"""

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from aether.spec.fleet import FleetOption, FleetPlan
from aether.spec.plan import Estimate
from aether.spec.units import humanize

SERVING_COLUMNS = ("quality_loss", "ttft_p99", "itl_p99", "device_memory", "cost_per_million_tokens")
TRAINING_COLUMNS = ("quality_loss", "build_time", "mfu", "device_memory", "build_cost")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "aether",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.4,
    "text.parse_math": False,
}


def said(estimate: Estimate | None, *, interval: bool = True) -> str:
    """A value with its interval, or that it is unknown."""
    if estimate is None or estimate.value is None:
        return "unknown"
    text = humanize(estimate.value, estimate.unit)
    if estimate.interval is None or not interval:
        return text
    low, high = (humanize(v, estimate.unit) for v in (estimate.interval.low, estimate.interval.high))
    return f"{text} ({low} to {high})"


def columns(plan: FleetPlan) -> tuple[str, ...]:
    """The metrics of the table."""
    return SERVING_COLUMNS if plan.task == "serve" else TRAINING_COLUMNS


def markdown(plan: FleetPlan, pictures: Sequence[str], exports: Sequence[str]) -> str:
    """The whole page."""
    names = columns(plan)
    rows = [
        [str(i), o.name, *(said(o.estimate(n)) for n in names), o.complexity, o.standing.replace("_", " ")]
        for i, o in enumerate(plan.options, 1)
    ]
    heads = ["", "option", *(n.replace("_", " ") for n in names), "complexity", "targets"]
    lines = [
        f"# {' or '.join(plan.models)}: {plan.task}",
        "",
        f"**Decision: {plan.decided}.** {plan.because}",
        "",
        "## Options",
        "",
    ]
    lines += [
        pipe_table(heads, rows),
        "",
        "Intervals are 80 %; each end alone is kept at 90 %. Kind of every number: computed;",
    ]
    lines += ["its terms with their sources stand in plan.json.", "", "## What would change it", ""]
    lines += [f"- {change}" for change in plan.would_change] or ["- nothing among the options"]
    lines += ["", "## Not known", ""]
    lines += [f"- {e.metric.replace('_', ' ')}: {e.formula}. To settle it: {e.protocol}" for e in plan.unknown] or [
        "- nothing"
    ]
    lines += ["", f"## Left out ({plan.considered:,} layouts weighed)", ""]
    lines += [
        pipe_table(["count", "reason", "for example"], [[f"{x.count:,}", x.meaning, x.example] for x in plan.left_out])
    ]
    lines += ["", *(f"![{name.removesuffix('.svg').replace('-', ' ')}]({name})" for name in pictures)]
    lines += ["", "## Files for the tools", "", *(f"- `{name}`" for name in exports), ""]
    return "\n".join(lines)


def pictures(plan: FleetPlan, latency_at_load: Sequence[tuple[float, float, float]]) -> dict[str, str]:
    """Name -> SVG. `latency_at_load`: (requests per second, median and 99th percentile of the first token in seconds)."""
    found = {"memory-by-part.svg": _draw(lambda axes: _memory(axes, plan))}
    found["cost-against-quality.svg"] = _draw(lambda axes: _cost(axes, plan))
    if latency_at_load:
        found["latency-against-load.svg"] = _draw(lambda axes: _latency(axes, latency_at_load))
    return found


def _draw(paint: Callable[[Axes], None]) -> str:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        paint(figure.add_subplot())
        out = io.StringIO()
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return out.getvalue()


def _memory(axes: Axes, plan: FleetPlan) -> None:
    labels = [str(i) for i, _ in enumerate(plan.options, 1)]
    left = [0.0] * len(labels)
    parts = [{t.name: t.value / 1e9 for t in _terms(option)} for option in plan.options]
    for name in parts[0]:
        values = [part.get(name, 0.0) for part in parts]
        axes.barh(labels, values, left=left, label=name.removesuffix("_bytes").replace("_", " "))
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("GB on the fullest device")
    axes.set_ylabel("option of the table")
    axes.legend(fontsize=8, frameon=False)


def _terms(option: FleetOption) -> Sequence[Any]:
    memory = option.estimate("device_memory")
    assert memory is not None
    return memory.terms


def _cost(axes: Axes, plan: FleetPlan) -> None:
    metric = "cost_per_million_tokens" if plan.task == "serve" else "build_cost"
    priced = all((e := o.estimate(metric)) is not None and e.value is not None for o in plan.options)
    for index, option in enumerate(plan.options, 1):
        cost, loss = option.estimate(metric), option.estimate("quality_loss")
        assert cost is not None and loss is not None
        y = cost.value if priced and cost.value is not None else cost.terms[0].value
        known = loss.value is not None
        axes.plot(
            [100 * loss.value if loss.value is not None else -0.5],
            [y],
            "o",
            fillstyle="full" if known else "none",
            color="C0",
        )
        axes.annotate(
            f" {index} {option.precision}", (100 * loss.value if loss.value is not None else -0.5, y), fontsize=8
        )
    axes.set_xlabel("published loss of quality in percent; hollow, at the left: not known")
    axes.set_ylabel(metric.replace("_", " ") + " in USD" if priced else "device-hours")
    axes.margins(0.15)


def _latency(axes: Axes, points: Sequence[tuple[float, float, float]]) -> None:
    rates = [rate for rate, _, _ in points]
    axes.plot(rates, [p50 for _, p50, _ in points], "o-", label="first token, median")
    axes.plot(rates, [p99 for _, _, p99 in points], "s-", label="first token, 99th percentile")
    axes.set_xlabel("requests per second, on the decided deployment")
    axes.set_ylabel("seconds")
    axes.set_yscale("log")
    axes.legend(fontsize=8, frameon=False)


def pipe_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in lines)
