import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether.evidence import sequential as Q
from aether.spec.errors import InputError


def test_looking_after_every_item_gives_no_more_false_alarms_than_said():
    rng, alarms, naive = np.random.default_rng(0), [], []
    for _ in range(120):
        x = rng.choice([-1.0, 0.0, 1.0], 400, p=[0.2, 0.6, 0.2])
        alarms.append(Q.betting(x).stops_at() is not None)
        n = np.arange(1, 401)
        mean = np.cumsum(x) / n
        se = np.sqrt(np.maximum(np.cumsum(x**2) / n - mean**2, 1e-12) / n)
        naive.append(bool((np.abs(mean)[29:] > 1.96 * se[29:]).any()))
    assert np.mean(alarms) <= 0.05 < 0.2 < np.mean(naive)


def test_a_real_difference_stops_early():
    rng = np.random.default_rng(1)
    x = rng.choice([-1.0, 0.0, 1.0], 2000, p=[0.1, 0.6, 0.3])
    for sequence in (Q.betting(x), Q.asymptotic(x)):
        stop = sequence.stops_at()
        assert stop is not None and stop < 1000
        assert sequence.low[-1] <= 0.2 <= sequence.high[-1]


@settings(max_examples=40)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60), st.floats(0.5, 0.99))
def test_a_betting_sequence_only_narrows_and_holds_its_bounds(values, level):
    found = Q.betting(values, level=level)
    assert (found.low <= found.high).all() and found.low[0] >= -1 and found.high[0] <= 1
    assert (np.diff(found.low) >= 0).all() and (np.diff(found.high) <= 0).all()


def test_a_longer_series_does_not_change_what_was_said():
    x = np.random.default_rng(2).uniform(-1, 1, 100)
    whole, part = Q.betting(x), Q.betting(x[:40])
    assert (whole.low[:40] == part.low).all() and (whole.high[:40] == part.high).all()


def test_the_asymptotic_sequence_is_silent_at_first_and_bounds_are_checked():
    assert np.isinf(Q.asymptotic(np.arange(50.0)).high[:29]).all()
    with pytest.raises(InputError, match="within the bounds"):
        Q.betting([0.0, 1.5])
