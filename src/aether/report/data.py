"""A report as JSON: the same sections, each sourced piece with its words and its reference, and every record it may cite."""

from typing import Any

from aether.report.sources import Sources
from aether.spec.report import Badge, Gauge, Report, Words


def to_json(report: Report, sources: Sources) -> dict[str, Any]:
    """The report as plain data; `said` is what a reader of the other forms sees. Raises UnsourcedNumber."""
    value = report.model_dump(mode="json")
    value["title"] = _said(report.title, sources)
    value["subtitle"] = _said(report.subtitle, sources)
    for section, made in zip(value["sections"], report.sections, strict=True):
        section["blocks"] = [_block(block, sources) for block in made.blocks]
    value["evidence"] = [evidence.model_dump(mode="json") for evidence in sources.ledger]
    return value


def _block(block: Any, sources: Sources) -> dict[str, Any]:
    value = block.model_dump(mode="json")
    match block.block:
        case "paragraph":
            value["text"] = _said(block.text, sources)
        case "items":
            value["items"] = [_said(item, sources) for item in block.items]
        case "table":
            value["columns"] = [_said(column, sources) for column in block.columns]
            value["rows"] = [[_said(cell, sources) for cell in row] for row in block.rows]
        case "facts":
            value["facts"] = [[_said(key, sources), _said(fact, sources)] for key, fact in block.facts]
    if value.get("caption") is not None:
        value["caption"] = _said(block.caption, sources)
    return value


def _said(text: Any, sources: Sources) -> list[dict[str, Any]]:
    return [
        piece.model_dump(mode="json")
        | ({} if isinstance(piece, Words | Badge | Gauge) else {"said": sources.show(piece).text})
        for piece in text
    ]
