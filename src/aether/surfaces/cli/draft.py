"""A reply while it is written: its last lines, dim and marked as not checked, until the checked reply takes their place."""

import time
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from aether.counsel.agent.model import Event

_PER_SECOND = 8
_ROOM_LINES = 6
"""Of the terminal's height, kept free around the draft."""


class DraftView:
    """Hears the events of a turn. On a terminal the draft is drawn and wiped; elsewhere only tools are named, on standard error."""

    def __init__(self, console: Console, errors: Console) -> None:
        self.console, self.errors = console, errors
        self.draft, self.note = "", ""
        self._live: Live | None = None

    def __enter__(self) -> "DraftView":
        self.draft, self.note = "", ""
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def wipe(self) -> None:
        """Take the draft off the terminal, for the checked reply or for a question to the person."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, event: "Event") -> None:
        """Take one event."""
        if event.kind == "tool":
            self.draft = ""
            self.errors.print(f"  [{event.text}]", markup=False, highlight=False)
        elif event.kind == "sent_back":
            parts = event.text.count("\n- ")
            self.draft, self.note = "", f"sent back: {parts} without support"
        else:
            self.draft += event.text
        if self.console.is_terminal and event.kind != "tool":
            self._draw()

    def _draw(self) -> None:
        if self._live is None:
            self._live = Live(
                get_renderable=self._shown, console=self.console, refresh_per_second=_PER_SECOND, transient=True
            )
            self._live.start(refresh=True)

    def _shown(self) -> Group:
        width, room = self.console.width, max(3, self.console.height - _ROOM_LINES)
        lines = Text(self.draft, style="dim").wrap(self.console, width)
        mark = "·" * (1 + int(time.monotonic() * 2) % 3)
        head = Text(f"draft, not checked yet {mark}" + (f"  ({self.note})" if self.note else ""), style="yellow")
        return Group(head, *lines[-room:])
