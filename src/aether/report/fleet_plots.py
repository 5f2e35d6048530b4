"""The three pictures of a fleet plan, as SVG by matplotlib: memory by part, cost against quality, latency against load.

Colours are the page's own variables (`plots.for_page`), so that a picture follows a dark page; as a file of its own it carries
them with it. Nothing is decided here, and matplotlib is loaded only where a picture is drawn.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from aether.report.fleet import SHORT
from aether.report.plots import COLOURS, GRID, INK, MUTED, STYLE, for_page
from aether.spec.fleet import FleetOption, FleetPlan
from aether.spec.units import humanize

TITLES = {
    "memory-by-part": "Memory of the fullest device, by part",
    "cost-against-quality": "Cost against quality",
    "latency-against-load": "Time to first token against load, on the decided deployment",
}


def pictures(plan: FleetPlan, latency_at_load: Sequence[tuple[float, float, float]], load: float) -> dict[str, str]:
    """Name -> SVG for a page. `latency_at_load`: (requests per second, median and 99th percentile of the first token in
    seconds); `load`: the requests per second that the brief asks for."""
    found = {
        "memory-by-part": _draw("memory", lambda axes: _memory(axes, plan), 0.9 + 0.34 * len(plan.options)),
        "cost-against-quality": _draw("cost", lambda axes: _cost(axes, plan), 3.3),
    }
    if latency_at_load:
        found["latency-against-load"] = _draw("load", lambda axes: _latency(axes, plan, latency_at_load, load), 3.3)
    return found


def as_file(svg: str) -> str:
    """A picture that stands alone: with the page's colours, light or dark."""
    css = (Path(__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    colours = css[: css.index("* {")]
    head, rest = svg.split(">", 1)
    return f"{head}><style>{colours} svg {{ background: var(--paper); font-family: sans-serif; }}</style>{rest}\n"


def _draw(name: str, paint: Callable[[Axes], None], height: float) -> str:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, height), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        paint(axes)
        out = io.StringIO()
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return for_page(out.getvalue(), name)


def _memory(axes: Axes, plan: FleetPlan) -> None:
    labels = [str(i) for i, _ in enumerate(plan.options, 1)]
    parts = []
    for option in plan.options:
        memory = option.estimate("device_memory")
        assert memory is not None
        parts.append({term.name: term.value / 1e9 for term in memory.terms})
    names = list(dict.fromkeys(name for part in parts for name in part))
    # Parts without room for a colour of their own, the smallest, are one.
    names.sort(key=lambda name: -max(part.get(name, 0.0) for part in parts))
    groups = [*([name] for name in names[: len(COLOURS) - 1]), names[len(COLOURS) - 1 :]]
    left = [0.0] * len(labels)
    for colour, group in zip(COLOURS, groups, strict=False):
        values = [sum(part.get(name, 0.0) for name in group) for part in parts]
        if max(values, default=0.0) <= 0:
            continue
        spelled = group[0].removesuffix("_bytes").replace("_", " ") if len(group) == 1 else "the rest"
        axes.barh(labels, values, left=left, color=colour, label=spelled, height=0.62)
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("GB")
    axes.set_ylabel("option")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _cost(axes: Axes, plan: FleetPlan) -> None:
    metric = "cost_per_million_tokens" if plan.task == "serve" else "build_cost"
    priced = any((e := o.estimate(metric)) is not None and e.value is not None for o in plan.options)
    shown = [
        (i, o, cost) for i, o in enumerate(plan.options, 1) if (cost := _cost_of(o, metric, priced=priced)) is not None
    ]
    losses = {i: loss.value for i, o, _ in shown if (loss := o.estimate("quality_loss")) and loss.value is not None}
    reach = max([*losses.values(), 0.01]) * 100
    open_ones = [i for i, _, _ in shown if i not in losses]
    for index, option, (value, low, high) in shown:
        known = index in losses
        # Where nobody knows the loss, there is no place on the axis: they stand side by side in a zone of their own.
        x = 100 * losses[index] if known else reach * (1.35 + 0.9 * open_ones.index(index) / max(1, len(open_ones)))
        look = {"color": COLOURS[0 if known else 1], "markerfacecolor": None if known else "none", "capsize": 3}
        axes.errorbar([x], [value], yerr=[[value - low], [high - value]], fmt="o", markersize=6, elinewidth=1.4, **look)
        text = f"{index} {option.precision}" if index != 1 else f"1 {option.precision}, decided"
        axes.annotate(text, (x, value), xytext=(6, 4), textcoords="offset points", fontsize=8, color=INK)
    if open_ones:
        axes.axvline(reach * 1.2, color=MUTED, linewidth=0.8, linestyle=":")
        place = {"xycoords": ("data", "axes fraction"), "fontsize": 8, "color": MUTED, "va": "top"}
        axes.annotate("loss not known", (reach * 1.24, 0.99), **place)
    axes.set_xlim(-0.12 * reach, reach * (2.5 if open_ones else 1.3))
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= reach * 1.05])
    axes.set_ylim(0, 1.18 * max(high for _, _, (_, _, high) in shown))
    axes.set_xlabel("published loss of quality, %")
    axes.set_ylabel(f"{SHORT.get(metric, metric.replace('_', ' '))}, USD" if priced else "device-hours")


def _cost_of(option: FleetOption, metric: str, *, priced: bool) -> tuple[float, float, float] | None:
    """Value and ends; without any price in the plan the device-hours, and nothing for an option that alone has none."""
    cost = option.estimate(metric)
    assert cost is not None
    if not priced:
        hours = cost.terms[0].value
        return hours, hours, hours
    if cost.value is None:
        return None
    low, high = (cost.interval.low, cost.interval.high) if cost.interval else (cost.value, cost.value)
    return cost.value, min(cost.value, low), max(cost.value, high)


def _latency(axes: Axes, plan: FleetPlan, points: Sequence[tuple[float, float, float]], load: float) -> None:
    rates = [rate for rate, _, _ in points]
    first = plan.decision.estimate("ttft_p99")
    if first is not None and first.value and first.interval:
        low, high = first.interval.low / first.value, first.interval.high / first.value
        tails = [p99 for _, _, p99 in points]
        ends = ([p99 * low for p99 in tails], [p99 * high for p99 in tails])
        axes.fill_between(rates, *ends, color=COLOURS[1], alpha=0.18, linewidth=0, label="its 80 % interval")
    axes.plot(rates, [p99 for _, _, p99 in points], "s-", color=COLOURS[1], markersize=5, label="99th percentile")
    axes.plot(rates, [p50 for _, p50, _ in points], "o-", color=COLOURS[0], markersize=5, label="median")
    axes.axvline(load, color=MUTED, linewidth=1, linestyle="--", label="the load that is asked for")
    for metric, colour in (("ttft_p99", COLOURS[1]), ("ttft_p50", COLOURS[0])):
        target = next((t for t in plan.targets if t.metric == metric), None)
        if target is not None:
            axes.axhline(
                target.value, color=colour, linewidth=1, linestyle=":", label=f"target {humanize(target.value, 's')}"
            )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: humanize(value, "s")))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    axes.grid(which="minor", axis="y", color=GRID, linewidth=0.3)
    axes.set_xlim(left=0)
    axes.set_xlabel("requests per second")
    axes.set_ylabel("time to first token")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
