"""A judge that sees every pair twice, the sides swapped: what it prefers, what it owes to the side and the length, and whether people agree.

A preference counts only if both orders give it; else the pair is a tie (Zheng et al., arXiv 2306.05685, section 3.4). Position bias: of the
pairs where the orders disagree, how often the first answer won both times. Length control: the strengths of a Bradley-Terry model with the
difference of lengths and the side as covariates, so at equal length and no side (as Dubois et al., arXiv 2404.04475, do with a logistic
model). Two votes of one pair, and pairs of one prompt, are one cluster. No torch.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from aether.evidence.agreement import Agreement, cohen_kappa
from aether.evidence.bradley_terry import Fit, Votes, fit
from aether.evidence.judging import prediction_powered_mean
from aether.evidence.pairs import Pair, Side
from aether.evidence.statistics import Measurement, exact_proportion, mean
from aether.spec.base import Noun
from aether.spec.errors import DamagedRecord, InputError
from aether.spec.evidence import Interval

Verdict = Literal["a", "b", "tie"]
SCORE: dict[Verdict, float] = {"a": 1.0, "tie": 0.5, "b": 0.0}
LONGER, SIDE = "longer by 1000 characters", "standing first"
_ALONE = re.compile(r"\W*(?:ANSWER\W*)?(1|2|TIE)\W*", re.IGNORECASE)
_VERDICT = re.compile(r"VERDICT:\W*(1|2|TIE)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Twice:
    """The judge's word on one pair in both orders; None where it said nothing that can be read."""

    a_first: Verdict | None
    b_first: Verdict | None

    @property
    def combined(self) -> Verdict | None:
        """The preference that both orders give, else a tie; None where one order cannot be read."""
        if self.a_first is None or self.b_first is None:
            return None
        return self.a_first if self.a_first == self.b_first else "tie"


class JudgedPair(Noun):
    """A pair with what the judge wrote about it in each order: the record that every figure is summed up from."""

    pair: Pair
    a_first: str
    b_first: str

    @property
    def twice(self) -> Twice:
        """The verdicts in its words."""
        return Twice(verdict_of(self.a_first, "a"), verdict_of(self.b_first, "b"))


def verdict_of(answer: str, first: Side) -> Verdict | None:
    """The last verdict in what a judge wrote when `first` stood first, or a word that is nothing else; None where there is none."""
    alone = _ALONE.fullmatch(answer)
    found = [alone[1]] if alone else _VERDICT.findall(answer)
    if not found:
        return None
    if found[-1].upper() == "TIE":
        return "tie"
    return "a" if (found[-1] == "1") == (first == "a") else "b"


def judged_lines(judged: Sequence[JudgedPair]) -> str:
    """The records as JSON lines."""
    return "".join(json.dumps(one.model_dump(mode="json"), ensure_ascii=False) + "\n" for one in judged)


def read_judged_pairs(path: Path) -> tuple[JudgedPair, ...]:
    """The records of a judgement. Raises InputError where there are none, DamagedRecord for a line that is none."""
    if not path.is_file():
        raise InputError.of("judgement", str(path), "no such file; run `aether judge` with this folder as --out")
    try:
        return tuple(JudgedPair.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines())
    except ValidationError as error:
        raise DamagedRecord(f"{path} has a line that is no judged pair; run the judge again", path=str(path)) from error


@dataclass(frozen=True)
class Position:
    """What the order of the answers does to this judge."""

    consistent: Measurement
    """The share of pairs whose two orders give the same verdict."""
    first_wins: Measurement | None
    """Of the pairs where one side won in both orders, the share where it was the first; 0.5 is no bias. None: there is none."""
    unread: int
    """Answers of the judge, of two per pair, that hold no verdict."""


def position(verdicts: Sequence[Twice]) -> Position:
    """Raises InputError where no pair has a verdict in both orders."""
    both = [v for v in verdicts if v.combined is not None]
    unread = sum((v.a_first is None) + (v.b_first is None) for v in verdicts)
    if not both:
        raise InputError.of(
            "judge",
            f"{unread} of {2 * len(verdicts)} answers",
            "none of its answers holds a verdict; ask another judge",
        )
    first = sum((v.a_first, v.b_first) == ("a", "b") for v in both)
    second = sum((v.a_first, v.b_first) == ("b", "a") for v in both)
    same = sum(v.a_first == v.b_first for v in both)
    flipped = exact_proportion(first, first + second) if first + second else None
    return Position(exact_proportion(same, len(both)), flipped, unread)


