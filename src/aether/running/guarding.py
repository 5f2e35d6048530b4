"""The defences that a run's model is released with: those that its gates were judged behind, kept in RUN/guard and on whenever it is served."""

import shutil
from pathlib import Path

from aether.evidence.files import read_json, write_json
from aether.evidence.hashing import hash_file, hash_value
from aether.running.folder import RunFolder
from aether.spec.errors import InputError
from aether.stages.serve.guard.settings import GuardSettings, read_guard

GUARD = Path("guard") / "guard.json"


def screening(guard: GuardSettings) -> GuardSettings:
    """The part of a guard that looks at what is asked and answered, not at who asks and how often."""
    return guard.model_copy(update={"keys": None, "requests_per_minute": None, "log": None})


def guard_identity(guard: GuardSettings) -> str:
    """One hash of what a guard screens by, the classifier by content."""
    fields = screening(guard).model_dump(mode="json")
    return hash_value(fields | {"classifier": None if guard.classifier is None else hash_file(Path(guard.classifier))})


def keep_guard(guard_file: Path, run: Path) -> None:
    """Fill RUN/guard, a classifier copied. Raises InputError for a file that is not what the gates were judged behind."""
    guard, place = read_guard(guard_file), run / GUARD
    if guard_identity(guard) != read_json(run / "redteam" / "redteam.json")["target"]["guard"]:
        mend = f"it changed after the gates were judged behind it; run `aether resume {run}` to judge them again"
        raise InputError.of("red_team.guard", str(guard_file), mend)
    drop_guard(run)
    place.parent.mkdir(parents=True)
    fields = guard.model_dump(mode="json")
    if guard.classifier is not None:
        fields["classifier"] = Path(guard.classifier).name
        shutil.copyfile(guard.classifier, place.parent / fields["classifier"])
    write_json(place, fields)


def drop_guard(run: Path) -> None:
    """No RUN/guard."""
    shutil.rmtree((run / GUARD).parent, ignore_errors=True)


def released_guard(run: Path) -> GuardSettings:
    """The defences of a run's model, none where its brief names none. Raises InputError where they are gone."""
    if (run / GUARD).is_file():
        return read_guard(run / GUARD)
    red_team = RunFolder(run).manifest().brief.red_team
    if red_team is not None and red_team.guard is not None:
        mend = (
            f"its gates were judged behind {red_team.guard}; run `aether resume {run}`, or name defences with --guard"
        )
        raise InputError.of("guard", str(run / GUARD), f"not there: {mend}")
    return GuardSettings()
