"""A trace of some updates for a timeline viewer, on request: torch.profiler's, in Chrome's trace format.

The loop's own spans (`aether.data`, `aether.forward`, `aether.backward`, `aether.clip`, `aether.update`) stand in it beside PyTorch's operations.
"""

from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

TRACE = "trace.json"
"""In the step's output; chrome://tracing and ui.perfetto.dev open it."""


class Profiler:
    """Records the updates `first` to `last`, counted from one, and writes TRACE into `folder`. None: nothing."""

    def __init__(self, steps: tuple[int, int] | None, folder: Path) -> None:
        self._steps, self._path = steps, folder / TRACE
        self._running: profile | None = None

    def before(self, step: int) -> None:
        """Update `step` is about to begin."""
        if self._steps is not None and self._steps[0] <= step <= self._steps[1] and self._running is None:
            on_gpu = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
            self._running = profile(activities=[ProfilerActivity.CPU, *on_gpu])
            self._running.start()

    def after(self, step: int) -> None:
        """Update `step` has ended."""
        if self._running is not None and self._steps is not None and step >= self._steps[1]:
            self._running.stop()
            self._running.export_chrome_trace(str(self._path))
            self._running = self._steps = None
