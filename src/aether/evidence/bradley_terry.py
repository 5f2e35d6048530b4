"""Strengths from pairwise votes: Bradley-Terry with ties and covariates, and intervals that hold when a rater votes often. No torch.

Bradley and Terry (1952). Ties: half a win each, or a tie parameter (Davidson 1970, equation 2.3). Covariates (the side a reply stood on, a
difference of lengths) enter as in a logistic regression. Variances: the inverse information, or the sandwich of Huber (1967) and White
(1982), whose middle is summed over raters when they are given (Liang and Zeger 1986). Strengths have mean 0; `ELO` turns them into the
points of Elo's scale, for display only.

y is 1 (left wins), 0 (tie) or -1; u is half the difference of strengths; Davidson: P(y) ~ exp(y u) for a win, nu for a tie.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, stats
from scipy.sparse.csgraph import connected_components

from aether.evidence.significance import benjamini_hochberg
from aether.evidence.statistics import Labels, holm
from aether.spec.errors import InputError
from aether.spec.evidence import Interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Ties = Literal["half", "davidson"]
ELO = 400.0 / math.log(10.0)
STEPS = 50
WORST_CONDITION = 1e12
"""Of the information matrix: beyond it covariates are taken to say the same (assumed)."""


@dataclass(frozen=True)
class Votes:
    """n votes between named players: indices of the left and right one, and 1 (left), 0 (tie) or -1 (right)."""

    players: tuple[str, ...]
    left: Ints
    right: Ints
    outcome: Ints
    raters: Labels | None = None
    covariates: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """(n, c), of the left reply over the right one, with `names`."""
    names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, left: Sequence[str], right: Sequence[str], winner: Sequence[str], raters: Sequence[str] | None = None
    ) -> "Votes":
        """From names and `left`, `right` or `tie`. Raises InputError with the number of the first row that is neither."""
        players = tuple(sorted({*left, *right}))
        at = {name: i for i, name in enumerate(players)}
        said = {"left": 1, "tie": 0, "right": -1}
        wrong = next((i for i, word in enumerate(winner) if word not in said), None)
        if wrong is not None:
            raise InputError.of(f"winner, row {wrong + 1}", winner[wrong], "write left, right or tie")
        same = next((i for i, (x, y) in enumerate(zip(left, right, strict=True)) if x == y), None)
        if same is not None:
            raise InputError.of(f"row {same + 1}", left[same], "a vote is between two different models")
        left_N, right_N = (np.fromiter((at[n] for n in names), np.int64, len(names)) for names in (left, right))
        outcome = np.fromiter((said[w] for w in winner), np.int64, len(winner))
        return cls(players, left_N, right_N, outcome, raters)

    def with_covariate(self, name: str, values: ArrayLike) -> "Votes":
        """The same votes with one more covariate (n,)."""
        column = np.asarray(values, np.float64)[:, None]
        before = self.covariates if self.names else np.zeros((len(self.left), 0))
        grown = np.concatenate([before, column], axis=1)
        return Votes(self.players, self.left, self.right, self.outcome, self.raters, grown, (*self.names, name))


@dataclass(frozen=True)
class Fit:
    """Strengths (natural logarithm of odds, mean 0), effects of covariates, and their covariance."""

    players: tuple[str, ...]
    strength: Floats
    effects: dict[str, tuple[float, float]]
    """Covariate -> (effect on the log odds of the left reply, its standard error)."""
    tie: float | None
    """Davidson's nu; None when ties count as half a win each."""
    covariance: Floats
    """(players, players) of the strengths."""
    votes: int
    clusters: int
    method: str

    def se(self) -> Floats:
        """Standard errors of the strengths."""
        return np.sqrt(np.diag(self.covariance))

    def intervals(self, level: float = 0.95, scale: float = ELO) -> list[Interval]:
        """One per player, in points of Elo unless `scale` says otherwise."""
        half = self._quantile(level) * self.se()
        return [
            Interval(low=float(scale * (s - h)), high=float(scale * (s + h)), level=level, method=self.method)
            for s, h in zip(self.strength, half, strict=True)
        ]

    def difference(
        self, one: str, other: str, level: float = 0.95, scale: float = ELO
    ) -> tuple[float, Interval, float]:
        """one - other, its interval, and the two-sided p value that they are equal."""
        i, j = (self.players.index(name) for name in (one, other))
        apart = float(self.strength[i] - self.strength[j])
        se = math.sqrt(float(self.covariance[i, i] + self.covariance[j, j] - 2.0 * self.covariance[i, j]))
        half = self._quantile(level) * se
        interval = Interval(low=scale * (apart - half), high=scale * (apart + half), level=level, method=self.method)
        return scale * apart, interval, float(2 * stats.t.sf(abs(apart) / se, max(1, self.clusters - 1)))

    def ranks(self, alpha: float = 0.05, correction: Literal["holm", "bh"] = "holm") -> list[tuple[int, int]]:
        """Each player's best and worst rank that the votes allow: 1 + how many are shown to be better, and the same from below."""
        count = len(self.players)
        i, j = np.triu_indices(count, 1)
        variance = np.diag(self.covariance)
        apart = self.strength[i] - self.strength[j]
        se = np.sqrt(variance[i] + variance[j] - 2.0 * self.covariance[i, j])
        raw = 2 * stats.t.sf(np.abs(apart) / se, max(1, self.clusters - 1))
        adjusted = np.asarray((holm if correction == "holm" else benjamini_hochberg)(raw.tolist()))
        shown = adjusted < alpha
        better = np.zeros(count, np.int64)
        worse = np.zeros(count, np.int64)
        winner, loser = np.where(apart > 0, i, j)[shown], np.where(apart > 0, j, i)[shown]
        np.add.at(better, loser, 1)
        np.add.at(worse, winner, 1)
        return [(1 + int(b), count - int(w)) for b, w in zip(better, worse, strict=True)]

    def _quantile(self, level: float) -> float:
        return float(stats.t.ppf(0.5 + level / 2, max(1, self.clusters - 1)))


