"""What a few short runs say about a longer one: a posterior over the loss curve, and a prediction interval from it.

Three or four pilots cannot identify the five numbers of L(N, D) = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022,
equation 2). So E, alpha and beta lie on a grid with priors centred on published fits and widened for small models,
A and B (and the gap of the undecayed phase of a warmup-stable-decay run, when such points are given) are solved by
weighted least squares of relative residuals at every grid point, and the grid is weighted by how well it explains the
pilots. The interval adds the spread between seeds and a model-form term that grows with the distance of extrapolation.
Deterministic; no sampling. It says nothing about data or hyperparameters other than the pilots'.
Shapes: G grid points, P pilots' points, X questions, K linear unknowns.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from aether.knowledge.library import constants, laws
from aether.planning.intervals import LEVEL
from aether.spec.base import Noun
from aether.spec.evidence import Interval

Floats = NDArray[np.float64]


SEED_SPREAD = 0.006
"""Relative standard deviation of the final loss between seeds (see docs/planning.md, calibration)."""

FORM_ERROR_PER_DECADE = 0.04
"""Relative model-form error per factor 10 of extrapolated compute (see docs/planning.md, calibration)."""

_EXPONENT_SPREAD = 0.6
"""Width of the priors on log alpha and log beta. Their centres are the geometric means of Kaplan's exponents, fitted
without E far from the asymptote, and besiroglu-2024's, fitted with it: about one width to either side (chosen). Runs of
minutes start where Kaplan's describe them."""

_E_SPREAD = 0.5
"""Width of the prior on log E (assumed)."""

ASYMPTOTE_BITS_PER_BYTE = 0.3
"""Centre of the prior on E: what a byte of text costs the best imaginable model of this kind. besiroglu-2024's E at
about 4.4 bytes per token is 0.6; code is more regular (assumed)."""


_KEPT_WEIGHT = 0.995


@dataclass(frozen=True)
class Transient:
    """How runs of a few hundred steps differ from the curve that longer runs follow: two corrections beyond the pilots.

    Short runs are still in the flat start of the curve (`bias_per_decade`, relative, per factor 10 of N D, up to one), and
    what size is worth grows with the tokens (`interaction_nats`: for each e-fold of N above the smallest pilot and of D
    beyond the longest, up to D_MOST). Measured on seven runs of 0.07 to 2 M tokens of the standard library, and so fitted to
    them (docs/planning.md, calibration); both are zero where pilots are long.
    """

    bias_per_decade: float = -0.05
    interaction_nats: float = 0.055
    interaction_spread: float = 0.03


NO_TRANSIENT = Transient(0.0, 0.0, 0.0)

D_MOST = 20.0
"""Beyond this many times the longest pilot's tokens, the interaction grows no further (chosen)."""


class LossPoint(Noun):
    """A loss (nats per token) that a run reached at `tokens`. `decayed`: at the end of its learning-rate decay."""

    parameters: float
    tokens: float
    loss: float
    decayed: bool = True
    spread: float = 0.01
    """Relative standard deviation of this loss as a point of the curve."""


class Prediction(Noun):
    """A predicted loss in nats per token."""

    value: float
    interval: Interval
    relative_spread: float


@dataclass(frozen=True)
class Forecast:
    """The weighted grid of curves that explain the pilots."""

    E_G: Floats
    alpha_G: Floats
    beta_G: Floats
    linear_GK: Floats
    covariance_GKK: Floats
    weight_G: Floats
    log_compute_max: float
    scale: float
    least_parameters: float
    most_tokens: float
    transient: Transient

    def loss(self, parameters: float, tokens: float) -> Prediction:
        """The decayed loss at (parameters, tokens): median and LEVEL interval of the mixture over the grid."""
        row_GK = np.zeros_like(self.linear_GK)
        row_GK[:, 0], row_GK[:, 1] = parameters**-self.alpha_G, tokens**-self.beta_G
        decades = max(0.0, math.log10(parameters * tokens) - self.log_compute_max)
        shift = 1.0 + self.transient.bias_per_decade * min(decades, 1.0)
        folds = math.log(max(1.0, parameters / self.least_parameters))
        folds *= math.log(min(max(1.0, tokens / self.most_tokens), D_MOST))
        plain_G = self.E_G + (row_GK * self.linear_GK).sum(axis=1)
        mean_G = np.maximum(0.5 * plain_G, (plain_G - self.transient.interaction_nats * folds) * shift)
        variance_G = np.einsum("gk,gkl,gl->g", row_GK, self.covariance_GKK, row_GK)
        noise = math.hypot(SEED_SPREAD, FORM_ERROR_PER_DECADE * decades) * self.scale
        apart = self.transient.interaction_spread * folds
        spread_G = np.sqrt(np.maximum(variance_G, 0.0) + (noise * mean_G) ** 2 + apart**2)
        low, middle, high = (
            _mixture_quantile(mean_G, spread_G, self.weight_G, share)
            for share in (0.5 - LEVEL / 2, 0.5, 0.5 + LEVEL / 2)
        )
        method = "posterior over (E, alpha, beta) given the pilots, seed spread, transient and model-form error added"
        interval = Interval(low=low, high=high, level=LEVEL, method=method)
        return Prediction(value=middle, interval=interval, relative_spread=(high - low) / (2 * 1.2816 * middle))

    @property
    def exponents(self) -> tuple[float, float, float]:
        """Posterior means of (E, alpha, beta)."""
        return tuple(float((x * self.weight_G).sum()) for x in (self.E_G, self.alpha_G, self.beta_G))  # type: ignore[return-value]


