"""Findings as text for eyes, as JSON, and as SARIF 2.1.0 (OASIS), which code hosts show beside the lines."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import aether
from aether.counsel.review.engine import Reviewed
from aether.knowledge.review_rules import rules
from aether.spec.review import Finding

_LEVELS = {"error": "error", "warning": "warning", "info": "note"}


def text_lines(found: Reviewed) -> list[str]:
    """One line a finding with its place, and a line with the reason; then a summary."""
    lines: list[str] = []
    for finding in found.findings:
        mark = " [fixable]" if finding.edit else ""
        lines.append(
            f"{finding.path}:{finding.line}:{finding.column} {finding.rule} {finding.severity}{mark}: {finding.message}"
        )
        lines.append(f"    {finding.why}")
    lines += [f"not reviewed: {why}" for why in found.unread]
    return [*lines, summary(found)]


def summary(found: Reviewed) -> str:
    """How many of each severity, in how many files."""
    counts = {level: sum(f.severity == level for f in found.findings) for level in _LEVELS}
    said = ", ".join(f"{count} {level}" for level, count in counts.items() if count) or "no findings"
    fixable = sum(f.edit is not None for f in found.findings)
    silenced = f"; {found.silenced} silenced" if found.silenced else ""
    return (
        f"{said} in {len(found.files)} file{'' if len(found.files) == 1 else 's'}"
        + (f"; {fixable} fixable with --fix" if fixable else "")
        + silenced
    )


def serious(findings: Sequence[Finding]) -> bool:
    """Whether there is a finding at or above warning."""
    return any(f.severity != "info" for f in findings)


def to_sarif(found: Reviewed) -> dict[str, Any]:
    """A SARIF log of one run, with every rule that found something."""
    named = sorted({f.rule for f in found.findings})
    driver = {
        "name": "aether review",
        "version": aether.__version__,
        "rules": [
            {
                "id": name,
                "name": rules()[name].title,
                "shortDescription": {"text": rules()[name].title},
                "fullDescription": {"text": rules()[name].why},
                "help": {"text": f"{rules()[name].why} Source: {rules()[name].source}."},
                "defaultConfiguration": {"level": _LEVELS[rules()[name].severity]},
            }
            for name in named
        ],
    }
    results = [_result(finding, named.index(finding.rule)) for finding in found.findings]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def _result(finding: Finding, index: int) -> dict[str, Any]:
    uri = PurePath(finding.path).as_posix()
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri},
                    "region": {"startLine": finding.line, "startColumn": finding.column},
                }
            }
        ],
    }
    if (edit := finding.edit) is not None:
        region = {
            "startLine": edit.line,
            "startColumn": edit.column,
            "endLine": edit.end_line,
            "endColumn": edit.end_column,
        }
        change = {
            "artifactLocation": {"uri": uri},
            "replacements": [{"deletedRegion": region, "insertedContent": {"text": edit.text}}],
        }
        result["fixes"] = [{"description": {"text": rules()[finding.rule].title}, "artifactChanges": [change]}]
    return result
