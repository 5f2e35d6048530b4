"""What `aether plan` prints for a brief with a model."""

from pathlib import Path
from typing import TYPE_CHECKING

from aether.spec.brief import Brief
from aether.surfaces.cli.edge import say_json

if TYPE_CHECKING:
    from aether.counsel.fleet import Written

SHOWN = 10
"""Options that a terminal shows; the page has all."""


def plan_fleet(brief: Brief, folder: Path, as_json: bool) -> int:
    """Decide, write the folder, and print the table or one line of JSON."""
    from aether.counsel.fleet import write

    written = write(brief, folder)
    if as_json:
        plan = written.plan.model_dump(mode="json")
        say_json(
            {"status": "planned", "run": str(folder), "files": written.files, "notes": written.notes, "plan": plan}
        )
        return 0
    _print(written)
    return 0


def _print(written: "Written") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from aether.report.fleet import columns, heading, interval_of, kinds, said

    plan, console = written.plan, Console()

    def show(text: str, style: str | None = None) -> None:
        console.print(escape(text), highlight=False, style=style)

    names = columns(plan)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("", *(heading(plan, name) for name in names), "complex", "targets"):
        table.add_column(head)
    for index, option in enumerate(plan.options[:SHOWN], 1):
        show(f"{index}  {option.name}")
        cells = [
            f"{said(estimate, interval=False)}\n[dim]{interval_of(estimate)}[/]"
            for estimate in map(option.estimate, names)
        ]
        table.add_row(str(index), *cells, option.complexity, option.standing.replace("_", " "))
    if len(plan.options) > SHOWN:
        show(f"and {len(plan.options) - SHOWN} more in plan.html")
    console.print()
    console.print(table)
    show(kinds(plan), "dim")
    console.print(f"\n[bold]Decision: 1[/]. {escape(plan.because)}", highlight=False)
    show("\nWhat would change it", "bold")
    for change in plan.would_change or ("Nothing among the options.",):
        show(f"- {change}")
    show(f"\nLeft out of {plan.considered:,} layouts", "bold")
    for one in plan.left_out[:6]:
        show(f"{one.count:>9,}  {one.reason}: {one.meaning}")
    show("\nFor the tools", "bold")
    for path, command in written.starts.items():
        show(f"- {path}" + (f": {command}" if command else ""))
    for note in written.notes:
        show(f"- {note}")
    show(f"\nwritten to {written.folder}: {', '.join(n for n in written.files if n not in written.starts)}")
