"""What the pages draw: templates with everything escaped, and the two plots as plain SVG with text that a reader can hear."""

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

import aether
from aether.counsel.watching import Curve
from aether.counsel.whatif import Point
from aether.report.fleet import said
from aether.report.html import fragment
from aether.report.sources import Sources
from aether.spec.answer import Page
from aether.spec.fleet import FleetOption
from aether.spec.units import humanize

_FOLDER = Path(__file__).parent
STATIC = _FOLDER / "static"
_WIDTH, _HEIGHT = 640.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 70.0, 16.0, 14.0, 44.0


def environment() -> Environment:
    """The templates; what is undefined is an error of ours."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "version": aether.__version__,
        "pareto": pareto,
        "loss_curve": loss_curve,
        "page_of": page_of,
        "duration": duration,
    }
    made.filters["said_of"] = _said_of
    return made


def _said_of(option: FleetOption, metric: str) -> str:
    """An option's estimate in words; nothing where it has none."""
    found = option.estimate(metric)
    return said(found) if found is not None else ""


def page_of(page: Page) -> Markup:
    """A page of counsel inside ours, through the same guard as a report."""
    return Markup(fragment(page.report, Sources.of_page(page)))


def duration(seconds: float | None) -> str:
    """For people; a dash for what is not known."""
    return "—" if seconds is None else humanize(seconds, "s", 2)


def _scale(low: float, high: float, start: float, end: float):
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _ticks(low: float, high: float, count: int = 4) -> list[float]:
    span = (high - low) or 1.0
    step = 10 ** math.floor(math.log10(span / count))
    step *= next((m for m in (1, 2, 5, 10) if span / (step * m) <= count), 10)
    first = math.ceil(low / step) * step
    return [first + i * step for i in range(int((high - first) / step) + 1)]


def _svg(body: str, title: str, description: str, x_label: str, y_label: str) -> Markup:
    frame = (
        f'<text x="{_LEFT + (_WIDTH - _LEFT) / 2:.0f}" y="{_HEIGHT - 6:.0f}" class="label" text-anchor="middle">{escape(x_label)}</text>'
        f'<text x="14" y="{_TOP + 8:.0f}" class="label">{escape(y_label)}</text>'
    )
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" class="plot" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f"<desc>{escape(description)}</desc>{frame}{body}</svg>"
    )


def _axes(xs, ys, x_text, y_text, x, y) -> str:
    lines = [
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(v):.1f}" y2="{y(v):.1f}"/><text class="tick" x="{_LEFT - 8}" y="{y(v) + 4:.1f}" text-anchor="end">{escape(y_text(v))}</text>'
        for v in ys
    ]
    lines += [
        f'<text class="tick" x="{x(v):.1f}" y="{_HEIGHT - _BOTTOM + 18:.1f}" text-anchor="middle">{escape(x_text(v))}</text>'
        for v in xs
    ]
    return "".join(lines)


def pareto(points: tuple[Point, ...], bound_s: float | None) -> Markup:
    """Cost against the first token at p99: each option a dot, the decided one ringed, the bound a line."""
    drawn = [p for p in points if p.x is not None and p.y is not None]
    if not drawn:
        return Markup("")
    xs, ys = [p.x or 0.0 for p in drawn], [p.y or 0.0 for p in drawn] + ([bound_s] if bound_s else [])
    pad = (max(xs) - min(xs)) * 0.08 or max(xs) * 0.1 or 1.0
    low, high = max(0.0, min(xs) - pad), max(xs) + pad
    x = _scale(low, high, _LEFT, _WIDTH - _RIGHT)
    y = _scale(0.0, max(ys) * 1.12, _HEIGHT - _BOTTOM, _TOP)
    body = _axes(
        _ticks(low, high),
        _ticks(0.0, max(ys) * 1.12),
        lambda v: f"${v:.3g}",
        lambda v: humanize(v, "s", 2) if v else "0",
        x,
        y,
    )
    if bound_s:
        body += f'<line class="bound" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(bound_s):.1f}" y2="{y(bound_s):.1f}"/><text class="tick" x="{_WIDTH - _RIGHT}" y="{y(bound_s) - 5:.1f}" text-anchor="end">asked</text>'
    for place, point in enumerate(drawn):
        ring = ' class="dot chosen"' if place == 0 else f' class="dot {point.standing}"'
        said = f"{point.name}: {point.cost} per million tokens, first token {point.ttft}"
        body += f'<circle{ring} cx="{x(point.x or 0):.1f}" cy="{y(point.y or 0):.1f}" r="{7 if place == 0 else 5}" tabindex="0"><title>{escape(said)}</title></circle>'
    return _svg(
        body,
        "Cost against time to first token",
        f"{len(drawn)} options; the decided one is ringed",
        "USD per million output tokens",
        "first token, p99",
    )


def loss_curve(curve: Curve) -> Markup:
    """Loss by step."""
    if len(curve.steps) < 2:
        return Markup('<p class="note">No curve yet.</p>')
    low, high = min(curve.losses), max(curve.losses)
    x = _scale(curve.steps[0], curve.total_steps or curve.steps[-1], _LEFT, _WIDTH - _RIGHT)
    y = _scale(low - 0.05 * (high - low), high + 0.05 * (high - low), _HEIGHT - _BOTTOM, _TOP)
    line = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in zip(curve.steps, curve.losses, strict=True))
    body = _axes(
        _ticks(curve.steps[0], curve.total_steps or curve.steps[-1]),
        _ticks(low, high),
        lambda v: f"{v:,.0f}",
        lambda v: f"{v:.3g}",
        x,
        y,
    )
    body += f'<polyline class="curve" points="{line}"/>'
    return _svg(
        body,
        "Training loss by step",
        f"{curve.losses[0]:.3g} at step {curve.steps[0]}, {curve.losses[-1]:.3g} at step {curve.steps[-1]}",
        "step",
        "loss, nat per token",
    )


def context(**more: Any) -> dict[str, Any]:
    """What every template is given."""
    return {"active": "", **more}
