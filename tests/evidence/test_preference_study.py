"""A study's arithmetic: power as a simulation finds it, loads that are fair, and careless raters that are found."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether.evidence.bradley_terry import Votes, fit
from aether.evidence.preference_study import StudyDesign, assigned
from aether.spec.errors import InputError


@given(st.integers(1, 60), st.integers(1, 9), st.data())
@settings(max_examples=60)
def test_each_pair_has_its_raters_and_loads_are_equal(pairs, raters, data):
    per_pair = data.draw(st.integers(1, raters))
    design = StudyDesign(pairs, raters, per_pair)
    shares = assigned(design, seed=data.draw(st.integers(0, 99)))
    assert Counter(pair for share in shares for pair in share) == dict.fromkeys(range(pairs), per_pair)
    assert all(len(set(share)) == len(share) for share in shares)
    loads = [len(share) for share in shares]
    assert max(loads) - min(loads) <= 1 and max(loads) + design.checks == design.largest_load


def test_power_is_what_a_simulation_finds():
    """Raters with tastes of their own: the planned difference is found about as often as planned, and nothing is found where nothing is."""
    design = StudyDesign(pairs=600, raters=30, per_pair=1, within_rater=0.04)
    rng, draws = np.random.default_rng(0), 150

    def found(share):
        spread = np.sqrt(design.within_rater * share * (1 - share))
        tastes = rng.normal(share, spread, design.raters)
        rater = np.repeat(np.arange(design.raters), design.votes // design.raters)
        wins = rng.random(design.votes) < tastes[rater]
        votes = Votes.of(
            ["one"] * design.votes,
            ["two"] * design.votes,
            np.where(wins, "left", "right").tolist(),
            [str(r) for r in rater],
        )
        return fit(votes).difference("one", "two")[2] < 0.05

    power = np.mean([found(0.5 + design.smallest_detectable) for _ in range(draws)])
    alarms = np.mean([found(0.5) for _ in range(draws)])
    assert 0.73 <= power <= 0.87 and 0.02 <= alarms <= 0.085
    assert design.power_for(design.smallest_detectable) == pytest.approx(0.8, abs=0.001)


def test_coin_flips_seldom_pass_the_checks():
    assert StudyDesign(10, 2, checks=8).careless_pass == pytest.approx(9 / 256)
    assert StudyDesign(10, 2, checks=0).careless_pass == 1.0


def test_more_raters_for_a_pair_than_there_are():
    with pytest.raises(InputError, match="the number of raters"):
        StudyDesign(10, 2, per_pair=3)
