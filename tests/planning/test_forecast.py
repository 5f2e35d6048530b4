"""Predictions from a few runs: they hold the truth as often as they say, and widen with the distance."""

import numpy as np
import pytest

from aether.planning.forecast import LEVEL, NO_TRANSIENT, LossPoint, Transient, forecast
from aether.planning.laws import LossLaw

RUNS = ((350e3, 40e3), (350e3, 300e3), (900e3, 150e3), (2.1e6, 75e3))
TARGETS = ((900e3, 2e6), (2.1e6, 1.5e6), (3e6, 2e6))


def points(truth: LossLaw, noise=lambda: 0.0) -> list[LossPoint]:
    return [LossPoint(parameters=n, tokens=d, loss=float(truth.loss(n, d)) * (1 + noise())) for n, d in RUNS]


def some_truth(rng) -> LossLaw:
    alpha, beta = 0.16 * np.exp(0.4 * rng.normal()), 0.19 * np.exp(0.4 * rng.normal())
    asymptote = 1.2 * np.exp(0.3 * rng.normal())
    return LossLaw(asymptote, 1.5 * 1e6**alpha, 2.5 * 2e5**beta, alpha, beta)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(40):
        truth = some_truth(rng)
        curve = forecast(points(truth, lambda: 0.006 * rng.normal()), 1.2, NO_TRANSIENT)
        for n, d in TARGETS:
            interval = curve.loss(n, d).interval
            held.append(interval.low <= float(truth.loss(n, d)) * (1 + 0.006 * rng.normal()) <= interval.high)
    assert np.mean(held) >= LEVEL - 0.08


def test_a_pilot_is_predicted_close_to_itself():
    truth = LossLaw(1.2, 12.0, 15.0, 0.16, 0.15)
    curve = forecast(points(truth), 1.2)
    for n, d in RUNS:
        assert curve.loss(n, d).value == pytest.approx(float(truth.loss(n, d)), rel=0.02)


def test_farther_is_wider_and_more_training_is_better():
    curve = forecast(points(LossLaw(1.2, 12.0, 15.0, 0.16, 0.15)), 1.2)
    near, far = curve.loss(900e3, 5e5), curve.loss(900e3, 5e7)
    assert far.value < near.value
    assert far.relative_spread > near.relative_spread
    assert near.interval.low < near.value < near.interval.high


def test_the_undecayed_phase_only_shifts():
    truth = LossLaw(1.2, 12.0, 15.0, 0.16, 0.15)
    ends = points(truth)
    stable = [
        LossPoint(parameters=n, tokens=d, loss=float(truth.loss(n, d)) + 0.2, decayed=False, spread=0.02)
        for n, d in ((350e3, 1e5), (350e3, 2e5), (900e3, 1e5))
    ]
    plain, both = forecast(ends, 1.2).loss(900e3, 2e6), forecast([*ends, *stable], 1.2).loss(900e3, 2e6)
    assert both.value == pytest.approx(plain.value, rel=0.03)


def test_runs_that_contradict_the_curve_widen_it():
    ends = points(LossLaw(1.2, 12.0, 15.0, 0.16, 0.15))
    worse = [*ends, ends[0].model_copy(update={"loss": ends[0].loss * 1.2})]
    assert forecast(worse, 1.2).loss(9e5, 2e6).relative_spread > forecast(ends, 1.2).loss(9e5, 2e6).relative_spread


def test_the_measured_shift_is_bounded_and_only_beyond_the_pilots():
    ends = points(LossLaw(1.2, 12.0, 15.0, 0.16, 0.15))
    plain = forecast(ends, 1.2, NO_TRANSIENT)
    shifted = forecast(ends, 1.2, Transient(-0.05, 0.0, 0.0))
    assert shifted.loss(350e3, 1e5).value == pytest.approx(plain.loss(350e3, 1e5).value)
    assert shifted.loss(9e5, 1e9).value == pytest.approx(plain.loss(9e5, 1e9).value * 0.95, rel=0.01)


def test_the_same_points_give_the_same_number():
    ends = points(LossLaw(1.2, 12.0, 15.0, 0.16, 0.15))
    assert forecast(ends, 1.2).loss(9e5, 2e6) == forecast(ends, 1.2).loss(9e5, 2e6)
