"""Finding the input and saying what it is: sorted files with stable ids, and a manifest of their content.

Standard library only, so that a plan can pin its input without the heavy extras. Streams: one file's name and one
block of its content are in memory at a time. Does not parse anything (that is `readers`).
"""

import glob
import hashlib
import importlib.util
import os
import re
import stat
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from aether.evidence.hashing import hash_file
from aether.spec.base import Noun
from aether.spec.errors import InputError
from aether.stages.data.recipe import DataRecipe

Role = Literal["main", "ood"]
_BLOCK_BYTES = 1 << 20
_PACKAGE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


@dataclass(frozen=True)
class InputFile:
    """A file of a source. `id` is stable across machines: the source's label and the path below it, with slashes."""

    id: str
    path: Path
    role: Role
    size_bytes: int
    problem: str | None = None
    """Why it cannot be read (a dangling link, a pipe, a folder without permission); None for a regular file."""


class SourceSummary(Noun):
    """What one source held when the manifest was made."""

    source: str
    role: Role
    files: int
    bytes: int
    sha256: str


class Manifest(Noun):
    """The identity of the whole input: a changed, added, removed or renamed file changes `sha256`."""

    sha256: str
    sources: tuple[SourceSummary, ...]

    @property
    def bytes(self) -> int:
        """All bytes of the sources that feed the splits (out-of-distribution files not counted)."""
        return sum(s.bytes for s in self.sources if s.role == "main")


def find_files(recipe: DataRecipe) -> Iterator[InputFile]:
    """Every file of the recipe's sources: sources in the order given, files sorted within each, main before ood.

    Raises InputError for a source that does not exist or holds no matching file.
    """
    for source, role, label in _labelled(recipe):
        yield from _files_of(source, role, label, recipe)


def manifest(recipe: DataRecipe) -> Manifest:
    """Sizes and SHA-256 of every input file, streamed, as one digest. A file that cannot be read counts as such."""
    whole = hashlib.sha256()
    summaries = []
    for source, role, label in _labelled(recipe):
        digest = hashlib.sha256()
        files = size_bytes = 0
        for file in _files_of(source, role, label, recipe):
            digest.update(f"{role}\t{file.id}\t{file.size_bytes}\t{_sha256(file)}\n".encode("utf-8", "surrogateescape"))
            files, size_bytes = files + 1, size_bytes + file.size_bytes
        whole.update(digest.digest())
        summaries.append(
            SourceSummary(source=source, role=role, files=files, bytes=size_bytes, sha256=digest.hexdigest())
        )
    return Manifest(sha256=whole.hexdigest(), sources=tuple(summaries))


def pin(recipe: DataRecipe) -> DataRecipe:
    """The recipe with `manifest_sha256`, and that of a given tokenizer, filled from what is on disk now."""
    pinned = recipe.model_copy(update={"manifest_sha256": manifest(recipe).sha256})
    if recipe.tokenizer is None:
        return pinned
    file = tokenizer_file(Path(recipe.tokenizer).expanduser().resolve())
    return pinned.model_copy(update={"tokenizer": str(file.parent), "tokenizer_sha256": hash_file(file)})


def tokenizer_file(place: Path) -> Path:
    """The tokenizer.json at `place`: a model folder, or the output of a step. Raises InputError when there is none."""
    for folder in (place, place / "tokenizer", place / "model"):
        if (folder / "tokenizer.json").is_file():
            return folder / "tokenizer.json"
    raise InputError.of("data.tokenizer", str(place), "no tokenizer.json there; give a model folder")


def _sha256(file: InputFile) -> str:
    if file.problem is not None:
        return "unreadable"
    digest = hashlib.sha256()
    try:
        with open(file.path, "rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError:
        return "unreadable"
    return digest.hexdigest()


def _labelled(recipe: DataRecipe) -> Iterator[tuple[str, Role, str]]:
    """(source, role, label): the label opens the ids of a source; two sources of one name get a number."""
    seen: dict[str, int] = {}
    roles: list[tuple[Role, tuple[str, ...]]] = [("main", recipe.sources), ("ood", recipe.out_of_distribution)]
    for role, sources in roles:
        for source in sources:
            label = _label(source)
            seen[label] = seen.get(label, 0) + 1
            yield source, role, label if seen[label] == 1 else f"{label}-{seen[label]}"


def _label(source: str) -> str:
    if source.startswith("python:"):
        return source.rpartition("/")[2] if "/" in source else source.removeprefix("python:")
    return _base(source).name or "root"


def _base(source: str) -> Path:
    """The folder or file that a source names; for a glob, the folder before its first wildcard."""
    path = Path(source).expanduser()
    if not glob.has_magic(source):
        return path.absolute()
    fixed = []
    for part in path.parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed).absolute()


