"""What a training's own watch saw, for the report: the batches that were not believed."""

from aether.report.figures import read_lines
from aether.report.pieces import full, name
from aether.report.sources import RunFacts, Sources
from aether.spec.report import Block, Paragraph, Table, Text, Verbatim, heads, text_of

_RUNGS = {
    "skip": "skipped",
    "cut": "skipped, rates cut",
    "rewind": "rewound",
    "stop": "stopped",
}


def blamed_blocks(facts: RunFacts, sources: Sources) -> list[Block]:
    """A row for each described batch that was not believed: what was done, its worst sample's loss and documents. Empty if none."""
    found = read_lines(facts, "train", "blamed.jsonl")
    if found is None:
        return []
    rows: list[tuple[Text, ...]] = []
    for place, row in enumerate(found[1], start=1):
        cited, lost = f"train.blamed_loss.batch-{place}", row["samples"][0]["loss"] is None
        if lost or cited in sources.ledger:
            loss = text_of("not finite") if lost else full(cited)
            rows.append(
                (text_of(name(f"update {row['step']}")), text_of(_RUNGS[row["judgement"]]), loss, _documents(row))
            )
    caption = text_of(
        "Updates that were not believed: the sample with the highest loss in the batch, and what is in it."
    )
    note = (
        "It is a lead, not a verdict: a hard sample may be right. The step's own file has every sample that was named."
    )
    columns = heads("update", "what was done", "its loss", "documents")
    table = Table(caption=caption, columns=columns, rows=tuple(rows), numeric=(2,))
    return [table, Paragraph(text=text_of(note), tone="note")] if rows else []


def _documents(row: dict) -> Text:
    ids = [one["id"] for one in row["samples"][0]["documents"]]
    return text_of(Verbatim(role="user", text=", ".join(ids))) if ids else text_of("not known")
