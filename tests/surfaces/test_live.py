"""Progress for eyes: the time left belongs to the phase that runs, and plain lines are not broken."""

import io
import time

from rich.console import Console

from aether.spec.run import Progress
from aether.surfaces.cli.live import Line, LiveView


def test_time_left_follows_the_pace_since_the_first_report_of_the_phase() -> None:
    line = Line()
    line.hear(Progress("train", 600, 1000, "steps"))
    assert line.eta_s() is None  # a resumed step: 600 were done before, so there is no pace yet
    time.sleep(0.05)
    line.hear(Progress("train", 610, 1000, "steps"))
    left_s = line.eta_s()
    assert left_s is not None and 0.05 * 39 <= left_s < 5.0


def test_a_new_phase_has_a_pace_of_its_own() -> None:
    line = Line()
    line.hear(Progress("train", 0, 1000, "steps"))
    time.sleep(0.01)
    line.hear(Progress("train", 1000, 1000, "steps", numbers={"loss": 3.0}))
    line.hear(Progress("train", 50, 100, "tokens", "validating"))
    assert line.eta_s() is None
    assert line.last is not None and line.last.numbers == {"loss": 3.0}


def test_a_plain_line_is_one_line_however_long() -> None:
    written = io.StringIO()
    with LiveView(Console(file=written, width=40)) as view:
        view(Progress("train", message="started"))
        numbers = {"tokens_per_s": 31_234.0, "loss": 3.25, "predicted_loss": 2.97}
        view(Progress("train", 400, 1000, "steps", "validating the model on held-out text", numbers))
        view(Progress("train", 1000, 1000, "steps", "done", numbers))
    lines = written.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["train", "train"]
    assert "loss 3.25 (predicted 2.97 at the end)" in lines[-1]
