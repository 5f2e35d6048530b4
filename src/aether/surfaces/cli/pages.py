"""A page of counsel in a terminal: the same blocks as its Markdown, drawn with rich at the terminal's width, a hundred at most.

Numbers are looked up in the page's own evidence by `report.sources`, as in every other medium. Records are not listed: `--out` and
`--json` have them.
"""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text as Line

from aether.report.sources import Sources
from aether.spec.answer import Page
from aether.spec.report import Block, Cite, Code, Facts, Figure, Items, Paragraph, Piece, Table, Text, Traced, Verbatim

WIDTH = 100
_STYLES = {"command": "bold cyan", "path": "cyan", "user": "italic"}
_TONES = {"plain": "", "note": "dim", "warning": "yellow", "decision": "bold green"}


def print_page(page: Page, console: Console | None = None) -> None:
    """Draw the page."""
    console = console or Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    sources = Sources.of_page(page)
    console.print(_line(page.report.title, sources, "bold"))
    for section in page.report.sections:
        console.print(Line(f"\n{section.title}", style="bold underline"))
        for block in section.blocks:
            if isinstance(block, Code):
                _print_code(block, console)
            else:
                console.print(_drawn(block, sources, console.width))


def _print_code(code: Code, console: Console) -> None:
    """Fenced and unwrapped, so that it can be copied as it is."""
    console.print(Line(f"```{code.language}", style="dim"))
    console.print(Line(_inert(code.text.rstrip("\n")), style="cyan"), soft_wrap=True)
    console.print(Line("```", style="dim"))


def _drawn(block: Block, sources: Sources, width: int) -> RenderableType:
    match block:
        case Paragraph():
            return _line(block.text, sources, _TONES[block.tone])
        case Items():
            return Group(*(_bullet(_line(item, sources)) for item in block.items))
        case Facts():
            return _facts(block, sources)
        case Table():
            return _table(block, sources, width)
        case Code() | Figure():
            return Line(f"{block.block}: in the page that --out writes", style="dim")


def _bullet(line: Line) -> Grid:
    grid = Grid.grid(padding=(0, 1))
    grid.add_row("•", line)
    return grid


def _facts(facts: Facts, sources: Sources) -> RenderableType:
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(style="dim", max_width=26)
    grid.add_column(overflow="fold")
    for key, value in facts.facts:
        grid.add_row(_line(key, sources), _line(value, sources))
    head = [Line(facts.title, style="bold")] if facts.title else []
    return Padding(Group(*head, grid), (0, 0, 1, 0))


def _table(table: Table, sources: Sources, width: int) -> RenderableType:
    """Columns where they fit; else rows as columns where they are few; else one row below the other."""
    cells = [[_line(cell, sources) for cell in row] for row in table.rows]
    heads = [_line(cell, sources, "bold") for cell in table.columns]
    if _squeezed(heads, cells, width):
        if len(cells) > _SIDE_BY_SIDE:
            return _stacked(heads, cells)
        turned = [heads, *cells]
        heads = [column[0] for column in turned]
        cells = [[column[i] for column in turned] for i in range(1, len(turned[0]))]
    wanted = [max(len(line.plain) for line in column) for column in zip(heads, *cells, strict=True)]
    wraps = sum(wanted) + 2 * len(wanted) > width
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, int(wraps), 0))
    for head in heads:
        grid.add_column(head, overflow="fold", vertical="top")
    for row in cells:
        grid.add_row(*row)
    return grid


_SIDE_BY_SIDE = 5
"""Rows that still fit side by side as columns (chosen)."""
_LEAST = 12
"""Characters below which a column of prose is not readable (chosen)."""


def _squeezed(heads: Sequence[Line], cells: Sequence[Sequence[Line]], width: int) -> bool:
    wanted = [max(len(line.plain) for line in column) for column in zip(heads, *cells, strict=True)]
    if sum(wanted) + 2 * len(wanted) <= width:
        return False
    wide = [w for w in wanted if w > _LEAST]
    left = width - 2 * len(wanted) - sum(w for w in wanted if w <= _LEAST)
    return len(wanted) > 5 or left / max(1, len(wide)) < _LEAST


def _stacked(heads: Sequence[Line], cells: Sequence[Sequence[Line]]) -> RenderableType:
    parts: list[RenderableType] = []
    for row in cells:
        grid = Grid.grid(padding=(0, 2))
        grid.add_column(style="dim", max_width=30)
        grid.add_column(overflow="fold")
        for head, cell in list(zip(heads, row, strict=True))[1:]:
            grid.add_row(Line(head.plain), cell)
        parts += [Line(row[0].plain, style="bold"), Padding(grid, (0, 0, 1, 2))]
    return Group(*parts)


def _line(text: Text, sources: Sources, style: str = "") -> Line:
    line = Line(style=style, overflow="fold")
    for piece in text:
        line.append(_inert(sources.show(piece).text), style=_style(piece))
    return line


def _inert(text: str) -> str:
    """Without the characters that a terminal obeys."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


def _style(piece: Piece) -> str:
    if isinstance(piece, Verbatim):
        return _STYLES.get(piece.role, "")
    return "bold" if isinstance(piece, Cite | Traced) else ""