def fit(votes: Votes, ties: Ties = "half", robust: bool = True) -> Fit:
    """Maximum likelihood by Newton's method. Raises InputError where the votes bound no strength (a model that never lost).

    `robust`: the sandwich, over raters when the votes have them; else the inverse information, which trusts the model and independent votes.
    """
    _connected(votes, ties)
    # Steps of Newton's method are bounded, so covariates of any unit are brought to a spread of one.
    spread = votes.covariates.std(axis=0) if votes.names else np.zeros(0)
    spread[spread == 0.0] = 1.0
    cells = _Cells.of(replace(votes, covariates=votes.covariates / spread) if votes.names else votes)
    design = cells.design(ties)
    players, effects = len(votes.players), len(votes.names)
    theta = np.zeros(players + effects + (ties == "davidson"))
    information = np.eye(len(theta))
    unsettled = InputError.of(
        "votes",
        len(votes.left),
        "the fit does not settle; drop covariates that say the same as each other or as who won",
    )
    for _ in range(STEPS):
        score, information = cells.derivatives(theta, design, ties)
        information[:players, :players] += 1.0 / players
        if np.linalg.cond(information) > WORST_CONDITION:
            raise unsettled
        step = np.linalg.solve(information, score)
        theta += step * min(1.0, 2.0 / float(np.abs(step).max() + 1e-300))
        if float(np.abs(step).max()) < 1e-10:
            break
    else:
        raise unsettled
    _, information = cells.derivatives(theta, design, ties)
    information[:players, :players] += 1.0 / players
    inverse = np.linalg.inv(information)
    count = len(votes.left)
    if robust:
        middle, clusters = cells.middle(theta, design, ties, votes.raters)
        covariance = inverse @ middle @ inverse * clusters / max(1, clusters - 1)
        method = f"Bradley-Terry, sandwich over {'raters' if votes.raters is not None else 'votes'}, t"
    else:
        covariance, clusters, method = inverse, count, "Bradley-Terry, inverse information"
    centre = np.eye(players) - 1.0 / players
    own = centre @ covariance[:players, :players] @ centre
    se = np.sqrt(np.diag(covariance))
    # u is half the log odds: covariates enter u, and their effect is told on the log odds.
    scale = 2.0 / spread
    told = {
        name: (float(scale[c] * theta[players + c]), float(scale[c] * se[players + c]))
        for c, name in enumerate(votes.names)
    }
    tie = math.exp(theta[-1]) if ties == "davidson" else None
    strength = theta[:players] - theta[:players].mean()
    return Fit(votes.players, strength, told, tie, own, count, clusters, method)


