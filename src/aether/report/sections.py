"""The sections that tell what each step did: data, training, compression, evaluation, serving. One function each.

They arrange whatever evidence a step left, by its id; a step that left none gives no section.
"""

from itertools import groupby

from aether.report.figures import latency_figure, loss_figure, marks_by_slice, size_figure
from aether.report.headline import settings_of
from aether.report.pieces import NO_SLICE, full, if_known, label, name, pivot, setting, slice_of, user
from aether.report.sources import RunFacts, Sources
from aether.report.training import alert_blocks, blamed_blocks, layer_figures
from aether.spec.evidence import Evidence
from aether.spec.report import Block, Facts, Figure, Items, Paragraph, Section, Table, Text, Words, heads, text_of

_SPLITS = frozenset({"train", "validation", "test", "ood"})
_BASELINE_NOTE = (
    "Baselines say what the same bytes cost without a model: general compressors, and a table of counted n-grams. "
    "Compressors read each file alone or all of them together as their own record says."
)


def data_section(facts: RunFacts, sources: Sources) -> Section | None:
    """What the model was made from: counts per split, what was left out and why."""
    evidence = sources.ledger.of_step("data")
    if not evidence:
        return None
    left_out = [e for e in evidence if e.metric.startswith(("reject", "duplicate"))]
    whole = [e for e in evidence if slice_of(e) == NO_SLICE and e not in left_out]
    splits = [e for e in evidence if slice_of(e) in _SPLITS]
    others = [e for e in evidence if e not in [*left_out, *whole, *splits]]
    blocks: list[Block] = [Facts(facts=_asked_data(facts))]
    blocks += _tables((whole, "in all"), (splits, "by split"), (left_out, "what was left out, by reason"))
    blocks += _tables(*([(list(g), label(m)) for m, g in groupby(others, key=lambda e: e.metric)]))
    blocks.append(
        Paragraph(
            text=text_of(
                "Splits are by folder, so that files of one folder are on one side only; near-copies are removed before the "
                "split. The data card beside the step's output lists filters, sources and licences in full."
            ),
            tone="note",
        )
    )
    blocks += _choices(facts, "data")
    return Section(key="data", title="Data", blocks=tuple(blocks))


def _asked_data(facts: RunFacts) -> tuple[tuple[Text, Text], ...]:
    data = facts.manifest.brief.data
    rows = [(text_of("sources"), text_of(user(", ".join(data.sources) or "none")))]
    if data.out_of_distribution:
        rows.append((text_of("out of distribution"), text_of(user(", ".join(data.out_of_distribution)))))
    return tuple(rows)


def training_section(facts: RunFacts, sources: Sources) -> Section | None:
    """The loss curve, what training measured, the pilots, and the exact configuration."""
    evidence = sources.ledger.of_step("train")
    if not evidence:
        return None
    blocks: list[Block] = [f for f in [loss_figure(facts, sources)] if f is not None]
    blocks += _tables(([e for e in evidence if e.metric not in ("blamed_loss", "alert_value")], "main run"))
    blocks += [*layer_figures(facts), *alert_blocks(facts, sources), *blamed_blocks(facts, sources)]
    pilots = _pilots(facts, sources)
    if pilots is not None:
        blocks.append(pilots)
    blocks += _choices(facts, "train")
    return Section(key="training", title="Training", blocks=tuple(blocks))


def _pilots(facts: RunFacts, sources: Sources) -> Table | None:
    steps = [step for step in facts.records if step.startswith("pilot")]
    if not steps:
        return None
    shared = [m for m in ("parameters", "tokens", "loss", "bits_per_byte") if f"{steps[0]}.{m}" in sources.ledger]
    rows = tuple(
        ((name(step),), *(if_known(sources, f"{step}.{metric}") for metric in shared), setting(step, "wall_s"))
        for step in steps
    )
    columns = heads("pilot", *(label(m) for m in shared), "wall seconds")
    caption = text_of("The short runs that the plan's loss curve was fitted to.")
    return Table(columns=columns, rows=rows, numeric=tuple(range(1, len(columns))), caption=caption)


def compression_section(facts: RunFacts, sources: Sources) -> Section | None:
    """The candidates: size against quality, and which one is served."""
    evidence = sources.ledger.of_step("compress")
    if not evidence:
        return None
    blocks: list[Block] = [f for f in [size_figure(sources)] if f is not None]
    candidates = pivot(evidence, "candidates", whole="what is served")
    assert candidates is not None
    blocks.append(candidates)
    bound = text_of(
        "A smaller form is kept only when the upper limit of its loss of quality, paired file by file with the full "
        "precision, is inside the bound of the brief."
    )
    blocks.append(Paragraph(text=bound, tone="note"))
    blocks += _choices(facts, "compress")
    return Section(key="compression", title="Compression", blocks=tuple(blocks))


