"""What an evaluation says of a model: what it can do, with intervals; what it can't; what was not tested; and the card with the same numbers.

Every number is summed up from the items of the folder at the moment of writing. Follows the Hugging Face model card (`model-index`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aether.counsel.citing import Cited
from aether.counsel.identity import identity_text, untested_weights
from aether.counsel.page_parts import CardRow, Parts, page_of_parts, write_parts
from aether.evidence.files import read_json
from aether.evidence.items import Item, Score, Slice, less_is_better, read_items, scores, worst_slices
from aether.evidence.likelihoods import UNITS, name_of, score_unit
from aether.evidence.prompts import Sensitivity, sensitivity
from aether.evidence.sequential import SEQUENTIAL
from aether.evidence.statistics import smallest_detectable
from aether.spec.answer import Page
from aether.spec.evidence import Evidence, Interval
from aether.spec.report import (
    Block,
    Cite,
    Code,
    Paragraph,
    Section,
    Table,
    Text,
    Verbatim,
    Words,
    heads,
    text_of,
)

RESOLUTION = "smallest difference of two systems that this set finds four times in five, unpaired, from the score's standard error"
SUBTITLE = "Every number is summed up from the items beside this page. Intervals speak of other items of the same kind."
NO_ATTACKS = text_of("Misuse and attacks: no task here tries to make the model do harm.")
_MEANING = {"in": "in distribution", "out": "out of distribution", "unknown": "not known"}


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation's folder says."""

    folder: Path
    about: dict[str, object]
    items: Sequence[Item]
    scores: Sequence[Score]
    slices: Sequence[Slice]
    sensitivities: Sequence[Sensitivity]
    sequential: Sequence[dict[str, Any]]
    """Of an evaluation that stopped when it had decided: what decided it."""
    made: Sequence[dict[str, object]]
    """What each folder's record says of how it was made: several for the page of a model."""


def read_evaluation(folder: Path) -> Evaluated:
    """The folder of `aether evaluate`, every score summed up again. Raises InputError or DamagedRecord."""
    items = read_items(folder / "items.jsonl")
    about = read_json(folder / "evaluation.json")
    metrics = sorted({(item.task, metric) for item in items for metric in item.values})
    many = {item.task for item in items if item.variant}
    spread = [sensitivity(items, task, metric) for task, metric in metrics if task in many]
    decided = folder / SEQUENTIAL
    sequential = [read_json(decided)] if decided.exists() else []
    return Evaluated(folder, about, items, scores(items), slices_of(items), spread, sequential, [about])


def slices_of(items: Sequence[Item]) -> list[Slice]:
    """The worst slices by each metric, of items under one prompt each."""
    plain = [item for item in items if not item.variant]
    metrics = sorted({metric for item in plain for metric in item.values})
    return [found for metric in metrics for found in worst_slices(plain, metric)]


def write_pages(done: Evaluated) -> tuple[Path, Path, Path]:
    """report.md, report.html and MODEL_CARD.md in the folder."""
    return write_parts(done.folder, page_of(done), [parts_of(done)])


def page_of(done: Evaluated) -> Page:
    """The page of an evaluation alone; every number on it is evidence."""
    return page_of_parts("Evaluation of", SUBTITLE, [parts_of(done)], [NO_ATTACKS])


def parts_of(done: Evaluated) -> Parts:
    """What an evaluation says of its model."""
    rows = [_score_evidence(done, score) for score in done.scores]
    cited = Cited("evaluate", evidence=rows)
    computed = Cited("evaluate.detectable", RESOLUTION, "computed")
    picked = Cited("evaluate.chance", "options of the items", "computed")
    whole = [(score, _chance(done.items, score)) for score in done.scores if not score.variant]
    tasks = sorted({item.task for item in done.items})
    sections = [
        Section(
            key="scores", title="What it can do", blocks=_able([score for score, chance in whole if chance is None])
        ),
        _against(done, cited),
        _prompts(done, cited),
        _resolution(done, computed),
    ]
    guessed = [(score, chance) for score, chance in whole if chance is not None]
    weak = (*_no_better_than_chance(guessed, picked), *_weak(done, cited))
    return Parts(
        place=str(done.about.get("place", "")),
        found=[section for section in sections if section is not None],
        cannot=weak,
        untested=_untested(done, tasks),
        how=_how(done),
        evidence=(*cited.evidence, *computed.evidence, *picked.evidence),
        rows=[
            CardRow(score.task, f"{score.task} ({_MEANING[score.distribution]})", score.metric, row)
            for score, row in zip(done.scores, rows, strict=True)
            if not score.variant
        ],
    )


def score_id(score: Score) -> str:
    """The id of a score's evidence."""
    parts = [score.task, score.metric, score.distribution, *([score.variant] if score.variant else [])]
    return "evaluate." + ".".join(re.sub(r"[^A-Za-z0-9_:-]+", "-", part) for part in parts)


