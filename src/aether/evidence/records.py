"""A step's record: what its fingerprint covers, how it is written (last) and how it is believed (only if every byte agrees)."""

from pathlib import Path

from pydantic import ValidationError

from aether.evidence.files import read_json, write_json
from aether.evidence.hashing import artefacts_of, hash_artefacts, hash_value
from aether.spec.base import Noun
from aether.spec.errors import DamagedRecord
from aether.spec.evidence import StepRecord
from aether.spec.recipe import Step

RECORD_NAME = "record.json"


def fingerprint(step: Step, recipe: Noun, input_hashes: dict[str, str]) -> str:
    """The identity of a step: name, stage, config, seed, threads and the content of its inputs. No path, no host.

    The name counts because the ids of its evidence carry it; the threads, because the order of floating-point sums,
    and so the last bit of a loss, depends on them.
    """
    identity = step.model_dump(mode="json", exclude={"inputs", "config"})
    config = recipe.model_dump(mode="json", exclude=set(recipe.circumstance))
    return hash_value(identity | {"config": config, "inputs": input_hashes})


def write_record(folder: Path, record: StepRecord) -> None:
    """Write the record beside the output. Nothing may be written in `folder` after it."""
    write_json(folder / RECORD_NAME, record.model_dump(mode="json"))


def read_record(folder: Path) -> StepRecord | None:
    """The record in `folder`, or None when the step was not finished. Raises DamagedRecord when it is not one of ours."""
    path = folder / RECORD_NAME
    if not path.exists():
        return None
    try:
        return StepRecord.model_validate(read_json(path))
    except ValidationError as error:
        raise DamagedRecord(f"{path} is not a step record of this version; delete {folder} and run again") from error


def verify(folder: Path, record: StepRecord) -> None:
    """Raise DamagedRecord unless the files in `folder` are exactly those of the record, byte for byte."""
    found = artefacts_of(folder, skip=(RECORD_NAME,))
    if hash_artefacts(found) == record.output_sha256:
        return
    now, then = {a.path: a.sha256 for a in found}, {a.path: a.sha256 for a in record.artefacts}
    changed = sorted(p for p in now.keys() | then.keys() if now.get(p) != then.get(p))
    raise DamagedRecord(
        f"{folder} differs from its record in {', '.join(changed[:5])}; delete that folder and run `aether resume`",
        folder=str(folder),
        changed=changed,
    )
