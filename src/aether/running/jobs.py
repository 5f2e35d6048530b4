"""A command of ours as a process of its own: started now, asked about later by anybody who has the run's folder.

What the work needs outlives who started it: the child is the leader of a session of its own, and all that is known of it is in
the run's folder. Its single line of JSON is its result. On this machine only.

<run>/job/job.json   the process, by id and start time, and its command
<run>/job/out.json   its result, once it has ended
<run>/job/err.txt    what it said besides
"""

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import psutil

from aether.evidence.files import explained_os_errors, read_json, write_json
from aether.spec.base import Noun
from aether.spec.errors import InputError, RunBusy

JobState = Literal["none", "running", "ended"]
_SAID_BYTES = 4000
_POLL_S = 0.05
_FRESH = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


class Job(Noun):
    """A process that works, or worked, in a run's folder."""

    pid: int
    started: float
    """As the system tells it, in seconds: an id that was given to another process later is not ours."""
    command: tuple[str, ...]

    @property
    def is_running(self) -> bool:
        """Whether this very process is alive."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


class JobReport(Noun):
    """How a job stands."""

    state: JobState
    result: dict[str, Any] | None = None
    """Its line of JSON. None while it runs, and for one that was killed."""
    said: str = ""
    """The end of what it wrote to standard error."""


def start(arguments: Sequence[str], run: Path) -> Job:
    """`aether ARGUMENTS --json` in the background. Raises RunBusy while another job of this run is alive."""
    folder = run / "job"
    known = _job(run)
    if known is not None and known.is_running:
        raise RunBusy(f"{run} is in use by process {known.pid}; wait for it, or cancel it", folder=str(run))
    command = (sys.executable, "-m", "aether", *arguments, "--json")
    with explained_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        pid = os.posix_spawn(
            command[0],
            command,
            os.environ,
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(folder / "out.json"), _FRESH, 0o644),
                (os.POSIX_SPAWN_OPEN, 2, str(folder / "err.txt"), _FRESH, 0o644),
            ),
            setsid=True,
            setsigdef=(signal.SIGINT,),  # an ignored one is inherited, and `cancel` would not be heard
        )
    job = Job(pid=pid, started=psutil.Process(pid).create_time(), command=command)
    write_json(folder / "job.json", job.model_dump(mode="json"))
    return job


def report_of(run: Path) -> JobReport:
    """How the newest job of a run stands."""
    job = _job(run)
    if job is None:
        return JobReport(state="none")
    said = (run / "job" / "err.txt").read_bytes()[-_SAID_BYTES:].decode(errors="replace")
    if job.is_running:
        return JobReport(state="running", said=said)
    _reap(job)
    lines = (run / "job" / "out.json").read_text(encoding="utf-8").strip().splitlines()
    try:
        result = json.loads(lines[-1]) if lines else None
    except json.JSONDecodeError:
        result = None
    return JobReport(state="ended", result=result, said=said)


def cancel(run: Path, patience_s: float = 20.0) -> JobReport:
    """Ask the job to stop as Ctrl-C does, so that what is finished is kept; after `patience_s` end it and its children."""
    job = _job(run)
    if job is None:
        raise InputError.of("run", str(run), "nothing was started here")
    if job.is_running:
        os.kill(job.pid, signal.SIGINT)
        deadline = time.monotonic() + patience_s
        while job.is_running and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        if job.is_running:
            os.killpg(job.pid, signal.SIGKILL)
            while job.is_running:
                time.sleep(_POLL_S)
    return report_of(run)


def _job(run: Path) -> Job | None:
    file = run / "job" / "job.json"
    return Job.model_validate(read_json(file)) if file.exists() else None


def _reap(job: Job) -> None:
    """Let the system forget a child of ours; one of another parent is not ours to wait for."""
    try:
        os.waitpid(job.pid, os.WNOHANG)
    except ChildProcessError:
        return