def _score_evidence(done: Evaluated, score: Score) -> Evidence:
    found = score.found
    prompt = f", prompt {score.variant}" if score.variant else ""
    return Evidence(
        id=score_id(score),
        metric=score.metric.replace(",", "_"),
        value=found.value,
        unit=_unit(done.items, score.metric),
        kind="measured",
        source=f"items.jsonl, task {score.task}{prompt}, {_MEANING[score.distribution]}",
        interval=found.interval,
        n=found.clusters,
        conditions={"answers": found.n, "note": found.note},
    )


def _unit(items: Sequence[Item], metric: str) -> str:
    unit = score_unit(metric)
    if unit is not None:
        return unit
    values = {item.values[metric] for item in items if metric in item.values}
    return "fraction" if values <= {0.0, 1.0} else "score"


def _name(text: str) -> Verbatim:
    return Verbatim(role="name", text=text)


def _chance(items: Sequence[Item], score: Score) -> float | None:
    """What is right without ability, a random pick among the options or nothing that is written, where the score is not shown to be above it;
    None where it is, or where an answer is not right or wrong."""
    asked = [
        i for i in items if (i.task, i.distribution) == (score.task, score.distribution) and score.metric in i.values
    ]
    if name_of(score.metric).startswith("acc") and all(item.options for item in asked):
        chance = sum(1.0 / item.options for item in asked) / len(asked)
    elif _unit(asked, score.metric) == "fraction" and not less_is_better(score.metric):
        chance = 0.0
    else:
        return None
    low = score.found.value if score.found.interval is None else score.found.interval.low
    return chance if low <= chance else None


def _able(shown: Sequence[Score]) -> tuple[Block, ...]:
    if not shown:
        return (Paragraph(text=text_of("Nothing that was asked shows it: no score is above what chance gives.")),)
    return (_score_table(shown),)


def _no_better_than_chance(guessed: Sequence[tuple[Score, float]], cited: Cited) -> tuple[Block, ...]:
    if not guessed:
        return ()
    rows = []
    for score, chance in guessed:
        key = score_id(score)
        picked = cited(key.removeprefix("evaluate."), chance, "fraction", metric="chance")
        scored = ((Cite(id=key, show="full"),), picked, (Cite(id=key, show="n"),))
        rows.append(((_name(score.task),), (_name(score.metric),), *scored))
    told = "Not shown to be better than chance: the score's interval reaches down to what picking an option at random gives, or nothing was right."
    columns = heads("task", "metric", "score", "by chance", "independent items")
    return Paragraph(text=text_of(told), tone="note"), Table(columns=columns, rows=tuple(rows), numeric=(2, 3, 4))


def _score_table(whole: Sequence[Score]) -> Table:
    rows = tuple(
        (
            (_name(s.task),),
            (_name(s.metric),),
            (Words(text=_MEANING[s.distribution]),),
            (Cite(id=score_id(s), show="full"),),
            (Cite(id=score_id(s), show="n"),),
        )
        for s in whole
    )
    return Table(
        columns=heads("task", "metric", "distribution", "score", "independent items"), rows=rows, numeric=(3, 4)
    )


def _against(done: Evaluated, cited: Cited) -> Section | None:
    if not done.sequential:
        return None
    rows = []
    for row in (row for one in done.sequential for row in one["tasks"]):
        span = Interval(low=row["low"], high=row["high"], level=row["level"], method="betting confidence sequence")
        source = f"items.jsonl of both, task {row['task']}, after {row['items']} of {row['of']} pairs"
        cell = cited(f"sequential.{row['task']}", row["difference"], "score", span, source, row["items"], row["metric"])
        cells = (
            (_name(row["task"]),),
            cell,
            (Cite(id=cell[0].id, show="n"),),
            (Words(text=row["verdict"]),),
        )
        rows.append(cells)
    place = Verbatim(role="path", text=", ".join(dict.fromkeys(one["against"] for one in done.sequential)))
    told = text_of("Items came by lot until each task was decided against ", place, ". These intervals hold however often one looked; "
                   "the plain ones of the scores do not where a task stopped early, and such a score leans away from the other's.")  # fmt: skip
    table = Table(columns=heads("task", "less the other", "pairs", "it is"), rows=tuple(rows), numeric=(1, 2))
    return Section(key="against", title="Decided as it came", blocks=(Paragraph(text=told, tone="note"), table))


def _weak(done: Evaluated, cited: Cited) -> tuple[Block, ...]:
    if not done.slices:
        told = "No slice scores below the rest of its task beyond chance, or no task names slices of at least twenty items."
        return (Paragraph(text=text_of(told)),)
    rows = []
    for number, found in enumerate(done.slices):
        source = f"items.jsonl, task {found.task}, {found.tag} less the rest; p {found.p_value:.2g} after Holm"
        apart, unit = found.score - found.others, UNITS.get(name_of(found.metric)) or _unit(done.items, found.metric)
        cell = cited(f"slice.{number}", apart, unit, found.difference, source, found.items, found.metric)
        rows.append(((_name(found.task),), (_name(found.tag),), cell, (Cite(id=cell[0].id, show="n"),)))
    table = Table(
        columns=heads("task", "slice", "less the rest of the task", "items"), rows=tuple(rows), numeric=(2, 3)
    )
    told = "Slices that score below the other items of their task, after correction for every slice that was looked at (Holm)."
    return Paragraph(text=text_of(told), tone="note"), table


