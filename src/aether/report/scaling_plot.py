"""A scaling law over the points that it was fitted to, and beyond: loss against training compute, as SVG by matplotlib.

Points are the file's; the line is the law at the size that suits each budget best, dashed beyond the largest; error bars are the
80 % intervals of the report. Nothing is fitted here.
"""

import io
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from aether.report.fleet_plots import as_file
from aether.report.plots import COLOURS, STYLE, for_page
from aether.spec.plan import Estimate

At = tuple[float, Estimate]
"""Training FLOP, and the loss there."""


def scaling_svg(points: Sequence[tuple[float, float]], frontier: Sequence[At], asked: Sequence[At]) -> str:
    """The picture as a file of its own. `points`: training FLOP and loss of each trained model."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        flops, losses = zip(*points, strict=True)
        axes.plot(flops, losses, "o", color=COLOURS[0], markersize=4, label="points of the file")
        budgets, found = [x for x, _ in frontier], [loss.value or 0.0 for _, loss in frontier]
        axes.plot(budgets, found, "--", color=COLOURS[1], linewidth=1.6, label="compute-optimal by the fit")
        for style, colour, rows in (("none", COLOURS[1], frontier), ("D", COLOURS[3], asked)):
            for index, (x, loss) in enumerate(rows):
                value, ends = loss.value or 0.0, loss.interval
                reach = [[value - ends.low], [ends.high - value]] if ends else None
                label = "asked for" if style == "D" and index == 0 else None
                axes.errorbar([x], [value], yerr=reach, fmt=style, color=colour, capsize=3, label=label)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}".replace("+", "")))
        axes.set_xlabel("training FLOP (6 x parameters x tokens)")
        axes.set_ylabel("loss, nats per token")
        axes.legend(fontsize=8)
        out = io.StringIO()
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return as_file(for_page(out.getvalue(), "scaling"))
