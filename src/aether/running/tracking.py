"""What a run does, told to MLflow: parameters, curves, evidence and the places of artefacts, one MLflow run per build.

MLflow is optional: without it nothing is told and nothing breaks. By default its database is a SQLite file inside the
run's folder; MLFLOW_TRACKING_URI, where the person has set it, is used instead. A failure of tracking is told once, in
a sentence, and tracking stops: a build never waits for it or falls with it. Files are named, not copied.
"""

import importlib.util
import json
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from aether.spec.evidence import StepRecord
from aether.spec.run import Listener, Progress, Verdict

_EXPERIMENT = "aether"
_LONGEST_VALUE = 6000
"""MLflow's own limit on the length of a parameter's value (mlflow.utils.validation, 3.17)."""
_BATCH = 100
"""Parameters and tags per call: MLflow's limit."""
_METRIC_BATCH = 1000
_X_NAMES = ("step", "tokens")


class Tracker:
    """Tells MLflow about finished steps. Made by `Tracker.of`; silent when MLflow is not installed."""

    def __init__(self, folder: Path, listener: Listener, *, installed: bool) -> None:
        self._folder = folder
        self._listener = listener
        self._active = installed
        self._client: Any = None
        self._run_id = ""
        self._told: dict[str, str] = {}

    @classmethod
    def of(cls, folder: Path, listener: Listener) -> "Tracker":
        """The tracker of a run folder. Imports nothing: MLflow is loaded when the first step is told."""
        return cls(folder, listener, installed=importlib.util.find_spec("mlflow") is not None)

    @property
    def uri(self) -> str:
        """Where MLflow keeps what it is told."""
        kept = self._folder.resolve() / "tracking" / "mlflow.db"
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{kept}"

    def note(self, folder: Path, record: StepRecord) -> None:
        """Tell a finished step, once: a step that this MLflow run already has is passed over."""
        self._try(lambda: self._note(folder, record))

    def finish(self, verdicts: Iterable[Verdict] = (), *, failed: bool = False) -> None:
        """Close the MLflow run with the verdicts as tags."""
        self._try(lambda: self._finish(tuple(verdicts), failed))

    def _try(self, tell: Callable[[], None]) -> None:
        if not self._active:
            return
        try:
            with _quiet():
                self._open()
                tell()
        except _failures() as error:
            self._active = False
            first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            sentence = f"tracking stopped, the build goes on: MLflow at {self.uri} said {first!r}"
            self._listener(Progress("tracking", message=sentence))

    def _open(self) -> None:
        if self._client is not None:
            return
        from mlflow.tracking import MlflowClient

        if self.uri.startswith("sqlite:///"):
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(tracking_uri=self.uri)
        known = client.get_experiment_by_name(_EXPERIMENT)
        place = (self._folder.resolve() / "tracking" / "artefacts").as_uri()
        experiment = known.experiment_id if known else client.create_experiment(_EXPERIMENT, artifact_location=place)
        mark = str(self._folder.resolve())
        ours = [r for r in client.search_runs([experiment]) if r.data.tags.get("aether.folder") == mark]
        run = (
            ours[0] if ours else client.create_run(experiment, run_name=self._folder.name, tags={"aether.folder": mark})
        )
        self._client, self._run_id, self._told = client, run.info.run_id, dict(run.data.tags)
        if ours:
            client.update_run(self._run_id, status="RUNNING")

    def _note(self, folder: Path, record: StepRecord) -> None:
        mark = f"aether.step.{record.step}"
        if self._told.get(mark) == record.output_sha256:
            return
        from mlflow.entities import Metric, Param, RunTag

        params = [Param(_key(f"{record.step}.{k}"), v[:_LONGEST_VALUE]) for k, v in _flat(record.config)]
        done_ms = int((datetime.fromisoformat(record.started_at).timestamp() + record.wall_s) * 1000)
        numbers = {e.id: e.value for e in record.evidence}
        numbers |= {
            f"{e.id}.{end}": getattr(e.interval, end) for e in record.evidence if e.interval for end in ("low", "high")
        }
        numbers |= {f"{record.step}.wall_s": record.wall_s, f"{record.step}.cpu_s": record.cpu_s}
        metrics = [Metric(_key(k), v, done_ms, 0) for k, v in numbers.items()]
        metrics += [Metric(_key(k), v, done_ms, x) for k, v, x in _curve(folder / "metrics.jsonl", record.step)]
        tags = [RunTag(_key(f"{record.step}/{a.path}"), f"{a.sha256} {folder / a.path}") for a in record.artefacts]
        known = set(self._client.get_run(self._run_id).data.params)
        params = [p for p in params if p.key not in known]
        for start in range(0, len(params), _BATCH):
            self._client.log_batch(self._run_id, params=params[start : start + _BATCH])
        for start in range(0, len(metrics), _METRIC_BATCH):
            self._client.log_batch(self._run_id, metrics=metrics[start : start + _METRIC_BATCH])
        for start in range(0, len(tags), _BATCH):
            self._client.log_batch(self._run_id, tags=tags[start : start + _BATCH])
        self._client.set_tag(self._run_id, mark, record.output_sha256)
        self._told[mark] = record.output_sha256

    def _finish(self, verdicts: tuple[Verdict, ...], failed: bool) -> None:
        for verdict in verdicts:
            self._client.set_tag(self._run_id, _key(f"verdict.{verdict.target.metric}"), verdict.status)
        self._client.set_terminated(
            self._run_id, status="FAILED" if failed else "FINISHED", end_time=int(time.time() * 1000)
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """MLflow without its telemetry, its git look-ups, its notes on migrations, and its dependencies' deprecations."""
    for key, value in (
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("DO_NOT_TRACK", "true"),
        ("GIT_PYTHON_REFRESH", "quiet"),
        ("MLFLOW_LOGGING_LEVEL", "WARNING"),
    ):
        os.environ.setdefault(key, value)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    before = {name: logging.getLogger(name).level for name in ("mlflow", "alembic")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in before:
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)


def _failures() -> tuple[type[Exception], ...]:
    """What may go wrong between us and a tracking server or its database."""
    found: tuple[type[Exception], ...] = (OSError, ImportError, json.JSONDecodeError)
    try:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:
        return found
    return (*found, MlflowException, SQLAlchemyError)


def _flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)))
    return found


def _curve(path: Path, step: str) -> Iterator[tuple[str, float, int]]:
    """(name, value, step) of every number in a metrics file; a line that is cut short ends it."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        at = next((int(row[x]) for x in _X_NAMES if isinstance(row.get(x), int | float)), 0)
        for name, value in row.items():
            if (
                name != "step"
                and isinstance(value, int | float)
                and not isinstance(value, bool)
                and math.isfinite(value)
            ):
                yield f"{step}.curve.{name}", float(value), at


def _key(name: str) -> str:
    """A name with the characters that MLflow allows."""
    return "".join(c if c.isalnum() or c in "_-. /" else "-" for c in name)[:250]
