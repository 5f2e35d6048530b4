"""Sizes and tokens from the laws: closed forms against brute force, published numbers, flags and refusals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether.knowledge.library import laws
from aether.planning.laws import LossLaw, effective_tokens
from aether.planning.scaling.allocation import (
    compute_optimal,
    data_constrained,
    inference_aware,
    optimum_by_law,
    predicted_loss,
)
from aether.planning.scaling.curves import published_curve
from aether.planning.scaling.repetition import (
    HalfLives,
    fit_half_lives,
    published_half_lives,
    repeated_loss,
    usable_parameters,
)
from aether.spec.errors import InputError


@settings(max_examples=40)
@given(st.floats(min_value=18, max_value=26), st.sampled_from(sorted(laws())))
def test_no_other_size_of_the_same_budget_is_better(log_flops, name):
    curve, flops = published_curve(name), 10**log_flops
    n, d = (float(x[0]) for x in curve.optimum(flops))
    assert 6 * n * d == pytest.approx(flops)
    for factor in (0.5, 0.9, 1.1, 2.0):
        assert curve.loss(n * factor, d / factor)[0] >= curve.loss(n, d)[0]


def test_chinchilla_itself_is_near_the_replications_optimum():
    """5.76e23 FLOP: 70 B parameters on 1.4e12 tokens (arXiv 2203.15556), which the replication's law agrees with."""
    found = compute_optimal(5.76e23)
    assert found.parameters.interval is not None and found.parameters.value is not None
    assert found.parameters.interval.low < 70e9 < found.parameters.interval.high
    assert found.parameters.interval.low < found.parameters.value < found.parameters.interval.high
    assert found.extrapolated and "fitted to" in found.notes[-1]
    assert {term.kind for term in found.parameters.terms} == {"cited"}


def test_within_the_points_nothing_is_flagged():
    found = compute_optimal(1e21)
    assert not found.extrapolated and found.notes == ()
    assert found.parameters.value is not None and found.tokens.value is not None
    again = predicted_loss(found.parameters.value, found.tokens.value)
    assert again.loss.value == pytest.approx(found.loss.value)
    assert again.loss.interval is not None and again.parameters.value == found.parameters.value


def test_other_laws_say_what_their_papers_say():
    """Kaplan et al.: 1.3e9 parameters at one PF-day. Porian et al.: about 11.9 tokens per parameter near 1e18 FLOP."""
    kaplan, porian, _, _ = optimum_by_law(8.64e19)
    assert kaplan.value == pytest.approx(1.3e9, rel=0.01)
    assert porian.formula.startswith("extrapolation")
    _, inside, _, _ = optimum_by_law(1e18)
    assert inside.value is not None and not inside.formula.startswith("extrapolation")
    assert 1e18 / 6 / inside.value**2 == pytest.approx(11.93, rel=0.35)
    _, _, deepseek, llama = optimum_by_law(1e21)
    assert (deepseek.metric, llama.metric, llama.unit) == ("tokens", "tokens", "token")
    assert deepseek.formula.startswith("extrapolation") and not llama.formula.startswith("extrapolation")
    # DeepSeek's M and D multiply to the budget: 0.1715 C^0.5243 FLOP per token.
    assert deepseek.value is not None and deepseek.value * 0.1715 * 1e21**0.5243 == pytest.approx(1e21, rel=1e-3)


def test_a_law_without_uncertainty_gives_no_interval():
    found = compute_optimal(1e21, published_curve("hoffmann-2022"))
    assert found.loss.interval is None and any("uncertainty" in note for note in found.notes)


def test_no_inference_is_the_compute_optimal_model():
    best = compute_optimal(1e21)
    assert best.loss.value is not None
    found = inference_aware(best.loss.value, 0.0)
    assert found.parameters.value == pytest.approx(best.parameters.value, rel=1e-6)
    assert found.tokens.value == pytest.approx(best.tokens.value, rel=1e-5)


@settings(max_examples=20)
@given(st.floats(min_value=1.9, max_value=3.0), st.floats(min_value=9, max_value=14))
def test_the_cheapest_life_is_cheapest_among_equals(loss, log_served):
    curve, served = published_curve("besiroglu-2024"), 10**log_served
    n = float(inference_aware(loss, served).parameters.value or math.nan)

    def cost(size):
        tokens = float(curve.tokens_for(np.array(size), np.array(loss))[0])
        return 6 * size * tokens + 2 * size * served

    assert all(cost(n) <= cost(n * factor) * (1 + 1e-9) for factor in (0.9, 0.99, 1.01, 1.1))


