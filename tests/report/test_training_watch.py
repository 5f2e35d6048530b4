"""What the report says of a training's own watch."""

import json
from dataclasses import replace
from pathlib import Path

from aether.evidence.ledger import Ledger
from aether.report.html import to_html
from aether.report.sources import RunFacts, Sources
from aether.report.training import blamed_blocks
from aether.spec.report import Report, Section, text_of
from records import evidence, number, record, run_facts


def watched(folder: Path, name: str, rows: list[dict], *more) -> RunFacts:
    """A made-up run whose training left one more file, and more evidence."""
    (folder / "train").mkdir(parents=True)
    (folder / "train" / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    facts = run_facts(folder)
    records = dict(facts.records) | {"train": record("train", (*evidence()["train"], *more), folder / "train")}
    return replace(facts, records=records, ledger=Ledger.of(records, ()))


def shown(facts: RunFacts, blocks) -> str:
    section = Section(key="training", title="Training", blocks=tuple(blocks))
    return to_html(Report(title=text_of("x"), subtitle=text_of("x"), sections=(section,)), Sources.of_run(facts))


def test_batches_that_were_not_believed_stand_with_their_documents(tmp_path):
    worst = {"index": 1931, "loss": 9.87, "documents": [{"id": "lib/<odd>.py", "group": "lib"}]}
    row = {"step": 242, "judgement": "cut", "median_loss": 3.1, "samples": [worst]}
    lost = row | {"samples": [worst | {"loss": None}], "step": 250}
    facts = watched(tmp_path, "blamed.jsonl", [row, lost], number("train.blamed_loss.batch-1", 9.87, "nat/token"))
    page = shown(facts, blamed_blocks(facts, Sources.of_run(facts)))
    at = page.index("update 242")
    cells = page[at : page.index("</tr>", at)]
    assert "skipped, rates cut" in cells and "9.87" in cells and "lib/&lt;odd&gt;.py" in cells
    assert "not finite" in page[page.index("update 250") :]


def test_without_spikes_there_is_nothing_to_say(tmp_path):
    facts = run_facts(tmp_path)
    assert blamed_blocks(facts, Sources.of_run(facts)) == []
