import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_effectsize

from aether.evidence import significance as G


def test_few_clusters_are_counted_exactly_as_scipy_does():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.6, 1, 9), rng.normal(0, 1, 9)
    found = stats.permutation_test((a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf)
    assert G.permutation_test(a, b) == pytest.approx(found.pvalue)


def test_drawn_signs_agree_with_the_t_test_and_never_say_zero():
    rng = np.random.default_rng(1)
    a = rng.normal(0, 1, 400)
    b = a + rng.normal(0.1, 1, 400)
    assert G.permutation_test(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.01)
    assert G.permutation_test(a, a - 5) == pytest.approx(1 / 10_001)


def test_clusters_flip_together():
    labels = np.repeat(np.arange(6), 50)
    a = np.repeat([1.0, -1.0, 1.0, -1.0, 1.0, 1.0], 50)
    zero = np.zeros(300)
    assert G.permutation_test(a, zero) < 0.001
    sums = [
        abs(sum(s * v for s, v in zip(signs, a[::50], strict=True))) for signs in itertools.product((1, -1), repeat=6)
    ]
    assert G.permutation_test(a, zero, labels) == pytest.approx(np.mean([s >= abs(a[::50].sum()) for s in sums]))


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 20))
def test_mcnemar_is_the_library_s(only_a, only_b, both):
    a = np.array([1] * only_a + [0] * only_b + [1] * both)
    b = np.array([0] * only_a + [1] * only_b + [1] * both)
    found = G.mcnemar(a, b)
    assert (found.only_a, found.only_b) == (only_a, only_b)
    assert found.p_value == pytest.approx(float(reference_mcnemar([[both, only_a], [only_b, 0]], exact=True).pvalue))
    assert 0 < found.mid_p_value <= 1 and found.mid_p_value <= found.p_value
    if found.odds_interval and found.odds_ratio is not None:
        assert found.odds_interval.low <= found.odds_ratio <= found.odds_interval.high


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_is_the_library_s(p_values):
    assert G.benjamini_hochberg(p_values) == pytest.approx(multipletests(p_values, method="fdr_bh")[1])


def test_effect_sizes():
    assert G.cohen_h(0.6, 0.45) == pytest.approx(proportion_effectsize(0.6, 0.45))
    a, b = [5.0, 6, 7, 8], [3.0, 4, 5, 6]
    pooled = np.sqrt((np.var(a, ddof=1) + np.var(b, ddof=1)) / 2)
    assert G.cohen_d(a, b) == pytest.approx(2 / pooled * (1 - 3 / 23))
    assert G.cohen_d([1.0], [2.0]) is None and G.cohen_d([1.0, 1], [2.0, 2]) is None
    assert G.benjamini_hochberg([]) == []
