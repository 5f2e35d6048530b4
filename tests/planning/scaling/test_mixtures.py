"""The law of mixtures against the tables of its own paper (arXiv 2502.05172), and its refusals outside the runs."""

import itertools
import math

import pytest

from aether.knowledge.library import mixture_laws
from aether.planning.scaling.allocation import compute_optimal, inference_aware
from aether.planning.scaling.mixtures import mixture_curve, mixture_of_experts
from aether.spec.errors import InputError
from aether.spec.plan import Estimate

TABLE_4 = {
    1: (30.3640, -0.1817, 53.9838, -0.1965),
    2: (27.7982, -0.1780, 66.8401, -0.2065),
    4: (24.8462, -0.1731, 87.7022, -0.2192),
    8: (21.8330, -0.1676, 119.9126, -0.2338),
    16: (19.0159, -0.1617, 167.5073, -0.2494),
    32: (16.5424, -0.1557, 234.6726, -0.2652),
}
"""Experts -> m, mu, n, nu of m N^mu + n D^nu + c."""

TABLE_1 = {
    1e20: {1: (1.7, 9.7), 2: (1.5, 11.4), 4: (1.2, 13.9), 8: (0.99, 17.0), 16: (0.81, 20.7), 32: (0.669, 24.9)},
    1e21: {1: (5.7, 29.3), 2: (5.0, 33.0), 4: (4.4, 38.0), 8: (3.8, 44.3), 16: (3.3, 51.2), 32: (2.85, 58.4)},
    1e22: {1: (18.8, 88.6), 2: (17.4, 96.0), 4: (15.8, 105.4), 8: (14.4, 115.8), 16: (13.2, 126.5), 32: (12.2, 136.9)},
}
"""Training FLOP -> experts -> compute-optimal active parameters and tokens, billions."""


def _value(estimate: Estimate) -> float:
    assert estimate.value is not None
    return estimate.value


@pytest.mark.parametrize("experts", TABLE_4)
def test_the_coefficients_at_a_fixed_number_of_experts_are_those_of_table_4(experts: int) -> None:
    """From table 3 through equations 4 to 6; table 3 is rounded to four digits."""
    curve, (m, mu, n, nu) = mixture_curve(experts), TABLE_4[experts]
    assert math.exp(curve.log_A_R[0]) == pytest.approx(m, rel=0.003)
    assert math.exp(curve.log_B_R[0]) == pytest.approx(n, rel=0.003)
    assert (-curve.alpha_R[0], -curve.beta_R[0]) == pytest.approx((mu, nu), abs=1.5e-4)
    assert curve.E_R[0] == 1.3637


@pytest.mark.parametrize(("flops", "experts"), [(flops, experts) for flops in TABLE_1 for experts in TABLE_1[flops]])
def test_optimal_sizes_are_those_of_table_1(flops: float, experts: int) -> None:
    """The paper rounds to two or three digits."""
    found = compute_optimal(flops, mixture_curve(experts))
    active, tokens = TABLE_1[flops][experts]
    assert found.parameters.value == pytest.approx(active * 1e9, rel=0.045)
    assert found.tokens.value == pytest.approx(tokens * 1e9, rel=0.03)


@pytest.mark.parametrize("flops", TABLE_1)
def test_more_experts_are_better_smaller_and_longer_trained_at_equal_compute(flops: float) -> None:
    """Findings 1 and 2 of the paper."""
    found = [compute_optimal(flops, mixture_curve(experts)) for experts in TABLE_4]
    for fewer, more in itertools.pairwise(found):
        assert _value(more.loss) < _value(fewer.loss)
        assert _value(more.parameters) < _value(fewer.parameters)
        assert _value(more.tokens) > _value(fewer.tokens)


def test_an_answer_inside_the_runs_has_its_law_and_the_dense_model_beside_it() -> None:
    """1.1 B active, 4 experts, 16 B tokens: one of the runs."""
    found, dense = mixture_of_experts(1.1e9, 1.6e10, 4), mixture_of_experts(1.1e9, 1.6e10, 1)
    assert _value(found) < _value(dense)
    terms = {term.name: term for term in found.terms}
    assert terms["dense model of that active size"].value == dense.value
    assert terms["alpha"].kind == "cited" and "2502.05172" in terms["alpha"].source
    assert found.interval is not None
    assert found.interval.high - found.interval.low == pytest.approx(2 * 1.2816 * 0.0062, rel=1e-3)


@pytest.mark.parametrize(
    ("parameters", "tokens", "experts", "what"),
    [
        (1e10, 2e10, 8, "parameters"),
        (1e9, 1e12, 8, "tokens"),
        (1e9, 2e10, 128, "experts"),
        (5e7, 2e10, 8, "parameters"),
    ],
)
def test_outside_the_runs_it_is_unknown_with_the_experiment_that_would_tell(
    parameters: float, tokens: float, experts: int, what: str
) -> None:
    """Never a number by extrapolation."""
    found = mixture_of_experts(parameters, tokens, experts)
    assert found.value is None and found.interval is None
    assert what in found.formula and mixture_laws()["ludziejewski-2025"].name in found.formula
    assert found.protocol is not None and f"{experts}-expert" in found.protocol


def test_several_active_experts_are_another_kind_of_mixture() -> None:
    """Mixtral and all that came after it: the law has one active expert."""
    found = mixture_of_experts(1.1e9, 1.6e10, 8, active=2)
    assert found.value is None and "2 experts active" in found.formula


def test_a_life_of_serving_makes_a_mixture_smaller_still() -> None:
    """The same first-order condition as for dense models, on the curve of the mixture."""
    curve = mixture_curve(8)
    loss = _value(compute_optimal(1e21, curve).loss)
    sizes = [_value(inference_aware(loss, tokens, curve).parameters) for tokens in (0.0, 1e11, 1e13)]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < 0.7 * sizes[0]


@pytest.mark.parametrize(
    "ask",
    [
        lambda: mixture_of_experts(0, 1e9, 8),
        lambda: mixture_of_experts(1e9, math.nan, 8),
        lambda: mixture_of_experts(1e9, 1e10, 0),
        lambda: mixture_curve(64),
    ],
)
def test_what_cannot_be_answered_is_refused(ask) -> None:
    """A field, its value, the mend."""
    with pytest.raises(InputError):
        ask()