def _files_of(source: str, role: Role, label: str, recipe: DataRecipe) -> Iterator[InputFile]:
    field = "data.sources" if role == "main" else "data.out_of_distribution"
    include = recipe.include
    if source.startswith("python:"):
        roots = _python_roots(source, field)
        include = ("*.py",) if include == ("*",) else include
        found = (f for root in roots for f in _under(root, role, label, recipe.exclude_folders))
    elif glob.has_magic(source):
        found = _matches(source, role, label)
    else:
        path = _base(source)
        if not path.exists():
            raise InputError.of(field, source, "there is no such file or folder; give a path, a glob or python:stdlib")
        found = _under(path, role, label, recipe.exclude_folders)
    count = 0
    for file in found:
        matches = any(fnmatch(file.path.name, pattern) or fnmatch(file.id, pattern) for pattern in include)
        if matches or (file.problem is not None and file.path.is_dir()):
            count += 1
            yield file
    if not count:
        raise InputError.of(field, source, f"it holds no file that matches {', '.join(include)}")


def _python_roots(source: str, field: str) -> list[Path]:
    """Where this interpreter keeps its standard library, or an installed package; nothing is imported."""
    if source == "python:stdlib":
        return [Path(sysconfig.get_path("stdlib"))]
    name = source.removeprefix("python:package/")
    if name == source or not _PACKAGE.match(name):
        raise InputError.of(field, source, "write python:stdlib or python:package/NAME")
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise InputError.of(field, source, f"no package {name} is installed here; pip install it or name another")
    if spec.submodule_search_locations is not None:
        return [Path(location) for location in spec.submodule_search_locations]
    if not spec.has_location or spec.origin is None:
        raise InputError.of(field, source, f"{name} is built into the interpreter and has no source file")
    return [Path(spec.origin)]


def _matches(source: str, role: Role, label: str) -> Iterator[InputFile]:
    """Files that a glob names (`**` goes through folders); a folder that matches is not a file and is not entered."""
    base = _base(source)
    for name in sorted(glob.glob(str(Path(source).expanduser()), recursive=True)):
        path = Path(name).absolute()
        if not path.is_dir():
            yield _file(path, f"{label}/{path.relative_to(base).as_posix()}", role)


def _under(root: Path, role: Role, label: str, exclude: tuple[str, ...]) -> Iterator[InputFile]:
    """The file itself, or every file below a folder, sorted; each real folder is entered once, so links cannot loop."""
    if not root.is_dir():
        yield _file(root, label, role)
        return
    entered: set[tuple[int, int]] = set()
    waiting: list[tuple[Path, str]] = [(root, label)]
    while waiting:
        path, file_id = waiting.pop()
        try:
            status = path.stat()
        except OSError:
            yield _file(path, file_id, role)
            continue
        if not stat.S_ISDIR(status.st_mode):
            yield _file(path, file_id, role)
            continue
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        try:
            names = sorted(os.listdir(path), reverse=True)
        except OSError as error:
            yield InputFile(file_id, path, role, 0, f"the folder cannot be listed: {error.strerror}")
            continue
        waiting.extend((path / name, f"{file_id}/{name}") for name in names if name not in exclude)


def _file(path: Path, file_id: str, role: Role) -> InputFile:
    try:
        status = path.stat()
    except OSError as error:
        return InputFile(file_id, path, role, 0, f"it cannot be opened: {error.strerror}")
    if not stat.S_ISREG(status.st_mode):
        return InputFile(file_id, path, role, 0, "it is not a regular file")
    return InputFile(file_id, path, role, status.st_size)