def evaluation_section(facts: RunFacts, sources: Sources) -> Section | None:
    """In distribution and out of it, apart; then baselines on the same bytes."""
    evidence = sources.ledger.of_step("evaluate")
    if not evidence:
        return None
    outside = [e for e in evidence if slice_of(e).startswith("ood")]
    inside = [e for e in evidence if slice_of(e) == NO_SLICE]
    others = [e for e in evidence if e not in outside and e not in inside]
    blocks: list[Block] = []
    quality = marks_by_slice(sources, [e for e in evidence if e.metric == "bits_per_byte"], "test split")
    if len(quality) > 1:
        blocks.append(
            Figure(
                name="quality",
                form="intervals",
                title="Bits per byte, lower is better",
                x_label="bits per UTF-8 byte",
                marks=quality,
                caption=text_of("The model on held-out files and the baselines on the same bytes, with intervals."),
            )
        )
    blocks += _tables((inside, "in distribution: held-out folders of the same source"))
    if outside:
        blocks += _tables((outside, "out of distribution: text from elsewhere, kept apart"))
    elif inside:
        note = "Nothing was measured out of distribution: what the model does on other text is unknown."
        blocks.append(Paragraph(text=text_of(note), tone="warning"))
    if others:
        blocks += _tables((others, "baselines and slices"))
        blocks.append(Paragraph(text=text_of(_BASELINE_NOTE), tone="note"))
    blocks += _choices(facts, "evaluate")
    return Section(key="evaluation", title="Evaluation", blocks=tuple(blocks))


def serving_section(facts: RunFacts, sources: Sources) -> Section | None:
    """Latency and throughput under the brief's load."""
    evidence = sources.ledger.of_step("serve")
    if not evidence:
        return None
    blocks: list[Block] = [f for f in [latency_figure(facts)] if f is not None]
    latency = [e for e in evidence if e.metric.endswith(("_p50", "_p99", "_p90", "_p95"))]
    table = _percentiles(latency)
    if table is not None:
        blocks.append(table)
    blocks += _tables(([e for e in evidence if e not in latency], "under load"))
    note = (
        "Arrivals are open loop: a slow server does not slow the clients down, so waiting in the queue counts. "
        "Intervals of percentiles are by order statistics and assume independent requests; a queue makes them too short."
    )
    blocks.append(Paragraph(text=text_of(note), tone="note"))
    blocks += _choices(facts, "serve")
    return Section(key="serving", title="Serving", blocks=tuple(blocks))


_SPOKEN = {"ttft": "time to first token", "itl": "time between tokens", "e2e": "whole request"}


def _percentiles(latency: list[Evidence]) -> Table | None:
    if not latency:
        return None
    cells: dict[tuple[str, str], Text] = {}
    for evidence in latency:
        what, _, share = evidence.metric.rpartition("_")
        row = f"{_SPOKEN.get(what, what)}" + ("" if slice_of(evidence) == NO_SLICE else f", {slice_of(evidence)}")
        cells[row, share] = full(evidence.id)
    shares = sorted({share for _, share in cells}, key=lambda s: int(s[1:]))
    names = list(dict.fromkeys(row for row, _ in cells))
    rows = tuple(((name(row),), *(cells.get((row, s), (Words(text="—"),)) for s in shares)) for row in names)
    return Table(columns=heads("latency", *shares), rows=rows, numeric=tuple(range(1, len(shares) + 1)))


def limits_section(facts: RunFacts, sources: Sources) -> Section:
    """What the model cannot do, what was not tested, and what is known to be weak. The proven parts come from evidence."""
    items: list[Text] = []
    for verdict in facts.verdicts:
        if verdict.status == "missed":
            items.append(text_of("It misses the target on ", name(label(verdict.target.metric)), "."))
        if verdict.status == "unproven":
            items.append(text_of("The target on ", name(label(verdict.target.metric)), " is unproven."))
    near, far = "evaluate.bits_per_byte", "evaluate.bits_per_byte.ood"
    if near in sources.ledger and far in sources.ledger:
        words = " on held-out files of its own source, and "
        items.append(text_of("Quality: ", *full(near), words, *full(far), " on text from elsewhere."))
    items += [
        text_of(
            "One training run with one seed: another seed gives other numbers, and that spread is in no interval here."
        ),
        text_of(
            "Not tested: following instructions, conversation, truthfulness, bias, harmful output, and memorised text."
        ),
        text_of("Completions can be wrong and still look right: they are suggestions to be read, and tests to be run."),
        text_of("It continues text of the kind that it was trained on; it is no general assistant."),
    ]
    if facts.manifest.brief.modality == "code":
        items.append(text_of("A completion that parses is not one that works: no generated program was executed."))
    if "serve" in facts.records:
        items.append(
            text_of("Latency holds for this machine, this load and these lengths; other loads were not measured.")
        )
    return Section(
        key="limits", title="What it cannot do, and what was not tested", blocks=(Items(items=tuple(items)),)
    )


def _tables(*groups: tuple[list[Evidence], str]) -> list[Block]:
    found: list[Block] = []
    for evidence, corner in groups:
        table = pivot(evidence, corner)
        if table is not None:
            found.append(table)
    return found


def _choices(facts: RunFacts, step: str) -> list[Block]:
    record = facts.records.get(step)
    if record is None or not record.config:
        return []
    around = tuple((text_of(name(path)), setting(step, path)) for path in ("seed", "threads", "fingerprint"))
    rows = (*settings_of(step, record.config), *around)
    return [Facts(title=f"Every choice of the step {step}", facts=rows, folded=True)]