def _prompts(done: Evaluated, cited: Cited) -> Section | None:
    if not done.sensitivities:
        return None
    rows: list[tuple[Text, ...]] = []
    for number, found in enumerate(done.sensitivities):
        unit = _unit(done.items, found.metric)
        cells: list[Text] = [(_name(found.task),), (_name(found.metric),)]
        numbers: list[tuple[str, float, str, Interval | None]] = [
            ("mean", found.over_prompts.value, unit, found.over_prompts.interval), ("lowest", found.lowest, unit, None),
            ("highest", found.highest, unit, None),
        ]  # fmt: skip
        for name, value, of, interval in numbers:
            source = f"items.jsonl, task {found.task}, over {len(found.scores)} prompts"
            cells.append(cited(f"prompts.{number}.{name}", value, of, interval, source))
        parts: list[object] = []
        for factor, share in found.shares.items():
            source = f"share of the variance over prompts: {factor}"
            (cell,) = cited(f"prompts.{number}.share-{factor}", share, "fraction", None, source, metric="share")
            parts += [_name(factor), Words(text=" "), Cite(id=cell.id), Words(text="; ")]
        rows.append((*cells, tuple(parts[:-1]) or text_of("these prompts do not differ")))  # pyright: ignore[reportArgumentType]
    table = Table(
        columns=heads("task", "metric", "mean over prompts", "lowest", "highest", "share of the variance"),
        rows=tuple(rows),
        numeric=(2, 3, 4),
    )
    told = "The interval of the mean is for a prompt that was not tried, on these items."
    return Section(key="prompts", title="Over prompts", blocks=(Paragraph(text=text_of(told), tone="note"), table))


def _resolution(done: Evaluated, cited: Cited) -> Section | None:
    rows = []
    for score in done.scores:
        if score.variant or not score.found.se:
            continue
        # Two independent systems at this noise; a paired comparison of alike systems sees less than that.
        value = smallest_detectable(score.found.se * 2**0.5, score.found.clusters)
        name, unit = score_id(score).removeprefix("evaluate."), _unit(done.items, score.metric)
        (cell,) = cited(name, value, unit, metric="detectable")
        rows.append(((_name(score.task),), (_name(score.metric),), (Cite(id=cell.id),)))
    if not rows:
        return None
    told = "A difference of two models below this is not to be relied on from this set; a paired comparison (aether compare) sees somewhat less."
    table = Table(
        columns=heads("task", "metric", "smallest difference that it can see"), rows=tuple(rows), numeric=(2,)
    )
    return Section(
        key="resolution", title="What this set can see", blocks=(Paragraph(text=text_of(told), tone="note"), table)
    )


def _untested(done: Evaluated, tasks: Sequence[str]) -> list[Text]:
    kinds = {item.distribution for item in done.items}
    told = untested_weights(done.made)
    told.append(text_of("Other training seeds: this is one set of weights, and its seed's luck is in every score."))
    if "out" not in kinds:
        told.append(
            text_of("Out of distribution: no task is marked as unlike the training data, so nothing here speaks of it.")
        )
    if "unknown" in kinds:
        told.append(text_of("Whether the test items were in the training data: check it with aether contamination."))
    one = [task for task in tasks if all(not item.variant for item in done.items if item.task == task)]
    if one:
        told.append(text_of("Other prompts, for ", _name(", ".join(one)), ": asked under one prompt each."))
    untold = sorted({f"{metric} ({item.task})" for item in done.items for metric in item.untold})
    if untold:
        why = (
            ", which the tool that asked sums up over all items together: no mean over items, so no interval is known."
        )
        told.append(text_of("By these metrics: ", _name(", ".join(untold)), why))
    told.append(text_of("Everything that is not in the table of scores."))
    return told


def _how(done: Evaluated) -> list[Block]:
    blocks: list[Block] = []
    for about in done.made:
        suite = about.get("suite")
        label = str(suite.get("name", "")) if isinstance(suite, dict) else ""
        fingerprint = Verbatim(role="hash", text=str(about.get("fingerprint", "")))
        kept = ". The answers are kept in answers.jsonl; the same command scores them again, without the model."
        text = text_of("Suite ", _name(label), ", fingerprint ", fingerprint, kept)
        which = identity_text(about)
        blocks += [] if which is None else [Paragraph(text=which)]
        blocks += [Paragraph(text=text), Code(language="console", text=str(about.get("command", "")))]
    return blocks
