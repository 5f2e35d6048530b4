"""What a record says of a model, in the parts that every such page has: what it can do, what it can't, what was not tested, how; and the card."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aether.evidence.files import write_atomically
from aether.report.page import page_html, page_markdown
from aether.spec.answer import Page
from aether.spec.endpoint import is_address
from aether.spec.evidence import Evidence
from aether.spec.report import Block, Items, Report, Section, Text, Verbatim, text_of


@dataclass(frozen=True)
class CardRow:
    """One number of a model card: the set, in words, and the evidence that it is."""

    dataset: str
    told: str
    metric: str
    evidence: Evidence


@dataclass(frozen=True)
class Parts:
    """One record of a model. `evidence` holds every number that the blocks cite; `rows` are the card's, out of it."""

    place: str
    found: Sequence[Section]
    cannot: Sequence[Block]
    untested: Sequence[Text]
    how: Sequence[Block]
    evidence: Sequence[Evidence]
    rows: Sequence[CardRow]


def name_of(place: str) -> str:
    """What a model is called: its address, its file or folder, or the run whose `model` it is. A card goes where this machine's paths say nothing."""
    if is_address(place):
        return place
    path = Path(place)
    return (path.parent.name if path.name == "model" else path.name) or "model"


def page_of_parts(title: str, subtitle: str, parts: Sequence[Parts], untested: Sequence[Text] = ()) -> Page:
    """One page of all of them. `untested`: what is missing from the records together."""
    missing = (*(text for part in parts for text in part.untested), *untested)
    cannot = tuple(block for part in parts for block in part.cannot)
    how = tuple(block for part in parts for block in part.how)
    sections = (
        *(section for part in parts for section in part.found),
        Section(key="cannot", title="What it can't do", blocks=cannot),
        Section(key="not-tested", title="What was not tested", blocks=(Items(items=missing),)),
        Section(key="how", title="How", blocks=how),
    )
    name = Verbatim(role="name", text=name_of(parts[0].place))
    report = Report(title=text_of(f"{title} ", name), subtitle=text_of(subtitle), sections=sections)
    return Page(report=report, evidence=tuple(row for part in parts for row in part.evidence))


def card_of_parts(parts: Sequence[Parts], page: Page) -> str:
    """A Hugging Face model card: the page's text, and its scores and rates as `model-index`."""
    from huggingface_hub import ModelCardData

    results = [_result(row) for part in parts for row in part.rows]
    place = parts[0].place
    library = None if is_address(place) or place.endswith(".gguf") else "transformers"
    data = ModelCardData(model_name=name_of(place), eval_results=results, library_name=library)
    return f"---\n{data.to_yaml()}\n---\n\n{page_markdown(page)}"


def write_parts(folder: Path, page: Page, parts: Sequence[Parts]) -> tuple[Path, Path, Path]:
    """report.md, report.html and MODEL_CARD.md in the folder."""
    paths = (folder / "report.md", folder / "report.html", folder / "MODEL_CARD.md")
    for path, text in zip(paths, (page_markdown(page), page_html(page), card_of_parts(parts, page)), strict=True):
        write_atomically(path, text)
    return paths


def _result(row: CardRow) -> Any:
    from huggingface_hub import EvalResult

    span = row.evidence.interval
    limits = None if span is None else {"low": span.low, "high": span.high, "level": span.level}
    return EvalResult(
        task_type="text-generation", dataset_type=row.dataset, dataset_name=row.told, metric_type=row.metric,
        metric_value=row.evidence.value, metric_args=limits,
    )  # fmt: skip
