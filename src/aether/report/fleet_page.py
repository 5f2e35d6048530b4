"""A fleet plan as one HTML file: options with intervals and kinds, the decision, pictures, every term with its source.

The style is that of reports (`templates/report.css`): no script, nothing fetched, dark and light. Jinja2 escapes everything; the
only ready markup are the pictures. Every number is a field of the plan.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from aether.report import fleet
from aether.report.fleet_plots import TITLES
from aether.spec.fleet import FleetPlan

_TEMPLATES = Path(__file__).parent / "templates"


def to_page(plan: FleetPlan, pictures: Mapping[str, str], exports: Mapping[str, str], notes: Sequence[str]) -> str:
    """The page. `pictures`: name -> SVG; `exports`: path of an exported file -> the command that starts it, or nothing."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("plan.html.j2").render(
        plan=plan,
        title=fleet.name_of(plan),
        names=fleet.columns(plan),
        fleet=fleet,
        style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        pictures=[(TITLES[name], Markup(svg)) for name, svg in pictures.items()],
        exports=exports,
        notes=notes,
    )
