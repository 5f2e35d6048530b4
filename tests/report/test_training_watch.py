"""What the report says of a training's own watch."""

import json
from dataclasses import replace
from pathlib import Path

from aether.evidence.ledger import Ledger
from aether.report.html import to_html
from aether.report.sources import RunFacts, Sources
from aether.report.training import alert_blocks, blamed_blocks, layer_figures
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
    at = page.index(">242<")
    cells = page[at : page.index("</tr>", at)]
    assert "skipped, rates cut" in cells and "9.87" in cells and "lib/&lt;odd&gt;.py" in cells
    assert "not finite" in page[page.index(">250<") :]


def test_without_spikes_there_is_nothing_to_say(tmp_path):
    facts = run_facts(tmp_path)
    assert blamed_blocks(facts, Sources.of_run(facts)) == []


def test_norms_by_layer_are_drawn_with_labels_that_can_be_read(tmp_path):
    layers = ("embedding", "blocks.0", "blocks.1")
    rows = [
        {"step": step, "tokens": 512 * step, "layers": {name: {"grad": 0.5**step, "weight": 4.0, "update": 0.002 / step} for name in layers}}
        for step in (1, 4, 8)
    ]  # fmt: skip
    facts = watched(tmp_path, "layers.jsonl", rows)
    page = shown(facts, layer_figures(facts))
    assert "Gradient norm by layer" in page and "Update over weights, by layer" in page
    assert "layer 1" in page and ">0.01<" in page and "mathdefault" not in page
    near = [row | {"layers": {n: {"grad": 0.4 + 0.1 * row["step"], "weight": 0.0} for n in layers}} for row in rows]
    less_than_a_decade = shown(facts, layer_figures(watched(tmp_path / "near", "layers.jsonl", near)))
    assert ">0.5<" in less_than_a_decade and ">0.5<" not in page
    one_look = watched(tmp_path / "one", "layers.jsonl", rows[:1])
    assert layer_figures(one_look) == []


def test_an_alert_stands_with_its_value_and_what_to_try(tmp_path):
    row = {"step": 31, "key": "data-wait", "value": 0.4}
    facts = watched(
        tmp_path, "alerts.jsonl", [row, row | {"step": 60}], number("train.alert_value.data-wait", 0.4, "fraction")
    )
    page = shown(facts, alert_blocks(facts, Sources.of_run(facts)))
    row_shown = page[page.index(">31<") : page.index("</tr>", page.index(">31<"))]
    assert "40" in row_shown and "data" in row_shown.lower() and page.count("Read from a faster disk") == 1