@dataclass(frozen=True)
class _Cells:
    """Equal votes counted together: a million votes between few models are a few thousand cells."""

    left: Ints
    right: Ints
    outcome: Floats
    covariates: Floats
    count: Floats
    players: int
    cell_of_vote: Ints

    @classmethod
    def of(cls, votes: Votes) -> "_Cells":
        players = len(votes.players)
        if votes.names:
            cell = np.arange(len(votes.left))
            covariates = votes.covariates
            first = cell
        else:
            key = (votes.left * players + votes.right) * 3 + votes.outcome + 1
            _, first, cell = np.unique(key, return_index=True, return_inverse=True)
            covariates = np.zeros((len(first), 0))
        count = np.bincount(cell, minlength=len(first)).astype(np.float64)
        outcome = votes.outcome[first].astype(np.float64)
        return cls(votes.left[first], votes.right[first], outcome, covariates, count, players, cell)

    def scores(self, theta: Floats, ties: Ties) -> tuple[Floats, Floats, Floats, tuple[Floats, Floats]]:
        """Of a vote of each cell: derivative by u, variance of y, and by log nu: derivative, (variance, covariance with y)."""
        effects = self.covariates.shape[1]
        u = (theta[self.left] - theta[self.right]) / 2.0 + self.covariates @ theta[
            self.players : self.players + effects
        ]
        if ties == "half":
            # y is 1, 0 or -1, a tie half of each: the logistic model in u with P(left) = 1 / (1 + exp(-2 u)).
            mean = np.tanh(u)
            nothing = np.zeros_like(u)
            return self.outcome - mean, 1.0 - mean**2, nothing, (nothing, nothing)
        top = np.maximum(np.abs(u), theta[-1])
        win, loss, tie = np.exp(u - top), np.exp(-u - top), np.exp(theta[-1] - top)
        whole = win + loss + tie
        win, loss, tie = win / whole, loss / whole, tie / whole
        mean = win - loss
        tied = (self.outcome == 0).astype(np.float64) - tie
        return self.outcome - mean, win + loss - mean**2, tied, (tie * (1.0 - tie), -mean * tie)

    def design(self, ties: Ties) -> sparse.csr_array:
        """(cells, parameters) of u: a half for the left player, minus a half for the right one, the covariates."""
        rows = np.arange(len(self.left))
        halves = np.concatenate([np.full(len(rows), 0.5), np.full(len(rows), -0.5)])
        columns = np.concatenate([self.left, self.right])
        players = sparse.csr_array((halves, (np.tile(rows, 2), columns)), shape=(len(rows), self.players))
        parts = [players, sparse.csr_array(self.covariates)] if self.covariates.shape[1] else [players]
        if ties == "davidson":
            parts.append(sparse.csr_array((len(rows), 1)))
        return sparse.csr_array(sparse.hstack(parts))

    def derivatives(self, theta: Floats, design: sparse.csr_array, ties: Ties) -> tuple[Floats, Floats]:
        """Gradient and negative Hessian of the log likelihood."""
        by_u, variance, by_tie, (tie_variance, tie_covariance) = self.scores(theta, ties)
        gradient = np.asarray(design.T @ (by_u * self.count))
        information = _product(design, design, variance * self.count)
        if ties == "davidson":
            gradient[-1] = float(by_tie @ self.count)
            cross = np.asarray(design.T @ (tie_covariance * self.count))
            information[-1, :], information[:, -1] = cross, cross
            information[-1, -1] = float(tie_variance @ self.count)
        return gradient, information

    def middle(self, theta: Floats, design: sparse.csr_array, ties: Ties, raters: Labels | None) -> tuple[Floats, int]:
        """The sandwich's middle, and how many clusters it sums over."""
        by_u, _, by_tie, _ = self.scores(theta, ties)
        cells = len(by_u)
        per_cell = _scaled(design, by_u)
        if ties == "davidson":
            at = (np.arange(cells), np.full(cells, len(theta) - 1))
            per_cell = sparse.csr_array(per_cell + sparse.csr_array((by_tie, at), shape=per_cell.shape))
        if raters is None:
            return _product(per_cell, per_cell, self.count), len(self.cell_of_vote)
        _, rater = np.unique(np.asarray(raters), return_inverse=True)
        count = int(rater.max()) + 1
        of_rater = sparse.csr_array((np.ones(len(rater)), (rater, self.cell_of_vote)), shape=(count, cells))
        summed = sparse.csr_array(of_rater @ per_cell)
        return _product(summed, summed, np.ones(count)), count


def _scaled(matrix: sparse.csr_array, weights: Floats) -> sparse.csr_array:
    """Each row times its weight."""
    return sparse.csr_array(sparse.diags_array(weights) @ matrix)


def _product(left: sparse.csr_array, right: sparse.csr_array, weights: Floats) -> Floats:
    """left' diag(weights) right, dense."""
    return np.asarray((left.T @ _scaled(right, weights)).toarray())


def _connected(votes: Votes, ties: Ties) -> None:
    """Every model must have beaten, however indirectly, every other one, or the likelihood has no top."""
    if len(votes.left) == 0:
        raise InputError.of("votes", 0, "give at least one vote")
    wins = np.where(votes.outcome >= 0)[0], np.where(votes.outcome <= 0)[0]
    above = np.concatenate([votes.left[wins[0]], votes.right[wins[1]]])
    below = np.concatenate([votes.right[wins[0]], votes.left[wins[1]]])
    size = (len(votes.players),) * 2
    graph = sparse.csr_array((np.ones(len(above)), (above, below)), shape=size)
    parts, part_of = connected_components(graph, directed=True, connection="strong")
    if parts > 1:
        sizes = np.bincount(part_of)
        alone = [votes.players[i] for i in np.flatnonzero(part_of != sizes.argmax())][:5]
        raise InputError.of(
            "votes",
            ", ".join(alone),
            "these won or lost against the others always, so no strength fits; add votes or leave them out",
        )
    if ties == "davidson" and not bool((votes.outcome == 0).any()):
        raise InputError.of("ties", "davidson", "no vote is a tie; use half")