def test_the_published_saving_of_inference_awareness():
    """Sardana et al., arXiv 2401.00448, figure 1: the quality of 13 B, 2e12 tokens served: 7 B saves 1.7e22 FLOP, 17 %."""
    curve = published_curve("sardana-2024")
    flops = np.geomspace(1e20, 1e25, 20001)
    best = min(flops, key=lambda c: abs(float(curve.optimum(c)[0][0]) - 13e9))
    n, d = (float(x[0]) for x in curve.optimum(best))
    found = inference_aware(float(curve.loss(n, d)[0]), 2e12, curve)
    assert found.parameters.value is not None and found.tokens.value is not None
    before = 6 * n * d + 2 * n * 2e12
    after = 6 * found.parameters.value * found.tokens.value + 2 * found.parameters.value * 2e12
    assert found.parameters.value == pytest.approx(7e9, rel=0.02)
    assert before - after == pytest.approx(1.7e22, rel=0.03)
    assert 1 - after / before == pytest.approx(0.17, abs=0.01)


def test_plenty_of_data_is_not_repeated_and_little_is():
    plenty, little = data_constrained(1e21, 1e13), data_constrained(1e21, 1e9)
    assert plenty.tokens.value is not None and plenty.tokens.value < 1e13 and not plenty.extrapolated
    assert little.loss.value > plenty.loss.value  # type: ignore[operator]
    assert little.tokens.value > 1e9  # type: ignore[operator]
    few = data_constrained(1e23, 1e8)
    assert few.extrapolated and "epochs" in few.notes[-1]
    n, d = (float(x[0]) for x in published_curve("muennighoff-2023").optimum(1e21))
    assert plenty.parameters.value == pytest.approx(n, rel=0.01)
    assert plenty.tokens.value == pytest.approx(d, rel=0.01)


@given(st.floats(min_value=6, max_value=11), st.floats(min_value=7, max_value=12), st.floats(min_value=0, max_value=3))
def test_repeats_are_never_worth_more_than_new_tokens(log_n, log_u, log_epochs):
    row = laws()["muennighoff-2023"]
    law = LossLaw(row.E, row.A, row.B, row.alpha, row.beta)
    lives, n, unique, tokens = published_half_lives(), 10**log_n, 10**log_u, 10 ** (log_u + log_epochs)
    loss = float(repeated_loss(law, lives, n, tokens, unique))
    usable = min(n, float(usable_parameters(law, unique)))
    assert loss >= float(law.loss(n, tokens)) - 1e-9
    assert loss <= float(law.loss(usable, unique)) + 1e-9
    if n <= usable * (1 + 1e-12):
        assert loss == pytest.approx(float(law.loss(n, effective_tokens(tokens, unique))), rel=1e-3)


def test_half_lives_are_found_again():
    law = LossLaw(1.87, 521.0, 1488.0, 0.3527, 0.3527)
    n, unique, epochs = (
        x.ravel() for x in np.meshgrid(np.geomspace(1e8, 5e9, 4), np.geomspace(1e8, 1e10, 4), [1.0, 4.0, 16.0, 64.0])
    )
    loss = repeated_loss(law, HalfLives(12.0, 4.0), n, unique * epochs, unique)
    found, residual = fit_half_lives(law, n, unique * epochs, unique, loss)
    assert (found.tokens, found.parameters) == pytest.approx((12.0, 4.0), rel=0.01)
    assert residual < 1e-4


@pytest.mark.parametrize(
    "ask",
    [
        lambda: compute_optimal(0.0),
        lambda: compute_optimal(math.inf),
        lambda: predicted_loss(-1, 1e9),
        lambda: inference_aware(1.0, 1e12),
        lambda: inference_aware(2.5, -1.0),
        lambda: data_constrained(1e21, math.nan),
        lambda: published_curve("folklore"),
    ],
)
def test_what_cannot_be_answered_is_refused(ask):
    with pytest.raises(InputError):
        ask()