def win_share(pairs: Sequence[Pair], verdicts: Sequence[Twice], one: str, other: str) -> Measurement:
    """The share of pairs that `one` wins against `other`, ties as half a win, clustered by prompt. Raises InputError where they never met."""
    scores, prompts = [], []
    for pair, said in zip(pairs, verdicts, strict=True):
        verdict = said.combined
        if verdict is not None and {pair.a_model, pair.b_model} == {one, other}:
            scores.append(SCORE[verdict] if pair.a_model == one else 1.0 - SCORE[verdict])
            prompts.append(pair.prompt)
    if not scores:
        raise InputError.of("models", f"{one}, {other}", "no pair of theirs was judged")
    found = mean(np.array(scores), prompts)
    if found.se:
        return _as_share(found)
    # Without variance the t interval has no length: whole prompts count, by the exact interval of a share.
    whole = exact_proportion(round(found.value * found.clusters), found.clusters)
    return replace(found, interval=whole.interval)


def votes_of(pairs: Sequence[Pair], verdicts: Sequence[Twice]) -> Votes:
    """Two votes a pair, one for each order, the first answer on the left; prompts stand where raters do. Raises InputError without models."""
    rows: list[tuple[str, str, str, str, float]] = []
    for pair, said in zip(pairs, verdicts, strict=True):
        if not pair.a_model or not pair.b_model or said.a_first is None or said.b_first is None:
            continue
        longer = (len(pair.a) - len(pair.b)) / 1000.0
        for left, right, verdict, win, more in (
            (pair.a_model, pair.b_model, said.a_first, "a", longer),
            (pair.b_model, pair.a_model, said.b_first, "b", -longer),
        ):
            winner = "tie" if verdict == "tie" else "left" if verdict == win else "right"
            rows.append((left, right, winner, pair.prompt, more))
    if not rows:
        raise InputError.of("pairs", len(pairs), "no judged pair names a_model and b_model")
    left, right, winner, prompts, longer = (list(column) for column in zip(*rows, strict=True))
    return Votes.of(left, right, winner, prompts).with_covariate(LONGER, longer)


def length_controlled(votes: Votes) -> Fit:
    """Strengths at equal length, with no side. Raises InputError where a model never lost, or nothing was ever preferred."""
    if not votes.outcome.any():
        raise InputError.of("votes", len(votes.left), "every one is a tie, so no strength can be told")
    return fit(votes.with_covariate(SIDE, np.ones(len(votes.left))))


def controlled_share(found: Fit, one: str, other: str) -> tuple[float, Interval]:
    """The chance that `one` is preferred to `other` at equal length and no side, with its interval."""
    apart, span, _ = found.difference(one, other, scale=1.0)
    low, high = (1.0 / (1.0 + math.exp(-end)) for end in (span.low, span.high))
    return 1.0 / (1.0 + math.exp(-apart)), Interval(low=low, high=high, level=span.level, method=span.method)


@dataclass(frozen=True)
class Held:
    """The judge beside people, on the pairs that both judged."""

    kappa: Agreement
    """Over a, b and tie."""
    where_both_prefer: Measurement | None
    """The share that agrees among pairs where neither says tie."""


def held_against(people: Mapping[int, Verdict], verdicts: Sequence[Twice]) -> Held:
    """`people` by the number of the pair, from 0. Raises InputError where they share no pair."""
    shared = [
        (people[i], said.combined) for i, said in enumerate(verdicts) if i in people and said.combined is not None
    ]
    if not shared:
        raise InputError.of("people", len(people), "people and the judge share no pair")
    strict = [(p, j) for p, j in shared if "tie" not in (p, j)]
    agreed = exact_proportion(sum(p == j for p, j in strict), len(strict)) if strict else None
    return Held(cohen_kappa([p for p, _ in shared], [j for _, j in shared]), agreed)


def corrected_share(
    people: Mapping[int, Verdict], pairs: Sequence[Pair], verdicts: Sequence[Twice], one: str, other: str
) -> Measurement:
    """The share of pairs that people would give `one`, from those that people judged (a random part) and the judge on all of them.

    Prediction-powered, so it needs nothing of the judge's errors. Raises InputError where either part has fewer than two pairs.
    """
    there: list[tuple[float, float]] = []
    elsewhere: list[float] = []
    for i, (pair, said) in enumerate(zip(pairs, verdicts, strict=True)):
        verdict = said.combined
        if verdict is None or {pair.a_model, pair.b_model} != {one, other}:
            continue
        turned = pair.a_model != one
        judge = abs(turned - SCORE[verdict])
        if i in people:
            there.append((abs(turned - SCORE[people[i]]), judge))
        else:
            elsewhere.append(judge)
    return _as_share(prediction_powered_mean([p for p, _ in there], [j for _, j in there], elsewhere))


def _as_share(found: Measurement) -> Measurement:
    """Cut off at 0 and 1, beyond which no share lies: a t interval of few prompts goes there, and so can a corrected value."""
    span = found.interval
    if span is not None:
        span = span.model_copy(update={"low": min(1.0, max(0.0, span.low)), "high": max(0.0, min(1.0, span.high))})
    return replace(found, value=min(1.0, max(0.0, found.value)), interval=span)
