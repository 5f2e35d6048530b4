"""Carries out the edits of findings: from the end of a file to its start, none that touches another, written as a whole."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from aether.evidence.files import write_atomically
from aether.spec.review import Edit, Finding


def apply_edits(text: str, edits: Iterable[Edit | None]) -> str:
    """The text with every edit made; of two that overlap, the first by place."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    spans = sorted(
        {(_at(starts, text, e.line, e.column), _at(starts, text, e.end_line, e.end_column), e.text) for e in edits if e}
    )
    kept: list[tuple[int, int, str]] = []
    for span in spans:
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    for start, end, new in reversed(kept):
        text = text[:start] + new + text[end:]
    return text


def _at(starts: Sequence[int], text: str, line: int, column: int) -> int:
    """The place of a line and column. Columns of Python's trees count bytes of UTF-8."""
    start = starts[min(line, len(starts)) - 1]
    return start + len(text[start:].split("\n", 1)[0].encode()[: column - 1].decode(errors="ignore"))


def fix_files(findings: Sequence[Finding]) -> int:
    """Make the edits of all findings in their files. Returns how many findings had one."""
    by_path: dict[str, list[Edit]] = {}
    for finding in findings:
        if finding.edit is not None:
            by_path.setdefault(finding.path, []).append(finding.edit)
    for name, edits in by_path.items():
        path = Path(name)
        write_atomically(path, apply_edits(path.read_text(encoding="utf-8"), edits))
    return sum(map(len, by_path.values()))
