"""Reading what runs left: lists, one run, two runs compared, a report written again."""

from pathlib import Path

from aether.counsel.keeping import run_facts
from aether.report.compare import Compared
from aether.report.compare import compare_runs as compare_facts
from aether.report.sources import RunFacts
from aether.report.write import write_report
from aether.running.folder import RunFolder, find_runs
from aether.running.guarding import released_guard
from aether.spec.base import Noun
from aether.spec.errors import InputError
from aether.stages.serve.recipe import EngineRecipe, GuardSettings, ServerSettings


class Summary(Noun):
    """A run in one line."""

    path: str
    status: str
    created_at: str
    verdicts: dict[str, int]


def summaries(root: Path) -> tuple[Summary, ...]:
    """Every run directly below `root`, oldest first."""
    found = []
    for folder in find_runs(root):
        facts = run_facts(folder)
        statuses = [verdict.status for verdict in facts.verdicts]
        counts = {status: statuses.count(status) for status in ("met", "missed", "unproven")}
        manifest = facts.manifest
        found.append(
            Summary(path=str(folder.path), status=manifest.status, created_at=manifest.created_at, verdicts=counts)
        )
    return tuple(found)


def read_run(folder: RunFolder) -> RunFacts:
    """Everything on disk about one run."""
    return run_facts(folder)


def compare_runs(a: RunFolder, b: RunFolder) -> Compared:
    """Two runs side by side, paired where both kept per-item records."""
    return compare_facts(run_facts(a), run_facts(b))


def rewrite_report(folder: RunFolder) -> Path:
    """Write a finished run's report again from its records, and return the page."""
    facts = run_facts(folder)
    if not facts.verdicts:
        raise InputError.of("run", str(folder.path), "it is not judged yet; run `aether resume` first")
    written = write_report(folder.path, facts.manifest, facts.plan, facts.records, facts.verdicts)
    return written["html"]


def model_folder(path: Path) -> Path:
    """What `path` means: a GGUF file or a Hugging Face folder itself, or the model of the run that it is."""
    if path.suffix == ".gguf" and path.is_file():
        return path
    if (path / "config.json").exists():
        return path
    if (path / "model" / "config.json").exists():
        return path / "model"
    raise InputError.of("model", str(path), "neither a model folder (config.json), a .gguf file nor a finished run")


def server_settings(path: Path, host: str, port: int, guard: GuardSettings | None = None) -> ServerSettings:
    """How to serve what `path` means: a run's model as it was served in its load test, by the engine that was chosen there, and with the
    defences that it was released with unless others are given. A GGUF file is served by llama.cpp in four slots: each holds its whole context.

    Raises InputError for a run whose gates were shown behind defences that are not there.
    """
    run = _run_of(path)
    settings = _engine_of(path if run is None else run, host, port)
    return settings.model_copy(update={"guard": guard or (released_guard(run) if run else settings.guard)})


def _run_of(path: Path) -> Path | None:
    """The run that a path, or the model folder that it is, belongs to."""
    folder = path.parent if path.name == "model" else path
    return folder if (folder / "run.json").is_file() else None


def _engine_of(path: Path, host: str, port: int) -> ServerSettings:
    if path.suffix == ".gguf":
        return ServerSettings(engine=EngineRecipe(engine="llama.cpp", slots=4), host=host, port=port)
    record = RunFolder(path).records().get("serve") if (path / "run.json").exists() else None
    if record is None:
        return ServerSettings(host=host, port=port)
    used = next((e.conditions for e in record.evidence if "engine" in e.conditions), {})
    engine = record.config["engine"] | {key: used[key] for key in ("engine", "dtype") if key in used}
    return ServerSettings(engine=EngineRecipe(**engine), host=host, port=port, threads=record.threads)
