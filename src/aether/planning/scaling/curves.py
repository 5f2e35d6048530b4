"""A loss law with what is not known about it: its coefficients and draws of them, and the optima that follow from each.

Closed forms of Hoffmann et al. 2022 (arXiv 2203.15556, equation 4) for the optimal size of a compute budget, and the
first-order condition of Sardana et al. 2024 (arXiv 2401.00448, equation 3) for a life of inference, solved by bisection.
Everything is elementwise over R draws of the coefficients, so that an interval is a percentile and no derivative is needed.
Draws are normal in (ln A, ln B, ln E, alpha, beta) with the covariance on record. Shapes: R draws.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aether.knowledge.library import Law, constants, laws
from aether.planning.scaling.fit import LawFit
from aether.planning.scaling.points import Points
from aether.spec.errors import InputError
from aether.spec.plan import Term

Floats = NDArray[np.float64]

DRAWS = 1000
"""Draws of the coefficients: a percentile at 80 % is then good to about a twentieth of the interval (chosen)."""


@dataclass(frozen=True)
class Curve:
    """L(N, D) = E + A / N^alpha + B / D^beta for R draws of the coefficients; the first is the law itself."""

    name: str
    E_R: Floats
    log_A_R: Floats
    log_B_R: Floats
    alpha_R: Floats
    beta_R: Floats
    parameters_range: tuple[float, float] | None
    tokens_range: tuple[float, float] | None
    terms: tuple[Term, ...]
    spread_source: str | None
    """Where the draws come from; None: there is only the law itself, and no interval can be given."""

    def loss(self, parameters: Floats | float, tokens: Floats | float) -> Floats:
        """Loss in nats per token."""
        size_R = np.exp(self.log_A_R - self.alpha_R * np.log(parameters))
        return self.E_R + size_R + np.exp(self.log_B_R - self.beta_R * np.log(tokens))

    def optimum(self, training_flops: float) -> tuple[Floats, Floats]:
        """Parameters and tokens of the least loss at 6 N D = `training_flops`: one of each at least, where a law sees no use in them."""
        budget = training_flops / constants()["flops_per_parameter_token"].value
        share_R = self.beta_R / (self.alpha_R + self.beta_R)
        parameters_R = np.clip(self.gain() * budget**share_R, 1.0, budget)
        return parameters_R, budget / parameters_R

    def gain(self) -> Floats:
        """G = (alpha A / (beta B))^(1 / (alpha + beta)): the optimal N is G (C / 6)^a."""
        log_ratio_R = np.log(self.alpha_R / self.beta_R) + self.log_A_R - self.log_B_R
        return np.exp(log_ratio_R / (self.alpha_R + self.beta_R))

    def tokens_for(self, parameters: Floats, loss: Floats) -> Floats:
        """The tokens that reach `loss`; infinite where no amount does."""
        gap_R = loss - self.E_R - np.exp(self.log_A_R - self.alpha_R * np.log(parameters))
        with np.errstate(over="ignore"):
            tokens_R = np.exp((self.log_B_R - np.log(np.maximum(gap_R, 1e-300))) / self.beta_R)
        return np.where(gap_R > 0, tokens_R, np.inf)

    def least_cost_size(self, loss: Floats, inference_tokens: float) -> Floats:
        """Parameters of the least 6 N D + 2 N T at `loss`, T = `inference_tokens`; compute-optimal where T = 0.

        The derivative by ln N over N is 6 D (1 - alpha A N^-alpha / (beta B D^-beta)) + 2 T: it is below zero where more
        parameters still save tokens, and it has its one zero between the smallest size that can reach the loss at all
        and the compute-optimal one.
        """
        train = constants()["flops_per_parameter_token"].value
        serve = constants()["inference_flops_per_parameter_token"].value
        gap_R = loss - self.E_R
        low_R = (self.log_A_R - np.log(gap_R)) / self.alpha_R
        # At the compute-optimal size A N^-alpha is beta / (alpha + beta) of the gap.
        high_R = low_R + np.log(1.0 + self.alpha_R / self.beta_R) / self.alpha_R
        for _ in range(80):
            middle_R = (low_R + high_R) / 2
            tokens_R = self.tokens_for(np.exp(middle_R), loss)
            size_R = np.exp(self.log_A_R - self.alpha_R * middle_R)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                share_R = self.alpha_R * size_R / (self.beta_R * np.exp(self.log_B_R - self.beta_R * np.log(tokens_R)))
                slope_R = train * tokens_R * (1.0 - share_R)
            more_R = ~np.isfinite(tokens_R) | (slope_R + serve * inference_tokens < 0)
            low_R, high_R = np.where(more_R, middle_R, low_R), np.where(more_R, high_R, middle_R)
        return np.exp(high_R)

    def beyond(self, parameters: float, tokens: float) -> str | None:
        """One sentence when (parameters, tokens) is outside the points that the law was fitted to."""
        for what, value, known in (
            ("parameters", parameters, self.parameters_range),
            ("tokens", tokens, self.tokens_range),
        ):
            if known is None:
                return f"extrapolation: the range of {what} that {self.name} was fitted to is not on record"
            if not known[0] <= value <= known[1]:
                return f"extrapolation: {value:.3g} {what}; {self.name} was fitted to {known[0]:.3g} to {known[1]:.3g}"
        return None


@functools.cache
def published_curve(name: str) -> Curve:
    """The published law of that name with its draws. Raises InputError listing those that are known."""
    law = laws().get(name)
    if law is None:
        raise InputError.of("law", name, f"use one of {', '.join(laws())}")
    middle_5 = np.array([np.log(law.A), np.log(law.B), np.log(law.E), law.alpha, law.beta])
    drawn_R5 = middle_5[None, :]
    if law.covariance is not None:
        random = np.random.default_rng(0)
        spread_R5 = random.multivariate_normal(np.zeros(5), np.array(law.covariance), DRAWS, method="eigh")
        # An exponent at or below zero is no law; at the recorded covariances this is beyond ten standard deviations.
        drawn_R5 = np.vstack([drawn_R5, middle_5 + spread_R5[(middle_5 + spread_R5)[:, 3:].min(axis=1) > 0.01]])
    return _curve(name, drawn_R5, law.parameters_range, law.tokens_range, _terms(law), law.covariance_source)


def fitted_curve(name: str, fitted: LawFit, points: Points) -> Curve:
    """One's own fit with its bootstrap draws."""
    law = fitted.law
    first_5 = np.array([[np.log(law.A), np.log(law.B), np.log(law.E), law.alpha, law.beta]])
    source = f"fit to {fitted.points} points (relative residual {fitted.residual_rms:.2%})"
    terms = tuple(
        Term(name=key, value=getattr(law, key), unit=unit, kind="computed", source=source)
        for key, unit in _UNITS.items()
    )
    sizes_P, tokens_P = points.parameters_P, points.tokens_P
    return _curve(
        name,
        np.vstack([first_5, fitted.theta_R5]),
        (float(sizes_P.min()), float(sizes_P.max())),
        (float(tokens_P.min()), float(tokens_P.max())),
        terms,
        f"{len(fitted.theta_R5)} fits to resampled points" if len(fitted.theta_R5) else None,
    )


_UNITS = {"E": "nat/token", "A": "nat/token", "B": "nat/token", "alpha": "1", "beta": "1"}


def _terms(law: Law) -> tuple[Term, ...]:
    return tuple(
        Term(name=key, value=getattr(law, key), unit=unit, kind=law.kind, source=law.source)
        for key, unit in _UNITS.items()
    )


def _curve(
    name: str,
    drawn_R5: Floats,
    parameters_range: tuple[float, float] | None,
    tokens_range: tuple[float, float] | None,
    terms: tuple[Term, ...],
    spread_source: str | None,
) -> Curve:
    a_R, b_R, e_R, alpha_R, beta_R = drawn_R5.T
    return Curve(name, np.exp(e_R), a_R, b_R, alpha_R, beta_R, parameters_range, tokens_range, terms, spread_source)
