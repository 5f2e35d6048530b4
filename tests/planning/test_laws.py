"""The loss curve: gradients and fit against known curves, and against the published points where they are at hand."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from aether.knowledge.library import laws
from aether.planning.laws import LossLaw, effective_tokens, fit_law

PUBLISHED = Path(os.environ.get("AETHER_CHINCHILLA_POINTS", "chinchilla_points.csv"))
"""Columns `Model Size`, `Training FLOP` and `loss`: the points that epoch-research/analyzing-chinchilla extracted."""


def test_a_known_curve_is_found_again():
    truth = LossLaw(E=1.7, A=400.0, B=500.0, alpha=0.34, beta=0.3)
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 5), np.geomspace(1e8, 1e12, 5)))
    found = fit_law(n, d, truth.loss(n, d))
    assert (found.E, found.alpha, found.beta) == pytest.approx((1.7, 0.34, 0.3), abs=0.01)
    np.testing.assert_allclose(found.loss(n, d), truth.loss(n, d), rtol=1e-3)


def test_repeats_are_worth_less_and_never_more_than_the_half_life():
    assert effective_tokens(100, 100) == 100
    assert 350 < effective_tokens(400, 100) < 400
    assert effective_tokens(1e9, 100) == pytest.approx(100 * (1 + 15.39), rel=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(not PUBLISHED.exists(), reason="set AETHER_CHINCHILLA_POINTS to the file")
def test_the_replication_of_chinchilla_is_reproduced():
    rows = list(csv.DictReader(PUBLISHED.read_text().splitlines()))
    size = np.array([float(r["Model Size"]) for r in rows])
    flops = np.array([float(r["Training FLOP"]) for r in rows])
    loss = np.array([float(r["loss"]) for r in rows])
    kept = np.argsort(loss)[:-5]
    found, known = fit_law(size[kept], (flops / (6 * size))[kept], loss[kept]), laws()["besiroglu-2024"]
    for name in ("E", "alpha", "beta"):
        assert abs(getattr(found, name) - getattr(known, name)) < known.standard_error[name]
