"""What a training's own watch saw, for the report: norms by layer, alerts, and the batches that were not believed."""

from typing import Any

from aether.knowledge.training_alerts import alert_rules
from aether.report.figures import curve_of, is_number, read_lines
from aether.report.pieces import full, name
from aether.report.sources import RunFacts, Sources
from aether.spec.report import Block, Figure, Paragraph, Table, Text, Verbatim, heads, text_of

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
            rows.append((text_of(name(str(row["step"]))), text_of(_RUNGS[row["judgement"]]), loss, _documents(row)))
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


_MOST_LAYERS = 6
"""Layers that a figure draws, evenly over the depth: more lines cannot be told apart."""


def layer_figures(facts: RunFacts) -> list[Block]:
    """Gradient norms, and updates over weights, by layer over training. Empty where there are not two looks."""
    found = read_lines(facts, "train", "layers.jsonl")
    if found is None or len(found[1]) < 2:
        return []
    artefact, rows = found
    quantities = (
        ("gradients", "Gradient norm by layer", "norm before clipping", lambda one: one["grad"]),
        ("updates", "Update over weights, by layer", "norm of the update / of the weights", _ratio),
    )
    figures: list[Block] = []
    for name_, title, y_label, value_of in quantities:
        lines = []
        for layer in _shown(list(rows[0]["layers"])):
            points = ((row["tokens"], value_of(row["layers"][layer])) for row in rows if layer in row["layers"])
            drawn = [(x, y) for x, y in points if y is not None and is_number(y) and y > 0]
            if len(drawn) > 1:
                lines.append(curve_of(layer.replace("blocks.", "layer "), "train", artefact, drawn))
        if lines:
            figures.append(
                Figure(
                    name=f"layers-{name_}", form="curve", title=title, x_label="training tokens", y_label=y_label,
                    lines=tuple(lines), log_y=True,
                    caption=text_of("Looks while it trained; layers count from the input."),
                )
            )  # fmt: skip
    return figures


def _ratio(one: dict[str, Any]) -> float | None:
    return one["update"] / one["weight"] if one.get("update") and one["weight"] else None


def _shown(layers: list[str]) -> list[str]:
    """The embedding and some of the blocks, the first and the last among them."""
    blocks = [layer for layer in layers if layer.startswith("blocks.")]
    others = [layer for layer in layers if layer.endswith("embedding")]
    if len(blocks) > _MOST_LAYERS:
        last = len(blocks) - 1
        blocks = [blocks[round(i * last / (_MOST_LAYERS - 1))] for i in range(_MOST_LAYERS)]
    return others[:1] + blocks


def alert_blocks(facts: RunFacts, sources: Sources) -> list[Block]:
    """A row for each kind of alert that was given while it trained. Empty without any."""
    found = read_lines(facts, "train", "alerts.jsonl")
    if found is None:
        return []
    rows: list[tuple[Text, ...]] = []
    for rule in alert_rules():
        given = [row for row in found[1] if row["key"] == rule.key]
        if given:
            first, cited = name(str(given[0]["step"])), full(f"train.alert_value.{rule.key}")
            rows.append((text_of(rule.title), text_of(first), cited, text_of(rule.advice)))
    caption = text_of("Alerts while it trained: the first of each kind.")
    columns = heads("alert", "at update", "value", "what to try")
    return [Table(caption=caption, columns=columns, rows=tuple(rows), numeric=(2,))] if rows else []
