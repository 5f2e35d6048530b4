"""The loss curve L(N, D) = E + A / N^alpha + B / D^beta: its fit to many runs, and its form.

Follows Hoffmann et al. 2022 (arXiv 2203.15556, section 3.3 and appendix D.3): Huber loss (delta 1e-3) on the log of the
loss, L-BFGS from a grid of starts; and Besiroglu et al. 2024 (arXiv 2404.10102) in summing, not averaging, the loss, so
that the optimiser does not stop early. Repeated data count by Muennighoff et al. 2023 (arXiv 2305.16264, equation 5).
Needs some tens of points over a wide range: for the few runs that a budget allows, see `forecast`.
Shapes: P points, S starts.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from aether.knowledge.library import constants

Floats = NDArray[np.float64]

_DELTA = 1e-3
"""Huber's delta on log loss (published: arXiv 2203.15556, appendix D.3)."""


@dataclass(frozen=True)
class LossLaw:
    """The five numbers of the curve, in nats per token, parameters and tokens."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, parameters: ArrayLike, tokens: ArrayLike) -> Floats:
        """Predicted loss (nats per token) at `parameters` and `tokens`, broadcast."""
        n, d = np.asarray(parameters, np.float64), np.asarray(tokens, np.float64)
        return np.asarray(self.E + self.A / n**self.alpha + self.B / d**self.beta)


def effective_tokens(tokens: float, unique_tokens: float) -> float:
    """What `tokens` of training are worth when only `unique_tokens` differ: U + U R* (1 - exp(-R / R*)), R repeats."""
    if tokens <= unique_tokens:
        return tokens
    half_life = constants()["repeated_data_half_life"].value
    repeats = tokens / unique_tokens - 1.0
    return unique_tokens * (1.0 + half_life * (1.0 - math.exp(-repeats / half_life)))


def fit_law(parameters: ArrayLike, tokens: ArrayLike, losses: ArrayLike) -> LossLaw:
    """The law that minimises the summed Huber loss of log residuals over P points, from a grid of starts."""
    log_n, log_d = np.log(np.asarray(parameters, np.float64)), np.log(np.asarray(tokens, np.float64))
    log_l = np.log(np.asarray(losses, np.float64))
    assert log_n.shape == log_d.shape == log_l.shape and len(log_l) >= 6, "five numbers need more than five points"

    def objective(theta: Floats) -> tuple[float, Floats]:
        a, b, e, alpha, beta = theta
        terms_3P = np.stack([a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e)])
        top_P = terms_3P.max(axis=0)
        predicted_P = top_P + np.log(np.exp(terms_3P - top_P).sum(axis=0))
        residual_P = predicted_P - log_l
        small_P = np.abs(residual_P) <= _DELTA
        value = np.where(small_P, 0.5 * residual_P**2, _DELTA * (np.abs(residual_P) - 0.5 * _DELTA)).sum()
        pull_P = np.where(small_P, residual_P, _DELTA * np.sign(residual_P))
        share_3P = np.exp(terms_3P - predicted_P)
        gradient = np.array(
            [
                (pull_P * share_3P[0]).sum(),
                (pull_P * share_3P[1]).sum(),
                (pull_P * share_3P[2]).sum(),
                -(pull_P * share_3P[0] * log_n).sum(),
                -(pull_P * share_3P[1] * log_d).sum(),
            ]
        )
        return float(value), gradient

    starts = itertools.product((5.0, 15.0), (5.0, 15.0), (0.5,), (0.3, 0.6), (0.3,))
    tries = [
        optimize.minimize(objective, np.array(s), jac=True, method="L-BFGS-B", options={"maxiter": 1500, "ftol": 1e-12})
        for s in starts
    ]
    best = min(tries, key=lambda found: float(found.fun))
    a, b, e, alpha, beta = (float(x) for x in best.x)
    return LossLaw(math.exp(e), math.exp(a), math.exp(b), alpha, beta)
