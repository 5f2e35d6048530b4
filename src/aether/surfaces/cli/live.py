"""Progress for eyes: a live table in a terminal, plain lines elsewhere. Shows stage, numbers, ETA, predicted beside so-far."""

import time
from dataclasses import dataclass, field, replace

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from aether.spec.run import Progress
from aether.spec.units import humanize, round_significant

_PLAIN_EVERY_S = 10.0
_BAR = 24


@dataclass
class Line:
    """What is known of one step while it runs. A step has phases (training, then validating), each with its own pace."""

    started_s: float = field(default_factory=time.monotonic)
    ended_s: float | None = None
    last: Progress | None = None
    printed_s: float = 0.0
    phase: tuple[float, str] = (0.0, "")
    phase_began: tuple[float, float] = (0.0, 0.0)
    """When the phase's first report came, and how much was done by then: a resumed step does not begin at zero."""

    def hear(self, progress: Progress) -> None:
        """Take a report; numbers stay until newer ones come."""
        if (progress.total, progress.unit) != self.phase:
            self.phase = (progress.total, progress.unit)
            self.phase_began = (time.monotonic(), progress.done)
        numbers = progress.numbers or (self.last.numbers if self.last else {})
        self.last = replace(progress, numbers=numbers)

    def elapsed_s(self) -> float:
        """Seconds since the step started, or that it took."""
        return (self.ended_s or time.monotonic()) - self.started_s

    def eta_s(self) -> float | None:
        """Seconds left of this phase at its pace so far; None before anything is known."""
        began_s, done_before = self.phase_began
        if self.ended_s or self.last is None or self.last.done <= done_before:
            return None
        left = max(0.0, self.last.total - self.last.done)
        return (time.monotonic() - began_s) * left / (self.last.done - done_before)


def numbers_text(progress: Progress) -> str:
    """The newest numbers in one line: "loss 3.21 (predicted 2.95 at the end), 5,100 tokens/s"."""
    parts = []
    for name, value in progress.numbers.items():
        if name.startswith("predicted_"):
            continue
        predicted = progress.numbers.get(f"predicted_{name}")
        beside = f" (predicted {round_significant(predicted)} at the end)" if predicted is not None else ""
        parts.append(f"{name.replace('_per_s', '/s').replace('_', ' ')} {round_significant(value)}{beside}")
    return ", ".join(parts)


class LiveView:
    """A listener that draws. Use as a context manager around the work."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.lines: dict[str, Line] = {}
        self.live = Live(get_renderable=self._draw, console=console, refresh_per_second=4, transient=False)
        self.plain = not console.is_terminal

    def __enter__(self) -> "LiveView":
        if not self.plain:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.plain:
            self.live.stop()

    def __call__(self, progress: Progress) -> None:
        """Take one report of progress."""
        line = self.lines.setdefault(progress.step, Line())
        finished = progress.message in ("done", "reused")
        if progress.numbers or progress.total or not finished:
            line.hear(progress)
        if finished:
            line.ended_s = time.monotonic()
        if self.plain:
            self._print(line, progress, finished)

    def _print(self, line: Line, progress: Progress, finished: bool) -> None:
        now = time.monotonic()
        if not finished and progress.message != "started" and now - line.printed_s < _PLAIN_EVERY_S:
            return
        line.printed_s = now
        left = line.eta_s()
        words = [progress.step, progress.message]
        if progress.total > 1:
            words.append(f"{progress.done:,.0f}/{progress.total:,.0f} {progress.unit}")
        words += [
            numbers_text(line.last) if line.last else "",
            f"in {humanize(line.elapsed_s(), 's')}" if finished else "",
        ]
        words.append(f"{humanize(left, 's')} left" if left and not finished else "")
        self.console.print("  ".join(word for word in words if word), highlight=False, markup=False, soft_wrap=True)

    def _draw(self) -> Group:
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, line in self.lines.items():
            mark = "[green]✓[/]" if line.ended_s else "[cyan]●[/]"
            table.add_row(mark, name, _bar(line), humanize(line.elapsed_s(), "s"), _words(line))
        return Group(table)


def _bar(line: Line) -> Text:
    if line.ended_s or line.last is None or line.last.total <= 0:
        return Text("")
    full = int(_BAR * min(line.last.done / line.last.total, 1.0))
    return Text("━" * full, style="cyan") + Text("─" * (_BAR - full), style="dim")


def _words(line: Line) -> Text:
    left = line.eta_s()
    last = line.last
    words = [] if last is None else [numbers_text(last), "" if last.message in ("started", "done") else last.message]
    if left is not None:
        words.append(f"{humanize(left, 's')} left")
    return Text("  ".join(word for word in words if word))