def _mixture_quantile(mean_G: Floats, spread_G: Floats, weight_G: Floats, share: float) -> float:
    low, high = float((mean_G - 6 * spread_G).min()), float((mean_G + 6 * spread_G).max())
    for _ in range(26):
        middle = (low + high) / 2
        below = float((weight_G * special.ndtr((middle - mean_G) / spread_G)).sum())
        low, high = (middle, high) if below < share else (low, middle)
    return (low + high) / 2


def forecast(points: Sequence[LossPoint], asymptote_nats: float, transient: Transient = Transient()) -> Forecast:
    """The curves that explain `points`. `asymptote_nats` centres the prior on E (nats per token). Needs a decayed point.

    `asymptote_nats` is ASYMPTOTE_BITS_PER_BYTE * ln 2 * bytes per token for a tokenizer.
    """
    assert any(p.decayed for p in points), "a forecast needs at least one finished run"
    n_P = np.array([p.parameters for p in points])
    d_P = np.array([p.tokens for p in points])
    loss_P = np.array([p.loss for p in points])
    scale_P = 1.0 / (np.array([p.spread for p in points]) * loss_P)
    stable_P = np.array([0.0 if p.decayed else 1.0 for p in points])
    E_G, alpha_G, beta_G, prior_G = _grid(float(loss_P.min()), asymptote_nats)
    columns = [n_P[None, :] ** -alpha_G[:, None], d_P[None, :] ** -beta_G[:, None]]
    if stable_P.any():
        columns.append(np.broadcast_to(stable_P, columns[0].shape))
    design_GPK = np.stack(columns, axis=2) * scale_P[None, :, None]
    target_GP = (loss_P[None, :] - E_G[:, None]) * scale_P[None, :]
    linear_GK, covariance_GKK = _solve(design_GPK, target_GP, float(loss_P.mean()))
    residual_GP = target_GP - np.einsum("gpk,gk->gp", design_GPK, linear_GK)
    log_weight_G = prior_G - 0.5 * (residual_GP**2).sum(axis=1)
    log_weight_G[(linear_GK[:, :2] < 0).any(axis=1)] = -np.inf
    assert np.isfinite(log_weight_G).any(), "no curve explains the pilots"
    best = int(np.argmax(log_weight_G))
    freedom = max(1.0, len(points) - 3.0)
    # Residuals beyond what the points' own spreads allow widen everything (Birge ratio), never narrow it.
    excess = max(1.0, float(np.sqrt((residual_GP[best] ** 2).sum() / freedom)))
    weight_G = np.exp((log_weight_G - log_weight_G.max()) / excess**2)
    # Curves that nothing speaks for cost time and say nothing: the rest holds all but a two-hundredth of the weight.
    order_G = np.argsort(-weight_G, kind="stable")
    enough = int(np.searchsorted(np.cumsum(weight_G[order_G]), _KEPT_WEIGHT * weight_G.sum())) + 1
    kept_G = np.sort(order_G[:enough])
    return Forecast(
        E_G[kept_G],
        alpha_G[kept_G],
        beta_G[kept_G],
        linear_GK[kept_G],
        covariance_GKK[kept_G] * excess**2,
        weight_G[kept_G] / weight_G[kept_G].sum(),
        math.log10(float((n_P * d_P)[stable_P == 0].max())),
        excess,
        float(n_P.min()),
        float(d_P[stable_P == 0].max()),
        transient,
    )


def _grid(least_loss: float, asymptote_nats: float) -> tuple[Floats, Floats, Floats, Floats]:
    law, known = laws()["besiroglu-2024"], constants()
    alpha = math.sqrt(law.alpha * known["kaplan_alpha_parameters"].value)
    beta = math.sqrt(law.beta * known["kaplan_alpha_tokens"].value)
    widths = np.linspace(-2.0, 2.0, 13) * _EXPONENT_SPREAD
    shares = np.minimum(asymptote_nats * np.exp(np.linspace(-2.5, 2.5, 17) * _E_SPREAD), 0.95 * least_loss)
    grid = np.array(list(itertools.product(shares, alpha * np.exp(widths), beta * np.exp(widths))))
    E_G, alpha_G, beta_G = grid.T
    prior_G = -0.5 * (
        (np.log(alpha_G / alpha) / _EXPONENT_SPREAD) ** 2
        + (np.log(beta_G / beta) / _EXPONENT_SPREAD) ** 2
        + (np.log(E_G / asymptote_nats) / _E_SPREAD) ** 2
    )
    return E_G, alpha_G, beta_G, prior_G


def _solve(design_GPK: Floats, target_GP: Floats, typical_loss: float) -> tuple[Floats, Floats]:
    """Weighted least squares at every grid point, with a faint ridge that only decides what nothing else does.

    Columns are scaled to the typical contribution first, so that the ridge means the same for each: a term as large as
    twice the loss itself is one standard deviation out.
    """
    size_GK = np.abs(design_GPK).max(axis=1)
    scaled_GPK = design_GPK / size_GK[:, None, :]
    unit_G = size_GK[:, 0] / np.abs(design_GPK[:, :, 0]).max(axis=1)
    top_G = (np.abs(target_GP).max(axis=1) + 1e-12) * unit_G
    ridge_GK = np.broadcast_to((1.0 / (2.0 * top_G))[:, None], size_GK.shape) ** 2
    normal_GKK = np.einsum("gpk,gpl->gkl", scaled_GPK, scaled_GPK) + np.eye(size_GK.shape[1]) * ridge_GK[:, None, :]
    right_GK = np.einsum("gpk,gp->gk", scaled_GPK, target_GP)
    covariance_GKK = np.linalg.inv(normal_GKK)
    solved_GK = np.einsum("gkl,gl->gk", covariance_GKK, right_GK)
    assert typical_loss > 0
    return solved_GK / size_GK, covariance_GKK / (size_GK[:, :, None] * size_GK[:, None, :])
