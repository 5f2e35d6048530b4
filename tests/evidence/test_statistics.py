import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from aether.evidence import statistics as S

GSM8K = Path(__file__).parents[3] / "shared" / "data" / "gsm8k" / "example_model_solutions.jsonl"
XSTEST = Path(__file__).parents[3] / "shared" / "data" / "xstest"


def correct(name):
    if not GSM8K.exists():
        pytest.skip("the GSM8K solutions are not beside this checkout")
    rows = [json.loads(line) for line in GSM8K.read_text(encoding="utf-8").splitlines()]
    return np.array([float(row[name]["is_correct"]) for row in rows])


def test_a_published_paired_comparison():
    a, b = correct("6b_verification"), correct("175b_finetuning")
    paired = S.paired_difference(a, b, np.ones(len(a)))
    assert paired.difference == pytest.approx(0.0432, abs=5e-5)
    assert paired.se is not None and paired.difference / paired.se == pytest.approx(3.01, abs=0.01)
    unpaired = math.hypot(S.mean(a).se or 0.0, S.mean(b).se or 0.0)
    assert unpaired == pytest.approx(0.0188, abs=5e-5) and paired.difference / unpaired == pytest.approx(2.30, abs=0.01)
    assert S.mcnemar_exact(int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())) == pytest.approx(
        0.00315, abs=1e-5
    )


def holds(interval, truth):
    assert interval is not None
    return interval.low <= truth <= interval.high


def refused(model):
    path = XSTEST / f"xstest_v2_completions_{model}.csv"
    if not path.exists():
        pytest.skip("the labelled completions are not beside this checkout")
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not row["type"].startswith("contrast")]
    return np.array([float(row["final_label"] != "1_full_compliance") for row in rows]), [row["type"] for row in rows]


def test_the_same_difference_is_shown_by_items_and_not_by_prompt_types():
    """Over-refusal of two models on XSTest's 250 safe prompts (arXiv 2308.01263), as its annotators labelled it."""
    (a, types), (b, _) = refused("gpt4"), refused("mistralguard")
    by_item, by_type = (S.paired_difference(a, b, np.ones(250), clusters) for clusters in (None, types))
    assert by_item.difference == by_type.difference == pytest.approx(0.084 - 0.188)
    assert by_item.se == pytest.approx(0.0258, abs=5e-5) and by_item.p_value is not None and by_item.p_value < 0.001
    assert by_type.se == pytest.approx(0.0566, abs=5e-5) and by_type.p_value is not None and by_type.p_value > 0.05
    assert S.mcnemar_exact(9, 35) == pytest.approx(1.06e-4, abs=1e-6)


def test_the_mean_is_the_one_sample_t_interval():
    x = np.random.default_rng(0).normal(3, 2, 25)
    found = S.mean(x)
    low, high = stats.t.interval(0.95, 24, x.mean(), stats.sem(x))
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))


def test_equal_clusters_give_the_t_interval_of_their_means():
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, (12, 1)) + rng.normal(0, 1, (12, 7))
    found = S.mean(x.ravel(), np.repeat(np.arange(12), 7))
    low, high = stats.t.interval(0.95, 11, x.mean(), stats.sem(x.mean(1)))
    assert found.interval is not None and found.clusters == 12
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))


def test_the_ratio_s_error_is_the_jackknife_of_its_clusters():
    rng = np.random.default_rng(2)
    x, clusters = rng.lognormal(5, 1, 60), np.repeat(np.arange(15), 4)
    y = x * rng.normal(2, 0.3, 60)
    y_C, x_C = S.cluster_totals(y, clusters), S.cluster_totals(x, clusters)
    left_out = (y.sum() - y_C) / (x.sum() - x_C)
    expected = np.sqrt(14 / 15 * ((left_out - y.sum() / x.sum()) ** 2).sum())
    assert S.ratio(y, x, clusters).se == pytest.approx(expected)


@pytest.mark.parametrize("clusters", [12, 60])
def test_coverage_with_skewed_file_sizes(clusters):
    rng = np.random.default_rng(3)
    big = np.random.default_rng(4).lognormal(8, 1, 400_000)
    truth = (big * (1.8 - 0.05 * (np.log(big) - 8))).sum() / big.sum()
    inside = []
    for _ in range(600):
        sizes = rng.lognormal(8, 1, clusters)
        bits = sizes * (1.8 - 0.05 * (np.log(sizes) - 8) + rng.normal(0, 0.4, clusters))
        interval = S.ratio(bits, sizes).interval
        inside.append(holds(interval, truth))
    assert 0.895 <= np.mean(inside) <= 0.98


