"""Contamination of a test set as a page: which items the training data holds, where, and whether the score is due to them."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from aether.evidence.contamination import Found, Place, SubsetScore, TestItem
from aether.evidence.files import write_atomically
from aether.evidence.statistics import exact_proportion
from aether.report.page import page_html, page_markdown
from aether.spec.answer import Page
from aether.spec.evidence import Evidence, Interval
from aether.spec.report import Cite, Items, Paragraph, Report, Section, Table, Verbatim, Words, heads, text_of

SHOWN = 10
"""So many items are shown on the page; all of them stand in the file."""


def page_of(
    test: Path, items: Sequence[TestItem], found: Sequence[Found], documents: int, scores: Sequence[SubsetScore]
) -> Page:
    """The page; every number on it is evidence."""
    judged = [one for one in found if one.band != "too short"]
    counts = Counter(one.band for one in found)
    told = f"runs of ten words, edited copies and near copies, {documents} training documents"
    evidence: list[Evidence] = []

    def cite(
        name: str, value: float, unit: str, source: str, interval: Interval | None = None, n: int | None = None
    ) -> tuple[Cite]:
        evidence.append(
            Evidence(
                id=f"contamination.{name}",
                metric=name.split(".")[-1],
                value=value,
                unit=unit,
                kind="measured",
                source=source,
                interval=interval,
                n=n,
            )
        )
        return (Cite(id=f"contamination.{name}", show="full"),)

    rows = []
    for band in ("contaminated", "partly", "clean"):
        share = exact_proportion(counts[band], len(judged)) if judged else None
        cell = cite(band, share.value, "fraction", told, share.interval, len(judged)) if share else (Words(text="—"),)
        rows.append(((Words(text=band),), cite(f"{band}-count", counts[band], "items", told), cell))
    rows.append(
        (
            (Words(text="too short"),),
            cite("short-count", counts["too short"], "items", "items of fewer than five words, not judged"),
            (Words(text="—"),),
        )
    )
    table = Table(columns=heads("band", "items", "share of the judged"), rows=tuple(rows), numeric=(1, 2))
    sections = [Section(key="found", title="What the training data holds", blocks=(table,))]
    worst = sorted(zip(items, found, strict=True), key=lambda pair: -pair[1].likeness)[:SHOWN]
    shown = [pair for pair in worst if pair[1].band in ("contaminated", "partly")]
    if shown:
        lines = tuple(
            text_of(
                Verbatim(role="name", text=item.id), ": ", *cite(f"{number}.{name}", value, "fraction", meaning),
                f" {of}, at ", Verbatim(role="path", text=place),
            )
            for number, (item, one) in enumerate(shown)
            for name, value, meaning, of, place in [_strongest(one)]
        )  # fmt: skip
        sections.append(Section(key="where", title="Where", blocks=(Items(items=lines),)))
    if scores:
        sections.append(_scores(scores, cite))
    limits = "Runs and copies do not see a paraphrase or a translation: a clean item here is not proven unseen."
    sections.append(Section(key="limits", title="What this does not see", blocks=(Paragraph(text=text_of(limits)),)))
    title = text_of("Contamination of ", Verbatim(role="path", text=str(test)))
    return Page(report=Report(title=title, sections=tuple(sections)), evidence=tuple(evidence))


def _strongest(one: Found) -> tuple[str, float, str, str, str]:
    """Of the three signs of a copy the largest: its name, value, meaning, words after the value, and where."""
    signs = [
        ("coverage", one.coverage, "share of the words in shared runs", "of its words in shared runs", one.place),
        ("aligned", one.aligned, "score of the best alignment over the item's words", "of its words, edits taken off", one.aligned_place),
        ("near", one.near, "Jaccard similarity of five-word shingles", "alike as a whole", one.near_place),
    ]  # fmt: skip
    name, value, meaning, of, place = max(signs, key=lambda sign: sign[1])
    return name, value, meaning, of, _told(place)


def _told(place: Place | tuple[str, int] | None) -> str:
    if isinstance(place, Place):
        return f"{place.file}, document {place.document}, bytes {place.start} to {place.end}"
    return f"{place[0]}, document {place[1]}" if place else ""


def _scores(scores: Sequence[SubsetScore], cite: Callable[..., tuple[Cite]]) -> Section:
    rows = tuple(
        (
            (Verbatim(role="name", text=one.task),),
            (Verbatim(role="name", text=one.metric),),
            cite(f"score.{n}.all", one.everything, "score", "all items"),
            cite(f"score.{n}.clean", one.clean, "score", "items that the training data does not hold"),
            cite(f"score.{n}.touched", one.touched, "score", "items in the bands contaminated and partly"),
            cite(
                f"score.{n}.difference",
                one.difference,
                "score",
                f"Welch over clusters, p {one.p_value:.3g}",
                one.interval,
            ),
        )
        for n, one in enumerate(scores)
    )
    table = Table(
        columns=heads("task", "metric", "all", "clean", "touched", "clean less touched"),
        rows=rows,
        numeric=(2, 3, 4, 5),
    )
    return Section(key="scores", title="Whether the score is due to it", blocks=(table,))


def write_pages(folder: Path, page: Page) -> tuple[Path, Path]:
    """contamination.md and contamination.html."""
    paths = folder / "contamination.md", folder / "contamination.html"
    write_atomically(paths[0], page_markdown(page))
    write_atomically(paths[1], page_html(page))
    return paths
