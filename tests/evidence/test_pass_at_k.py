from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.evidence.pass_at_k import pass_at_k, pass_at_k_of
from aether.spec.errors import InputError


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_it_is_the_share_of_subsets_with_a_pass(case):
    n, c, k = case
    assert pass_at_k_of(n, c, k) == pytest.approx(1 - comb(n - c, k) / comb(n, k))


def test_it_needs_k_answers():
    with pytest.raises(InputError, match="pass@10 needs at least 10 answers"):
        pass_at_k([5], [1], 10)
    with pytest.raises(InputError, match="drawn >= passed"):
        pass_at_k_of(3, 4, 1)


def test_the_mean_has_an_interval_over_problems():
    found = pass_at_k([10] * 40, [i % 11 for i in range(40)], 3)
    assert found.interval is not None and 0 <= found.interval.low < found.value < found.interval.high <= 1
