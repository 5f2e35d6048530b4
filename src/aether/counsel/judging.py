"""A judgement of pairs as a page: can the judge be trusted (order, length, people), and only then what it prefers."""

import csv
import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from aether.counsel.annotation import Annotation
from aether.counsel.citing import Cited
from aether.counsel.votes import strengths
from aether.evidence import swapped
from aether.evidence.files import read_json, write_atomically
from aether.evidence.items import read_items
from aether.evidence.pairs import Pair, paired_answers, read_pairs
from aether.evidence.statistics import Measurement
from aether.evidence.swapped import Twice, Verdict, read_judged_pairs
from aether.report.page import page_html, page_markdown
from aether.spec.answer import Page
from aether.spec.errors import InputError
from aether.spec.report import Block, Cite, Paragraph, Report, Section, Table, Text, Verbatim, heads, text_of


@dataclass(frozen=True)
class Judged:
    """The pairs, the judge's word on each, and people's where there is any (by the number of the pair)."""

    folder: Path
    judge: str
    pairs: Sequence[Pair]
    verdicts: Sequence[Twice]
    people: dict[int, Verdict]


def read_judged(folder: Path) -> Judged:
    """The folder of `aether judge`, every verdict read again from the judge's words. Raises InputError or DamagedRecord."""
    rows = read_judged_pairs(folder / "judged.jsonl")
    about = read_json(folder / "evaluation.json")
    place = str(about["place"])
    file = (folder / str(about.get("file", ""))).resolve()
    people = people_of(file) if file.is_file() else {}
    name = str(about["target"].get("model") or Path(place).name)
    return Judged(folder, name, [row.pair for row in rows], [row.twice for row in rows], people)


def pairs_to_judge(places: Sequence[Path]) -> tuple[Pair, ...]:
    """Pairs of a file, or of the answers of two evaluations. Raises InputError for other places."""
    if not 1 <= len(places) <= 2:
        raise InputError.of("places", len(places), "give one file of pairs, or two folders of evaluations")
    if len(places) == 1:
        return read_pairs(places[0])
    one, other = places
    names = (one.name, other.name) if one.name != other.name else (str(one), str(other))
    return paired_answers(read_items(one / "items.jsonl"), read_items(other / "items.jsonl"), names)


def file_for_people(places: Sequence[Path], out: Path) -> str:
    """Where people judge the same pairs, relative to the judge's folder."""
    return os.path.relpath(places[0], out) if len(places) == 1 else "pairs.jsonl"


def write_pairs(places: Sequence[Path], pairs: Sequence[Pair], out: Path) -> None:
    """The pairs of two evaluations as a file, for people to judge too."""
    if len(places) == 2:
        lines = "".join(pair.model_dump_json(exclude_none=True) + "\n" for pair in pairs)
        write_atomically(out / file_for_people(places, out), lines)


def people_of(path: Path) -> dict[int, Verdict]:
    """What most people said of each pair; where as many say a as b, or most say tie, a tie. Checks and skips are left out."""
    task = Annotation(path)
    said: dict[int, Counter[str]] = {}
    for (_, item), judgement in task.standing().items():
        if judgement.verdict != "skip" and task.pairs[item].check is None:
            said.setdefault(item, Counter())[judgement.verdict] += 1
    found: dict[int, Verdict] = {}
    for item, counts in said.items():
        (most, times), *rest = counts.most_common()
        alone = not rest or rest[0][1] < times
        found[item] = "a" if alone and most == "a" else "b" if alone and most == "b" else "tie"
    return found


def write_votes(done: Judged) -> Path | None:
    """votes.csv in the folder: two votes a pair, for `aether votes FILE --rater prompt --covariate longer --side`; None where no pair names
    its models."""
    if not any(pair.a_model and pair.b_model for pair in done.pairs):
        return None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("left", "right", "winner", "prompt", "longer"))
    votes = swapped.votes_of(done.pairs, done.verdicts)
    assert votes.raters is not None
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(votes.raters), 1)}
    for left, right, outcome, prompt, longer in zip(
        votes.left, votes.right, votes.outcome, votes.raters, votes.covariates[:, 0], strict=True
    ):
        winner = {1: "left", 0: "tie", -1: "right"}[int(outcome)]
        writer.writerow((votes.players[left], votes.players[right], winner, numbers[prompt], f"{longer:.3f}"))
    path = done.folder / "votes.csv"
    write_atomically(path, text.getvalue())
    return path


def write_pages(done: Judged, page: Page) -> Path:
    """report.md and report.html in the folder."""
    write_atomically(done.folder / "report.md", page_markdown(page))
    path = done.folder / "report.html"
    write_atomically(path, page_html(page))
    return path


