"""`aether fit-scaling`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aether.surfaces.cli.edge import explained, json_option, say_json

if TYPE_CHECKING:
    from aether.planning.scaling.report import FitReport
    from aether.spec.plan import Estimate


@click.command("fit-scaling")
@click.argument("points", type=click.Path(path_type=Path))
@click.option(
    "--resamples", type=int, default=400, show_default=True, help="Bootstrap fits for the intervals; 0 for none."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap.")
@click.option("--tied", is_flag=True, help="One exponent for both terms: for few points, or for over-trained models.")
@click.option("--at", multiple=True, metavar="PARAMETERS,TOKENS", help="Predict the loss there, as in 70B,15T.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write a picture of the fit to this SVG file.")
@json_option
@explained
def fit_scaling(
    points: Path, resamples: int, seed: int, tied: bool, at: tuple[str, ...], plot: Path | None, as_json: bool
) -> int:
    """Fit E + A / N^alpha + B / D^beta to a CSV of trained models with columns parameters, tokens, loss."""
    from aether.planning.scaling.report import report_fit

    report = report_fit(points, resamples, seed, tied, at)
    if plot is not None:
        from aether.evidence.files import write_atomically
        from aether.report.scaling_plot import scaling_svg

        seen = [(one.training_flops, one.loss) for one in report.seen]
        frontier = [(row.training_flops.value or 0.0, row.loss) for row in report.frontier]
        asked = [(one.training_flops, one.loss) for one in report.predictions]
        write_atomically(plot, scaling_svg(seen, frontier, asked))
    if as_json:
        say_json({"status": "ok", **report.model_dump(mode="json")})
    else:
        print_fit(report)
    return 0


def print_fit(report: "FitReport") -> None:
    """The fit in a terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"{report.points} points, relative residual {report.residual_rms:.2%} (root mean square)\n")
    table = Table("coefficient", "value", "95 % interval", "is", box=None, pad_edge=False)
    for row in report.coefficients:
        span = "-" if row.interval is None else f"{row.interval.low:.4g} .. {row.interval.high:.4g}"
        table.add_row(row.name, f"{row.value:.4g}", span, row.meaning)
    console.print(table)
    console.print("\nCompute-optimal, with 80 % intervals of the coefficients alone:\n")
    table = Table("training FLOP", "parameters", "tokens", "loss", "", box=None, pad_edge=False)
    for row in report.frontier:
        cells = [_cell(each) for each in (row.parameters, row.tokens, row.loss)]
        table.add_row(f"{row.training_flops.value:.3g}", *cells, "extrapolated" if row.extrapolated else "")
    console.print(table)
    for one in report.predictions:
        where = f"{one.parameters:.3g} parameters, {one.tokens:.3g} tokens"
        note = f"; {one.extrapolated}" if one.extrapolated else ""
        console.print(f"\nloss at {where}: {_cell(one.loss)}, 80 % of single runs{note}", highlight=False)
    for warning in report.warnings:
        console.print(f"[yellow]warning[/]: {warning}")


def _cell(estimate: "Estimate") -> str:
    span = estimate.interval
    return f"{estimate.value:.4g}" + ("" if span is None else f" ({span.low:.4g} .. {span.high:.4g})")
