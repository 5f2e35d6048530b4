import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm

from aether.evidence.bradley_terry import ELO, Votes, fit
from aether.spec.errors import InputError

DATA = Path(__file__).parents[3] / "shared" / "data" / "evalica_pairwise"


def drawn(rng, n=6000, players=8, nu=0.0, raters=None, slope=0.0):
    strength = np.linspace(-1, 1, players)
    left = rng.integers(0, players, n)
    right = (left + rng.integers(1, players, n)) % players
    x = rng.normal(0, 1, n)
    u = (strength[left] - strength[right] + slope * x) / 2
    win, loss = np.exp(u), np.exp(-u)
    whole, draw = win + loss + nu, rng.random(n)
    outcome = np.where(draw < win / whole, 1, np.where(draw < (win + loss) / whole, -1, 0))
    who = None if raters is None else rng.integers(0, raters, n)
    return Votes(tuple(f"m{i}" for i in range(players)), left, right, outcome, who), x, strength


def published():
    path = DATA / "llmfao.csv"
    if not path.exists():
        pytest.skip("the votes are not beside this checkout")
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    return Votes.of(*([row[key] for row in rows] for key in ("left", "right", "winner", "worker")))


def test_8931_votes_of_124_people_give_the_published_strengths_and_errors():
    votes = published()
    plain = dataclasses.replace(votes, raters=None)
    at = votes.players.index("GPT 4")
    trusting, robust, clustered = fit(plain, robust=False), fit(plain), fit(votes)
    for name, points in (("GPT 4", 172.1), ("Platypus-2 Instruct (70B)", 112.4), ("command", 110.2)):
        assert ELO * clustered.strength[votes.players.index(name)] == pytest.approx(points, abs=0.06)
    errors = [ELO * found.se()[at] for found in (trusting, robust, clustered)]
    assert errors == pytest.approx([33.5, 27.9, 35.3], abs=0.06)
    assert [ELO * found.se().mean() for found in (trusting, robust, clustered)] == pytest.approx(
        [24.4, 18.6, 21.3], abs=0.06
    )
    assert clustered.clusters == 124


def test_a_small_case_is_the_library_s():
    path = DATA / "simple-golden.csv"
    if not path.exists():
        pytest.skip("the golden scores are not beside this checkout")
    rows = list(csv.DictReader((DATA / "simple.csv").read_text().splitlines()))
    found = fit(Votes.of(*([row[key] for row in rows] for key in ("left", "right", "winner"))))
    golden = {
        r["item"]: float(r["score"])
        for r in csv.DictReader(path.read_text().splitlines())
        if r["algorithm"] == "bradley_terry"
    }
    expected = np.log([golden[name] for name in found.players])
    np.testing.assert_allclose(found.strength, expected - expected.mean(), atol=2e-4)


def test_without_ties_it_is_logistic_regression_and_its_clustered_sandwich():
    votes, x, _ = drawn(np.random.default_rng(0), n=1500, players=5, raters=40, slope=0.4)
    found = fit(votes.with_covariate("longer", x))
    design = np.zeros((1500, 5))
    design[np.arange(1500), votes.left] += 1
    design[np.arange(1500), votes.right] -= 1
    design = np.column_stack([design[:, 1:], x])
    model = sm.Logit((votes.outcome > 0).astype(float), design)
    clustered = model.fit(disp=0, cov_type="cluster", cov_kwds={"groups": votes.raters, "use_correction": False})
    np.testing.assert_allclose(found.strength[1:] - found.strength[0], clustered.params[:4], atol=1e-6)
    effect, se = found.effects["longer"]
    assert effect == pytest.approx(clustered.params[4], abs=1e-6)
    assert se == pytest.approx(clustered.bse[4] * np.sqrt(40 / 39), rel=1e-4)
    apart, _, _ = found.difference("m4", "m0", scale=1.0)
    assert apart == pytest.approx(clustered.params[3], abs=1e-6)


def test_ties_have_a_parameter():
    votes, _, strength = drawn(np.random.default_rng(1), n=40_000, nu=0.8)
    found = fit(votes, "davidson")
    assert found.tie == pytest.approx(0.8, abs=0.05)
    np.testing.assert_allclose(found.strength, strength, atol=0.1)
    assert all(
        interval.low <= ELO * s <= interval.high for interval, s in zip(found.intervals(0.999), strength, strict=True)
    )


def test_equal_votes_counted_together_are_the_same_fit():
    votes, _, _ = drawn(np.random.default_rng(2), n=2000, players=4, nu=0.5, raters=30)
    apart = votes.with_covariate("nothing", np.random.default_rng(3).normal(0, 1e-9, 2000))
    one, other = (
        fit(votes, "davidson"),
        fit(dataclasses.replace(apart, covariates=np.zeros((2000, 0)), names=()), "davidson"),
    )
    np.testing.assert_allclose(one.covariance, other.covariance)


def test_people_who_vote_often_widen_the_interval():
    rng = np.random.default_rng(4)
    taste = rng.normal(0, 1.0, (25, 6))
    rater = np.repeat(np.arange(25), 120)
    left = rng.integers(0, 6, 3000)
    right = (left + rng.integers(1, 6, 3000)) % 6
    u = taste[rater, left] - taste[rater, right]
    outcome = np.where(rng.random(3000) < 1 / (1 + np.exp(-u)), 1, -1)
    votes = Votes(tuple("abcdef"), left, right, outcome, rater)
    assert fit(votes).se().mean() > 2 * fit(dataclasses.replace(votes, raters=None)).se().mean()
    # All six are equal on average: ranks must not tell them apart.
    assert fit(votes).ranks() == [(1, 6)] * 6


def test_ranks_tell_clear_differences():
    votes, _, _ = drawn(np.random.default_rng(5), n=60_000, players=4)
    assert fit(votes).ranks() == [(4, 4), (3, 3), (2, 2), (1, 1)]
    assert fit(votes).ranks(correction="bh") == [(4, 4), (3, 3), (2, 2), (1, 1)]


def test_bad_votes_are_named():
    with pytest.raises(InputError, match="row 2"):
        Votes.of(["a", "b"], ["b", "a"], ["left", "both"])
    with pytest.raises(InputError, match="two different models"):
        Votes.of(["a"], ["a"], ["left"])
    with pytest.raises(InputError, match="won or lost against the others always"):
        fit(Votes.of(["a", "a", "b"], ["b", "c", "c"], ["left", "left", "tie"]))
    with pytest.raises(InputError, match="no vote is a tie"):
        fit(Votes.of(["a", "a"], ["b", "b"], ["left", "right"]), "davidson")
