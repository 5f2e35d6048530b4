"""Figures as SVG by matplotlib: deterministic, without a date, text as text, colours from the page's own variables.

Every mark is looked up in the ledger when it is drawn; a curve's points belong to a file whose hash the record lists.
User text is escaped by the SVG writer, and `$` in it is no formula. No external reference remains in the result.
"""

import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from aether.report.sources import Sources
from aether.report.wording import scale
from aether.spec.evidence import Evidence
from aether.spec.report import Figure, Mark

INK, MUTED, GRID = "#010101", "#020202", "#030303"
COLOURS = tuple(f"#0a000{i}" for i in range(1, 9))
"""Stand-ins that the page's style replaces: no one sees these values."""
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "line"} | {c: f"series-{i}" for i, c in enumerate(COLOURS)}
_ROLE = {"measured": COLOURS[0], "chosen": COLOURS[0], "predicted": COLOURS[1], "other": COLOURS[2]}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "aether",
    "font.size": 9.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "text.parse_math": False,
    "legend.frameon": False,
    "axes.formatter.useoffset": False,
}


def to_svg(figure: Figure, sources: Sources) -> str:
    """The figure as an `<svg>` element to stand inside a page. The same figure gives the same bytes."""
    with mpl.rc_context(STYLE):
        rows = len(figure.marks) if figure.form == "intervals" else 0
        height = max(1.6, 0.8 + 0.36 * rows) if rows else 3.3
        canvas = Canvas(figsize=(7.2, height), layout="constrained")
        canvas.patch.set_alpha(0)
        axes = canvas.add_subplot()
        axes.patch.set_alpha(0)
        {"curve": _curve, "intervals": _intervals, "scatter": _scatter}[figure.form](axes, figure, sources)
        axes.set_xlabel(figure.x_label)
        out = io.StringIO()
        FigureCanvasSVG(canvas).print_svg(out, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return for_page(out.getvalue(), figure.name)


def for_page(svg: str, name: str) -> str:
    """Matplotlib's SVG to stand inside a page: its own ids, the page's colours and font, nothing of the file around it."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id|href|xlink:href)="(#?)', rf'\1="\2{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-")
    svg = re.sub(r'\s(width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg.replace("<svg", f'<svg data-figure="{name}" role="img"', 1)


def _curve(axes: Axes, figure: Figure, sources: Sources) -> None:
    for index, line in enumerate(figure.lines):
        colour = COLOURS[index % len(COLOURS)]
        if line.style == "dots":
            axes.plot(line.x, line.y, ".", color=colour, markersize=6, label=line.name)
        else:
            draw = "steps-post" if line.style == "steps" else "default"
            axes.plot(line.x, line.y, color=colour, linewidth=1.6, drawstyle=draw, label=line.name)
    last = max((max(line.x) for line in figure.lines if line.x), default=1.0)
    for mark in figure.marks:
        evidence = sources.ledger[mark.y]
        x = sources.ledger[mark.x].value if mark.x else last
        axes.errorbar(
            [x], [evidence.value], yerr=_reach(evidence, 1.0), fmt=_shape(mark), label=mark.label, **_look(mark)
        )
    if figure.log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    if figure.log_y:
        axes.set_yscale("log")
        # Matplotlib's own labels are TeX, which a figure whose text stays text would show as it is written.
        low, high = axes.get_ylim()
        if high < 100 * low:
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(figure.y_label)
    axes.legend(fontsize=9, **({"ncols": 2} if len(figure.lines) > 4 else {}))


def _intervals(axes: Axes, figure: Figure, sources: Sources) -> None:
    factor, _ = scale(sources.ledger[figure.marks[0].y].value, sources.ledger[figure.marks[0].y].unit)
    for row, mark in enumerate(figure.marks):
        evidence = sources.ledger[mark.y]
        x = evidence.value / factor
        axes.errorbar([x], [row], xerr=_reach(evidence, factor), fmt=_shape(mark), **_look(mark))
    axes.set_yticks(range(len(figure.marks)), [mark.label for mark in figure.marks])
    axes.set_ylim(len(figure.marks) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.08)


def _scatter(axes: Axes, figure: Figure, sources: Sources) -> None:
    first = figure.marks[0]
    assert first.x is not None, "a scatter needs x"
    across = scale(max(sources.ledger[m.x].value for m in figure.marks if m.x), sources.ledger[first.x].unit)[0]
    for mark in figure.marks:
        assert mark.x is not None
        right, up = sources.ledger[mark.x], sources.ledger[mark.y]
        axes.errorbar([right.value / across], [up.value], yerr=_reach(up, 1.0), fmt=_shape(mark), **_look(mark))
        axes.annotate(
            mark.label, (right.value / across, up.value), xytext=(7, 5), textcoords="offset points", fontsize=9
        )
    axes.set_ylabel(figure.y_label)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.18, y=0.2)


def _reach(evidence: Evidence, factor: float) -> list[list[float]] | None:
    interval = evidence.interval
    if interval is None:
        return None
    low, high = max(0.0, evidence.value - interval.low), max(0.0, interval.high - evidence.value)
    return [[low / factor], [high / factor]]


def _shape(mark: Mark) -> str:
    return {"measured": "o", "chosen": "D", "predicted": "s", "other": "o"}[mark.role]


def _look(mark: Mark) -> dict:
    colour = _ROLE[mark.role]
    hollow = mark.role == "predicted"
    return {
        "color": colour,
        "markerfacecolor": "none" if hollow else colour,
        "markersize": 6,
        "elinewidth": 1.6,
        "capsize": 3,
    }


def _short(value: float, _: int | None = None) -> str:
    factor, spelled = scale(value, "count")
    return f"{value / factor:g} {spelled}".strip()
