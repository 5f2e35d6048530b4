"""Reviews files: every check over every part, findings in the order of the files, with what was silenced and what could not be read.

A comment `aether: ignore[AE105] reason` on the line of a finding, or on a line of its own before it, silences it. Files are only parsed.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aether.counsel.review import (
    rules_arguments,
    rules_configs,
    rules_kubernetes,
    rules_megatron,
    rules_merging,
    rules_python,
    rules_requirements,
    rules_saving,
    rules_scripts,
    rules_serving,
)
from aether.counsel.review.documents import MAX_BYTES, Document, UnreadableFile, kind_of, parse
from aether.counsel.review.registry import DOCUMENT_CHECKS, SETTINGS_CHECKS, Hit
from aether.counsel.review.settings import settings_of
from aether.evidence.files import explained_os_errors
from aether.knowledge.review_rules import rules
from aether.spec.errors import InputError
from aether.spec.review import Finding

_SKIPPED = frozenset(
    {
        ".git",
        ".venv",
        "venv",
        "node_modules",
        "__pycache__",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        "site-packages",
        ".tox",
        "build",
        "dist",
    }
)
MODULES = (
    rules_python,
    rules_scripts,
    rules_arguments,
    rules_configs,
    rules_megatron,
    rules_merging,
    rules_serving,
    rules_kubernetes,
    rules_requirements,
    rules_saving,
)
"""The modules of checks: importing one registers its checks."""
_IGNORE = re.compile(r"aether:\s*ignore(?:\[(?P<ids>[A-Z0-9, ]+)\])?")


@dataclass(frozen=True)
class Selection:
    """Which rules run: all, or those that are selected, less those that are ignored. Prefixes count: AE4 is every AE4xx."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field, names in (("select", self.select), ("ignore", self.ignore)):
            for name in names:
                if not any(known.startswith(name) for known in rules()):
                    raise InputError.of(field, name, "no rule begins so; `aether review --list` names them")

    def has(self, rule: str) -> bool:
        """Whether a rule runs."""
        chosen = not self.select or rule.startswith(self.select)
        return chosen and not (self.ignore and rule.startswith(self.ignore))


@dataclass(frozen=True)
class Reviewed:
    """The findings, how many were silenced by comments, the files that were read, and those that could not be."""

    findings: tuple[Finding, ...]
    silenced: int
    files: tuple[str, ...]
    unread: tuple[str, ...]


def review_text(text: str, name: str, selection: Selection | None = None) -> tuple[Finding, ...]:
    """The findings in one file's text; its name tells the kind. What cannot be parsed has none."""
    try:
        return _review(parse(name, text), selection or Selection())[0]
    except UnreadableFile:
        return ()


def review_paths(paths: Sequence[Path], selection: Selection | None = None) -> tuple[Finding, ...]:
    """The findings in files and folders."""
    return review(paths, selection).findings


def review(paths: Sequence[Path], selection: Selection | None = None) -> Reviewed:
    """Review files, and of folders every file of a known kind. Raises InputError for a path that is not there."""
    found: list[Finding] = []
    files: list[str] = []
    unread: list[str] = []
    silenced = 0
    for path in _files(paths):
        with explained_os_errors(path):
            size = path.stat().st_size
            if size > MAX_BYTES:
                unread.append(f"{path}: {size:,} bytes, more than {MAX_BYTES:,}")
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
        try:
            findings, quiet = _review(parse(str(path), text), selection or Selection())
        except UnreadableFile as error:
            unread.append(str(error))
            continue
        files.append(str(path))
        found += findings
        silenced += quiet
    return Reviewed(tuple(found), silenced, tuple(files), tuple(unread))


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                inside = file.relative_to(path).parts
                if file.is_file() and not _SKIPPED & set(inside) and kind_of(file.name) != "other":
                    yield file
        elif path.is_file():
            yield path
        else:
            raise InputError.of("path", str(path), "no such file or folder")


def _review(document: Document, selection: Selection) -> tuple[tuple[Finding, ...], int]:
    hits: list[tuple[str, Hit]] = []
    for rule, check in DOCUMENT_CHECKS.items():
        if selection.has(rule):
            hits += [(rule, hit) for hit in check(document)]
    for settings in settings_of(document):
        for rule, (kinds, check) in SETTINGS_CHECKS.items():
            if settings.kind in kinds and selection.has(rule):
                hits += [(rule, hit) for hit in check(settings, document)]
    lines = document.lines
    kept = [(rule, hit) for rule, hit in dict.fromkeys(hits) if not _is_silenced(lines, hit.line, rule)]
    kept.sort(key=lambda pair: (pair[1].line, pair[1].column, pair[0]))
    return tuple(_finding(document.path, rule, hit) for rule, hit in kept), len(set(hits)) - len(kept)


def _finding(path: str, rule: str, hit: Hit) -> Finding:
    row = rules()[rule]
    return Finding(
        rule=rule, severity=row.severity, path=path, line=max(1, hit.line), column=max(1, hit.column), message=hit.message, why=row.why,
        source=row.source, edit=hit.edit,
    )  # fmt: skip


def _is_silenced(lines: list[str], line: int, rule: str) -> bool:
    places = [lines[line - 1]] if 0 < line <= len(lines) else []
    if 1 < line <= len(lines) + 1 and re.match(r"\s*(?:#|//)", lines[line - 2]):
        places.append(lines[line - 2])
    for text in places:
        match = _IGNORE.search(text)
        if match and (match["ids"] is None or rule in re.split(r"[,\s]+", match["ids"])):
            return True
    return False
