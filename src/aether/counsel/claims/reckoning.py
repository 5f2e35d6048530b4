"""Whether a number can be reckoned in a few steps from what a conversation has on record, and whether that is more than chance.

From quantities with their dimensions (time, bytes, money, operations) every product and quotient of up to three, every difference, sum,
share and change of two of one kind is formed. With enough numbers to start from, something comes near any number: so it is counted how
many of them lie around the number, and a match counts only where so few do that one of them would meet a made-up number, as rounded as
it is said, less often than `CHANCE`. What is nearer to the sentence is tried first: its own numbers, then those said before it and the person's, and
few steps before many. Nothing here knows what a number means; whose value it is, is judged in `support`.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from aether.counsel.claims.derived import Operand
from aether.counsel.claims.numbers import Said

CHANCE = 0.015
"""How often a made-up number may pass: chosen on two batches of replies and on copies of them with changed numbers."""
_AT_HAND = 0.05
"""The same where it is reckoned from the sentence, and one number beyond it at most."""
_REACH = math.log(3.0)
"""How far around a number its neighbours are counted, in either direction."""
_MOST = 30
"""Quantities that are computed with at most: the nearest ones."""
_FAR = 4
"""Steps away from the sentence, at most: a tier for each quantity, and one for a third of them."""
_SPANS = (
    (r"\bminutes?\b|/ ?min\b", (60.0,)), (r"\bhour(?:s|ly)?\b|/ ?h\b", (3600.0,)), (r"\bda(?:ys?|ily)\b", (86400.0,)), (r"\bweek(?:s|ly)?\b", (604800.0,)),
    (r"\bmonth(?:s|ly)?\b|/ ?mo\b", (2592000.0, 2628000.0)), (r"\byear(?:s|ly)?\b|\bannual\w*", (31536000.0,)),
)  # fmt: skip
_SCALES = ((r"thousand\b|1k\b|1,000\b", 1e3), (r"million\b|1?M\b", 1e6), (r"billion\b|1?B\b", 1e9))
_SHARES = frozenset({"fraction", "point", "ratio"})
BOUND = "a bound"
"""What a quantity is of that the person set: nothing is multiplied by it."""
Found = tuple[np.ndarray, np.ndarray]
"""Values, and how far each is from the sentence."""


@dataclass(frozen=True)
class Quantity:
    """Something to compute with. `tier`: 0 in the sentence, 1 said before or by the person. `of`: what it is of, if known."""

    value: float
    dimensions: tuple[int, ...]
    unit: str
    tier: int
    of: str = ""


def reckoned(number: Said, asked: Operand, known: Iterable[Quantity], text: str) -> bool:
    """Whether some reckoning gives this number, and would seldom give another one."""
    value = abs(asked.value)
    wide = (
        math.log1p(
            max(asked.slack * (2 if _BEYOND.search(text[: number.start]) else 1), _rounded(number, value))
            * (1 + 1e-6)
            / value
        )
        + 1e-4
        if value
        else 1.0
    )
    if wide > _WIDEST:
        return False
    pool = _nearest(known)
    if _AGAIN.search(text[: number.start]) and any(
        q.tier == 0 and q.dimensions == asked.dimensions and abs(q.value - value) <= wide * value for q in pool
    ):
        return asked.dimensions != _PURE
    parts = [*_of_one_kind(number, asked, pool)]
    if _REST.search(text[max(0, number.start - 40) : number.start]) and parts and _is_met(parts, value, wide):
        return True
    if not (number.ratio or number.unit in _SHARES):
        parts += _products(number, asked, pool, text)
    return bool(parts) and _is_met(parts, value, wide)


def _is_met(parts: list[Found], value: float, wide: float) -> bool:
    """Whether one of the results is the value, and a made-up value would seldom be met."""
    values, far = (np.concatenate(column) for column in zip(*parts, strict=True))
    away = np.abs(np.log(np.abs(values) + 1e-300) - math.log(value))
    expected, seen = wide / _REACH, np.empty(0)  # one more than were counted: few counted is not none
    for step in range(_FAR + 1):
        near = np.unique(np.round(away[(far == step) & (away <= _REACH)], 4))
        fresh = np.setdiff1d(near, seen)
        seen = np.union1d(seen, fresh)
        expected += float((fresh > wide).sum()) * wide / _REACH
        allowed = CHANCE if step > 1 else _AT_HAND
        if (fresh <= wide).any() or expected > _AT_HAND:
            return bool((fresh <= wide).any()) and expected <= allowed
    return False


def _rounded(number: Said, value: float) -> float:
    """Half of what the zeros at its end hide, where two digits at least are left: "2,900" may be 2,880."""
    shown = re.search(r"\d[\d,]*(?:\.\d+)?", number.words)
    digits = shown[0].replace(",", "") if shown else ""
    if not digits or "." in digits or not float(digits):
        return 0.0
    zeros = min(len(digits) - len(digits.rstrip("0")), len(digits) - 2)
    return 0.5 * 10.0**zeros * value / float(digits) if zeros > 0 else 0.0


_PURE = (0, 0, 0, 0)
_REST = re.compile(r"\b(?:remain\w*|rest|left|leav\w+|spare|free|sav\w+|difference)\b", re.IGNORECASE)
"""Words of a difference: nothing else is tried with them first."""
_BEYOND = re.compile(r"\b(?:more than|over|at least|less than|under|almost|nearly|well over)\s*\$?$", re.IGNORECASE)
_AGAIN = re.compile(r"(?:\(|\bi\.e\.,?|\bor|\bthat is,?|=|≈)\s*(?:about |roughly |~|≈)?\$?$")
"""What follows says a number again in another unit."""
_WIDEST = 0.2
_ALIKE = 0.003
"""How near two quantities are taken for one, said with more and fewer digits."""


def _nearest(known: Iterable[Quantity]) -> list[Quantity]:
    found: list[Quantity] = []
    for one in sorted(known, key=lambda q: q.tier):
        again = any(q.dimensions == one.dimensions and abs(q.value - one.value) <= _ALIKE * abs(q.value) for q in found)
        if one.value and not again:
            found.append(one)
    return found[:_MOST]


def _spans(text: str) -> list[Quantity]:
    """Lengths of time: those that the text names, and an hour and a day."""
    named = {s for pattern, lengths in _SPANS if re.search(pattern, text, re.IGNORECASE) for s in lengths}
    return [Quantity(s, (1, 0, 0, 0), "s", 0 if s in named else 1) for s in sorted({*named, 3600.0, 86400.0})]


def _products(number: Said, asked: Operand, pool: list[Quantity], text: str) -> Iterator[Found]:
    """Products and quotients of two and of three with the dimensions that are asked for."""
    every = [q for q in pool if q.tier == 0 or (q.unit not in _SHARES and q.of != BOUND)]
    if asked.dimensions[0] <= 0:  # a count of days is no time that was reckoned
        every += _spans(text)
    if not every:
        return
    after = text[number.start : number.start + len(number.words) + 24]
    scales = [1.0, *(k for pattern, k in _SCALES if re.search(rf"(?:per|a|/) ?(?:{pattern})", after))]
    values, tiers = np.array([q.value for q in every]), np.array([q.tier for q in every])
    dims = np.array([q.dimensions for q in every])
    is_token = np.array([q.unit in ("token", "token/s") for q in every])
    of_tokens = number.unit in ("token", "token/s")
    for powers in ((1, 1), (1, -1), (1, 1, 1), (1, 1, -1), (1, -1, -1)):
        chosen = _choices(tiers, powers)
        total = np.sum([p * dims[c] for p, c in zip(powers, chosen, strict=True)], axis=0)
        tokens = np.sum([p * is_token[c] for p, c in zip(powers, chosen, strict=True)], axis=0)
        fits = (total == np.array(asked.dimensions)).all(-1)
        if of_tokens:
            fits &= tokens >= 1
        elif number.unit == "count":
            fits &= tokens == 0
        made = np.prod([values[c[fits]] ** p for p, c in zip(powers, chosen, strict=True)], axis=0)
        far = np.sum([tiers[c[fits]] for c in chosen], axis=0) + (len(powers) - 2)
        yield from ((made * scale, far) for scale in scales)


def _choices(tiers: np.ndarray, powers: tuple[int, ...]) -> list[np.ndarray]:
    """Every choice of as many different places as there are powers, near enough, each unordered choice of equal powers once."""
    grid = [g.ravel() for g in np.meshgrid(*[np.arange(len(tiers))] * len(powers), indexing="ij")]
    keep = np.sum([tiers[g] for g in grid], axis=0) + (len(powers) - 2) <= _FAR
    for (i, p), (j, q) in itertools.combinations(enumerate(powers), 2):
        keep &= grid[i] < grid[j] if p == q else grid[i] != grid[j]
    return [g[keep] for g in grid]


def _of_one_kind(number: Said, asked: Operand, pool: list[Quantity]) -> Iterator[Found]:
    """Differences, sums, shares and changes of two quantities of one kind; a difference times a third."""
    share = number.ratio or number.unit in _SHARES
    for a, b in itertools.permutations(pool, 2):
        if a.dimensions != b.dimensions or a.unit != b.unit or (a.of and b.of and a.of != b.of):
            continue
        far, apart = a.tier + b.tier, a.value - b.value
        made: list[float] = []
        if share and a.unit in _SHARES:
            made.append(apart)
        if share and (a.unit != "count" or far == 0):
            made += [a.value / b.value, *([] if number.ratio else [apart / b.value])]
        elif a.dimensions == asked.dimensions and (a.unit != "count" or far == 0):
            made += [apart, a.value + b.value]
        if made:
            yield np.array(made), np.full(len(made), far)
        if not share and apart > 0 and a.unit != "count":
            thirds = [
                c for c in pool if tuple(map(sum, zip(a.dimensions, c.dimensions, strict=True))) == asked.dimensions
            ]
            if thirds:
                yield np.array([apart * c.value for c in thirds]), np.array([far + c.tier + 1 for c in thirds])
