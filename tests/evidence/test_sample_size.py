import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import NormalIndPower

from aether.evidence import sample_size
from aether.evidence.sample_size import Design
from aether.spec.errors import InputError


def test_published_and_exact_sizes():
    assert sample_size.needed_for_quantile(0.99) == 368
    assert sample_size.needed_pairs(1 / 3, 0.03) == 969  # Miller, arXiv 2411.00640, section 5


def test_a_share_gets_the_interval_that_was_wanted():
    n = sample_size.needed_for_share(0.03)
    interval = stats.binomtest(n // 2, n).proportion_ci(method="wilson")
    assert 0.0295 <= (interval.high - interval.low) / 2 <= 0.0301


def test_power_is_the_library_s():
    plan = Design(items=500, accuracy=0.5, correlation=0.0)
    # Two independent groups of 500 with standard deviation 0.5 each.
    expected = NormalIndPower().power(0.05 / 0.5, 500, 0.05)
    assert plan.power_for(0.05) == pytest.approx(expected, abs=1e-9)


@given(st.integers(20, 5000), st.floats(0.05, 0.95), st.floats(0, 0.9), st.integers(1, 8), st.floats(0, 1))
def test_the_smallest_detectable_difference_is_found_at_the_planned_power(
    items, accuracy, correlation, answers, within
):
    plan = Design(items, accuracy, correlation, answers, within)
    smallest = plan.smallest_detectable
    assert plan.power_for(smallest) == pytest.approx(0.8, abs=1e-3)
    assert abs(plan.items_for(smallest) - items) <= 1


def test_more_answers_help_only_where_answers_are_chance():
    """Miller, section 3.1: with answers' variance 1/6 within items and 1/12 between, two answers each remove a third."""
    one = Design(1000, within_share=2 / 3, correlation=0.0).sd_of_difference ** 2
    two = Design(1000, within_share=2 / 3, correlation=0.0, answers=2).sd_of_difference ** 2
    assert 1 - two / one == pytest.approx(1 / 3)
    assert Design(1000, answers=8).sd_of_difference == Design(1000).sd_of_difference


def test_clusters_and_many_tests_cost_power():
    plain = Design(1000).smallest_detectable
    assert Design(1000, cluster_size=11, intraclass_correlation=0.3).smallest_detectable == pytest.approx(2 * plain)
    assert Design(1000, tests=10).smallest_detectable > plain


def test_a_planted_difference_of_that_size_is_found_as_often_as_planned():
    plan, rng, found = Design(400, accuracy=0.6, correlation=0.0), np.random.default_rng(0), []
    gain = plan.smallest_detectable
    for _ in range(2000):
        a, b = rng.random(400) < 0.6 + gain / 2, rng.random(400) < 0.6 - gain / 2
        found.append(stats.ttest_rel(a.astype(float), b.astype(float)).pvalue < 0.05)
    assert np.mean(found) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("colour=1", "one of accuracy"),
        ("accuracy=1", "between 0 and 1"),
        ("answers=two", "from 1"),
        ("tests", "FIELD=VALUE"),
    ],
)
def test_a_bad_field_of_a_design_is_named(setting, told):
    with pytest.raises(InputError, match=told):
        sample_size.design_of(100, [setting])
    assert sample_size.design_of(100, ["answers=4", "accuracy=0.7"]) == Design(100, 0.7, answers=4)
