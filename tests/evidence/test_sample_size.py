from scipy import stats

from aether.evidence import sample_size


def test_published_and_exact_sizes():
    assert sample_size.needed_for_quantile(0.99) == 368
    assert sample_size.needed_pairs(1 / 3, 0.03) == 969  # Miller, arXiv 2411.00640, section 5


def test_a_share_gets_the_interval_that_was_wanted():
    n = sample_size.needed_for_share(0.03)
    interval = stats.binomtest(n // 2, n).proportion_ci(method="wilson")
    assert 0.0295 <= (interval.high - interval.low) / 2 <= 0.0301