def test_coverage_of_clustered_items_needs_the_clusters():
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(30), 10)
    naive, clustered = [], []
    for _ in range(300):
        x = np.repeat(rng.normal(0, 1, 30), 10) + rng.normal(0, 1, 300)
        for found, into in ((S.mean(x), naive), (S.mean(x, labels), clustered)):
            into.append(holds(found.interval, 0))
    assert np.mean(naive) < 0.75 and 0.91 <= np.mean(clustered) <= 0.98


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_the_bootstrap_agrees_with_scipy(method):
    rng = np.random.default_rng(6)
    y = rng.exponential(1, 40)
    ours = S.cluster_bootstrap(y, np.ones(40), how=S.Bootstrap(20000, 0, method)).interval
    theirs = stats.bootstrap((y,), np.mean, n_resamples=20000, method=method, rng=1).confidence_interval
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


@pytest.mark.parametrize(
    ("hits", "n", "expected"), [(0, 10, (0, 0.3085)), (10, 10, (0.6915, 1)), (81, 263, (0.2527, 0.3676))]
)
def test_exact_proportions_are_the_published_ones(hits, n, expected):
    interval = S.exact_proportion(hits, n).interval
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(expected, abs=5e-5)


def test_without_clusters_a_proportion_is_wilson_s_with_t():
    hit = np.array([1.0] * 81 + [0.0] * 182)
    found = S.proportion(hit)
    interval = stats.binomtest(81, 263).proportion_ci(method="wilson")
    # Newcombe (1998), example 1: 81 of 263 gives 0.2553 to 0.3662 by Wilson's score.
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high), abs=1e-3)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=60))
def test_a_proportion_always_has_a_sound_interval(rows):
    found = S.proportion([hit for hit, _ in rows], [label for _, label in rows])
    if found.interval is None:
        assert found.clusters == 1
    else:
        assert 0 <= found.interval.low <= found.value <= found.interval.high <= 1
        assert found.interval.high - found.interval.low > 0


def test_all_or_nothing_is_bounded_by_the_number_of_clusters():
    alone = S.proportion(np.ones(100)).interval
    together = S.proportion(np.ones(100), np.repeat(np.arange(10), 10)).interval
    assert alone is not None and together is not None
    assert together.low < 0.7 < 0.95 < alone.low


def test_non_inferiority():
    rng = np.random.default_rng(7)
    base = rng.lognormal(8, 1, 80)
    near = base * (1 + rng.normal(0.002, 0.005, 80))
    assert S.non_inferiority(near, base, 0.01).passed
    assert not S.non_inferiority(near * 1.02, base, 0.01).passed
    same = S.non_inferiority(base, base, 0.0)
    assert same.passed and same.upper == 0.0
    assert not S.non_inferiority(base, base, 0.01, ["one"] * 80).passed


def test_no_difference_is_a_normal_answer():
    same = S.paired_difference([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1, 1, 1])
    assert same.p_value == 1.0 and same.effect_size == 0.0 and not same.is_significant
    always = S.paired_difference([2.0, 3.0], [1.0, 2.0], [1, 1])
    assert always.interval is None and always.p_value == 0.5 and not always.is_significant
    more = S.paired_difference(np.full(12, 3.0), np.full(12, 1.0), np.ones(12))
    assert more.p_value == 2 * 0.5**12 and more.is_significant


def test_quantiles_cover_and_say_when_they_cannot():
    rng = np.random.default_rng(8)
    inside = []
    for _ in range(400):
        interval = S.quantile(rng.exponential(1, 60), 0.5).interval
        inside.append(holds(interval, np.log(2)))
    assert np.mean(inside) >= 0.94
    few = S.quantile(np.arange(60.0), 0.99)
    assert few.interval is None and few.value == 59.0 and "368" in few.note
    assert S.quantile(np.arange(400.0), 0.99).interval is not None


@given(st.integers(2, 500), st.sampled_from([0.5, 0.9, 0.99]))
def test_an_order_statistic_interval_has_its_level(n, share):
    interval = S.quantile(np.arange(1.0, n + 1), share).interval
    if interval is not None:
        low, high = int(interval.low), int(interval.high)
        assert stats.binom.cdf(high - 1, n, share) - stats.binom.cdf(low - 1, n, share) >= 0.95 - 1e-12


def test_holm_and_power():
    assert S.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert S.smallest_detectable(1.0, 10_000) == pytest.approx(2.80, abs=0.01)


def test_coverage_of_clustered_proportions():
    rng = np.random.default_rng(9)
    labels = np.repeat(np.arange(25), 8)
    inside = []
    for _ in range(400):
        rate = rng.beta(1.5, 6, 25)
        interval = S.proportion(rng.random(200) < np.repeat(rate, 8), labels).interval
        inside.append(holds(interval, 0.2))
    assert 0.92 <= np.mean(inside) <= 0.995
