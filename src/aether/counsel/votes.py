"""Pairwise votes as a page: strengths with intervals over raters, ranks that the votes can tell, ties, covariates, agreement."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aether.counsel.annotation import Annotation
from aether.counsel.citing import Cited
from aether.evidence.agreement import Agreement
from aether.evidence.bradley_terry import ELO, Fit, Ties, Votes, fit
from aether.spec.answer import Page
from aether.spec.errors import InputError
from aether.spec.evidence import Interval
from aether.spec.report import Block, Paragraph, Report, Section, Table, Verbatim, heads, text_of

COLUMNS = ("left", "right", "winner")
PASSED = 0.8
"""Annotators who pass a smaller share of the checks are left out (assumed; set before looking at their votes)."""


@dataclass(frozen=True)
class Given:
    """Votes as they were given."""

    votes: Votes
    careless: tuple[str, ...] = ()
    """Annotators who were left out for failing checks of attention."""
    planned: int | None = None
    """How many a study of preferences asked for; None where there was none."""
    agreement: Agreement | None = None
    """Krippendorff's alpha of the annotators who count; None where no pair was judged twice, and for votes of a CSV."""


def read_votes(path: Path, rater: str = "", covariates: Sequence[str] = ()) -> Given:
    """Votes of a CSV with left, right and winner, or of a file of pairs that people judged in `aether web`."""
    if path.suffix == ".csv":
        return Given(_csv_votes(path, rater, covariates))
    task = Annotation(path)
    careless = tuple(who for who, share in task.attention().items() if share.value < PASSED)
    try:
        agreement = task.alpha(careless)
    except InputError:
        agreement = None
    return Given(task.votes(careless), careless, task.study.votes_planned if task.study else None, agreement)


def _csv_votes(path: Path, rater: str, covariates: Sequence[str]) -> Votes:
    if not path.is_file():
        raise InputError.of(
            "votes", str(path), "no such file; give a .csv with left, right and winner, or a .jsonl of judged pairs"
        )
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    if not rows:
        raise InputError.of("votes", str(path), "it holds no vote")
    for name in (*COLUMNS, *([rater] if rater else []), *covariates):
        if name not in rows[0]:
            raise InputError.of("votes", ", ".join(rows[0]), f"there is no column {name}")
    left, right, winner = ([row[name] for row in rows] for name in COLUMNS)
    votes = Votes.of(left, right, winner, [row[rater] for row in rows] if rater else None)
    for name in covariates:
        try:
            votes = votes.with_covariate(name, [float(row[name]) for row in rows])
        except ValueError as error:
            raise InputError.of(f"column {name}", str(error), "give a number in every row") from error
    return votes


def fitted(votes: Votes, ties: Ties, side: bool) -> Fit:
    """The fit; `side` adds what standing on the left is worth."""
    return fit(votes.with_covariate("left side", np.ones(len(votes.left))) if side else votes, ties)


def page_of(found: Fit, given: Given, path: Path) -> Page:
    """The page; points are on Elo's scale, for display."""
    votes = given.votes
    told = f"{path.name}, {found.votes} votes, {found.clusters} {'raters' if votes.raters is not None else 'votes as clusters'}; {found.method}"
    cited = Cited("votes", told)
    blocks = strengths(found, votes, cited)
    if votes.raters is None:
        alone = (
            "No rater is named, so votes are taken as independent: intervals are too short where a person votes often."
        )
        blocks.append(Paragraph(text=text_of(alone), tone="warning"))
    if given.careless:
        who = Verbatim(role="user", text=", ".join(given.careless))
        blocks.append(Paragraph(text=text_of("Left out for failing checks of attention: ", who, ".")))
    blocks += agreed(given, cited)
    if given.planned is not None and found.votes < given.planned:
        have, planned = cited("have", found.votes, ""), cited("planned", given.planned, "", source="the study's plan")
        early = text_of(
            "Only ",
            *have,
            " of the ",
            *planned,
            " votes of the study count: looking early, and stopping when it pleases, finds too much.",
        )
        blocks.append(Paragraph(text=early, tone="warning"))
    section = Section(key="strengths", title="Strengths", blocks=tuple(blocks))
    title = text_of("Votes of ", Verbatim(role="path", text=str(path)))
    return Page(report=Report(title=title, sections=(section,)), evidence=tuple(cited.evidence))


def agreed(given: Given, cited: Cited) -> list[Block]:
    """Krippendorff's alpha in words; nothing where no pair was judged twice, or chance alone agrees fully."""
    alpha = given.agreement
    if alpha is None or alpha.value is None:
        return []
    source = f"{alpha.items} pairs that two or more judged, a tie between the sides; bootstrap over pairs"
    cell = cited("alpha", alpha.value, "", alpha.interval, source, alpha.items)
    return [Paragraph(text=text_of("Agreement of those who judged the same pairs, Krippendorff's alpha: ", *cell, "."))]


def strengths(found: Fit, votes: Votes, cited: Cited) -> list[Block]:
    """The table of strengths, and what covariates and ties are worth."""
    blocks: list[Block] = [_table(found, votes, cited)]
    for number, (name, (effect, se)) in enumerate(found.effects.items()):
        span = Interval(low=effect - 1.96 * se, high=effect + 1.96 * se, level=0.95, method=found.method)
        cell = cited(f"effect.{number}", effect, "log odds", span)
        what = Verbatim(role="name", text=name)
        blocks.append(
            Paragraph(text=text_of("A reply is preferred by ", *cell, " for one more of ", what, ", all else equal."))
        )
    if found.tie is not None:
        blocks.append(Paragraph(text=text_of("Davidson's tie parameter: ", *cited("tie", found.tie, "ratio"), ".")))
    return blocks


def _table(found: Fit, votes: Votes, cited: Cited) -> Table:
    counts = np.bincount(votes.left, minlength=len(found.players)) + np.bincount(
        votes.right, minlength=len(found.players)
    )
    spans, ranks = found.intervals(), found.ranks()
    shown = "as many as the votes can tell apart (Holm at 5 %)"
    rows = tuple(
        (
            (Verbatim(role="name", text=found.players[i]),),
            cited(f"{number}.points", float(ELO * found.strength[i]), "points", spans[i]),
            cited(f"{number}.best", ranks[i][0], "", source=shown),
            cited(f"{number}.worst", ranks[i][1], "", source=shown),
            cited(f"{number}.votes", int(counts[i]), ""),
        )
        for number, i in enumerate(np.argsort(-found.strength).tolist())
    )
    return Table(
        columns=heads("model", "strength", "best rank", "worst rank", "votes"), rows=rows, numeric=(1, 2, 3, 4)
    )