def page_of(done: Judged) -> Page:
    """The page. Raises InputError where the judge gave no verdict at all."""
    cited = Cited("judge", f"{len(done.pairs)} pairs, each in both orders; answers.jsonl")
    sections = (
        Section(key="trust", title="Can this judge be trusted?", blocks=tuple(_trust(done, cited))),
        Section(key="preferred", title="What it prefers", blocks=tuple(_preferred(done, cited))),
    )
    title = text_of("Pairs judged by ", Verbatim(role="name", text=done.judge))
    return Page(report=Report(title=title, sections=sections), evidence=tuple(cited.evidence))


def _share(cited: Cited, name: str, found: Measurement, source: str = "") -> tuple[Cite]:
    return cited(name, found.value, "fraction", found.interval, source)


def _trust(done: Judged, cited: Cited) -> list[Block]:
    order = swapped.position(done.verdicts)
    blocks: list[Block] = [
        Paragraph(
            text=text_of("The same verdict in both orders: ", *_share(cited, "consistent", order.consistent), ".")
        )
    ]
    if order.first_wins is not None:
        told = (
            "Where the orders disagree, the answer that stood first won: ",
            *_share(cited, "first_wins", order.first_wins),
            "; a half is no bias.",
        )
        blocks.append(Paragraph(text=text_of(*told)))
    if order.unread:
        count = cited("unread", order.unread, "")
        blocks.append(
            Paragraph(
                text=text_of("Answers without a verdict, whose pairs are left out: ", *count, "."), tone="warning"
            )
        )
    return blocks + _beside_people(done, cited)


def _beside_people(done: Judged, cited: Cited) -> list[Block]:
    if not done.people:
        none = "No person has judged these pairs, so nothing says that this judge prefers what people prefer. A part of them, drawn by lot, judged in "
        return [Paragraph(text=text_of(none, Verbatim(role="command", text="aether web"), " would."), tone="warning")]
    held = swapped.held_against(done.people, done.verdicts)
    source = f"{held.kappa.items} pairs that people judged too"
    blocks: list[Block] = []
    if held.kappa.value is not None:
        kappa = cited("kappa", held.kappa.value, "", held.kappa.interval, source)
        blocks.append(Paragraph(text=text_of("Cohen's kappa with people, ties a category: ", *kappa, ".")))
        if held.kappa.interval is None or held.kappa.interval.low <= 0.0:
            weak = "It is not shown to agree with people beyond chance: what it prefers says nothing yet."
            blocks.append(Paragraph(text=text_of(weak), tone="warning"))
    if held.where_both_prefer is not None:
        share = _share(cited, "agreed", held.where_both_prefer, source)
        blocks.append(Paragraph(text=text_of("Of the pairs where neither says tie, they agree on ", *share, ".")))
    return blocks


def _preferred(done: Judged, cited: Cited) -> list[Block]:
    try:
        votes = swapped.votes_of(done.pairs, done.verdicts)
    except InputError:
        return [
            Paragraph(text=text_of("No judged pair names a_model and b_model, so nothing is ranked."), tone="warning")
        ]
    try:
        found = swapped.length_controlled(votes)
    except InputError:
        found = None
    rows: list[tuple[Text, ...]] = []
    for number, (one, other) in enumerate(combinations(votes.players, 2)):
        try:
            won = swapped.win_share(done.pairs, done.verdicts, one, other)
        except InputError:
            continue
        cells: list[Text] = [(Verbatim(role="name", text=one),), (Verbatim(role="name", text=other),),
                             _share(cited, f"{number}.won", won, f"{won.n} pairs, {won.clusters} prompts; a tie is half a win")]  # fmt: skip
        cells.append(text_of("not known"))
        if found is not None:
            value, span = swapped.controlled_share(found, one, other)
            cells[-1] = cited(
                f"{number}.equal_length",
                value,
                "fraction",
                span,
                f"Bradley-Terry over {found.votes} votes, at equal length and no side",
            )
        cells.append(_by_people(done, cited, number, one, other))
        rows.append(tuple(cells))
    columns = heads("one", "other", "one is preferred", "at equal length, no side", "as people would, corrected")
    table = Table(columns=columns, rows=tuple(rows), numeric=(2, 3, 4))
    if found is not None:
        return [table, *strengths(found, votes, cited)]
    why = "No control for length: a model always wins, every vote is a tie, or side and length decide every vote, so no strength fits."
    return [table, Paragraph(text=text_of(why), tone="warning")]


def _by_people(done: Judged, cited: Cited, number: int, one: str, other: str) -> Text:
    try:
        share = swapped.corrected_share(done.people, done.pairs, done.verdicts, one, other)
    except InputError:
        return text_of("not known: too few pairs were judged by people, or all")
    return _share(
        cited,
        f"{number}.by_people",
        share,
        f"prediction-powered: {share.n} pairs by people, the judge on the rest; {share.note}",
    )
