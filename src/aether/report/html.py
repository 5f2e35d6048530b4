"""A report as one HTML file: inline style, inline SVG, no script, nothing fetched; dark and light, for phones and for print.

Jinja2 escapes everything; the only ready markup is made here, from escaped parts, and by the figure renderer. The
content policy in the page forbids scripts and requests. What is rendered passes `guard.check_html` before it is given.
"""

import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from aether.report.guard import check_html
from aether.report.sources import Sources
from aether.report.wording import interval_text, value_parts
from aether.spec.evidence import Evidence
from aether.spec.report import Badge, Cite, Figure, Gauge, Piece, Report, Setting, Text, Verbatim, Words

_TEMPLATES = Path(__file__).parent / "templates"


def to_html(report: Report, sources: Sources) -> str:
    """The page. Raises UnsourcedNumber when a number in it has no evidence."""
    return _rendered("report.html.j2", report, sources)


def fragment(report: Report, sources: Sources) -> str:
    """The report's sections and its evidence, for a page that has a frame of its own. Raises UnsourcedNumber."""
    return _rendered("fragment.html.j2", report, sources)


def _rendered(template: str, report: Report, sources: Sources) -> str:
    painter = _Painter(sources)
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(
        report=report,
        style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        text=painter.text,
        plain=sources.words,
        figure=painter.figure,
        as_name=lambda words: (Verbatim(role="name", text=words),),
        appendix=[appendix_row(e) for e in sources.ledger],
        corrections=[e for e in sources.ledger.entries if e.corrects is not None],
    )
    return check_html(page, sources)


def appendix_row(evidence: Evidence) -> tuple[str, str, tuple[Text, ...]]:
    """One record: its id, its kind, and the cells of the appendix (value, interval, n, repeats, source)."""
    around = [f"{k} = {v}" for k, v in evidence.conditions.items() if v != ""]
    if evidence.seed is not None:
        around.append(f"seed {evidence.seed}")
    if evidence.interval is not None:
        around.append(evidence.interval.method)
    if evidence.artefact_sha256 is not None:
        around.append(f"SHA-256 {evidence.artefact_sha256[:12]}")
    source = Verbatim(role="name", text="; ".join([evidence.source, *around]))
    interval: Text = (Cite(id=evidence.id, show="interval"),) if evidence.interval else ()
    level: Text = (Words(text=", "), Cite(id=evidence.id, show="level")) if evidence.interval else ()
    count: Text = (Cite(id=evidence.id, show="n"),) if evidence.n is not None else ()
    cells = ((Cite(id=evidence.id),), interval + level, count, (Words(text=evidence.repeats),), (source,))
    return evidence.id, evidence.kind, cells


class _Painter:
    """Pieces as markup."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources

    def text(self, text: Text) -> Markup:
        """A text as markup, every sourced part inside an element that names its source."""
        return Markup("").join(self._piece(piece) for piece in text)

    def figure(self, figure: Figure) -> Markup:
        """A figure's SVG. The SVG writer has escaped its labels."""
        # Matplotlib takes half a second to load, and a command that writes no report should not wait for it.
        from aether.report.plots import to_svg

        return Markup(to_svg(figure, self.sources))

    def _piece(self, piece: Piece) -> Markup:
        match piece:
            case Words():
                return escape(piece.text)
            case Badge():
                return Markup('<span class="badge {0}">{0}</span>').format(piece.status)
            case Gauge():
                return self._gauge(piece)
            case Cite():
                return self._cite(piece)
            case Verbatim():
                return self._span(piece, f"literal {piece.role}")
            case Setting():
                return self._span(piece, _setting_class(self.sources.show(piece).text))
            case _:
                return self._span(piece, "n asked" if piece.kind == "bound" else "n")

    def _span(self, piece: Piece, classes: str) -> Markup:
        shown = self.sources.show(piece)
        title = Markup(' title="{}"').format(shown.source) if shown.source else Markup("")
        return Markup('<span class="{}" data-piece="{}"{}>{}</span>').format(classes, shown.mark, title, shown.text)

    def _cite(self, piece: Cite) -> Markup:
        shown, evidence = self.sources.show(piece), self.sources.ledger[piece.id]
        inner: Markup = escape(shown.text)
        if piece.show in ("value", "full"):
            number, unit = value_parts(evidence)
            inner = Markup('{}<span class="u"> {}</span>').format(number, unit) if unit else escape(number)
            if piece.show == "full" and evidence.interval is not None:
                inner += Markup(' <span class="i">({})</span>').format(interval_text(evidence))
        opening = Markup('<a class="n {}" href="#e-{}" data-piece="{}" title="{}">')
        return opening.format(evidence.kind, piece.id, shown.mark, shown.source) + inner + Markup("</a>")

    def _gauge(self, gauge: Gauge) -> Markup:
        target = self.sources.brief.target(gauge.metric)
        assert target is not None, gauge.metric
        given = {r: self.sources.ledger[i] for r, i in (("p", gauge.predicted), ("m", gauge.measured)) if i is not None}
        if not given:
            return Markup("")
        spans = {role: _span_of(e, target.value) for role, e in given.items()}
        reach = max(0.12, *(abs(x) for low, middle, high in spans.values() for x in (low, high, middle))) * 1.12
        return _strip(spans, reach, good_is_left=target.comparison == "<=")


_WIDTH, _TOP = 140.0, {"p": 3.0, "m": 11.0}


def _span_of(evidence: Evidence, bound: float) -> tuple[float, float, float]:
    """Low, value and high as logarithms of their ratio to the bound, three powers of e at most."""
    interval = evidence.interval
    ends = (interval.low if interval else evidence.value, evidence.value, interval.high if interval else evidence.value)
    low, middle, high = (max(-3.0, min(3.0, math.log(max(v, 1e-300) / bound))) for v in ends)
    return low, middle, high


def _strip(spans: dict[str, tuple[float, float, float]], reach: float, *, good_is_left: bool) -> Markup:
    half = _WIDTH / 2

    def at(x: float) -> float:
        return half + x / reach * half

    parts = [
        Markup('<rect class="good" x="{}" y="0" width="{}" height="20"/>').format(0 if good_is_left else half, half)
    ]
    for role, (low, middle, high) in spans.items():
        left, right = min(at(low), at(middle) - 1.5), max(at(high), at(middle) + 1.5)
        bar = Markup('<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="6" rx="2"/>')
        parts.append(bar.format(role, left, _TOP[role], right - left))
        dot = Markup('<line class="{}v" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>')
        parts.append(dot.format(role, at(middle), at(middle), _TOP[role] - 1, _TOP[role] + 7))
    parts.append(Markup('<line class="bound" x1="{0}" x2="{0}" y1="0" y2="20"/>').format(half))
    opening = Markup('<svg class="gauge" viewBox="0 0 {:g} 20" aria-hidden="true">').format(_WIDTH)
    return opening + Markup("").join(parts) + Markup("</svg>")


def _setting_class(text: str) -> str:
    """Numbers line up in columns; words and hashes may wrap."""
    return "n set" if len(text) <= 24 and any(c.isdigit() for c in text) else "literal set"
