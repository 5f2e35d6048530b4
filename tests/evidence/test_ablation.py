import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from aether.evidence.ablation import against_baseline, detectable_in_noises, noise_of
from aether.spec.errors import InputError


def table(seed, variants=5, seeds=3, effects=None):
    rng = np.random.default_rng(seed)
    means = np.zeros(variants) if effects is None else np.asarray(effects)
    return means[:, None] + rng.normal(0, 0.3, seeds)[None, :] + rng.normal(0, 0.1, (variants, seeds))


def test_noise_and_differences_are_those_of_a_two_way_analysis_of_variance():
    values = table(1, effects=[0, 0.1, -0.2, 0.3, 0])
    variants, seeds = values.shape
    variant, seed = np.divmod(np.arange(values.size), seeds)
    design = np.column_stack(
        [np.ones(values.size), *(variant == v for v in range(1, variants)), *(seed == s for s in range(1, seeds))]
    )
    fitted = sm.OLS(values.ravel(), design.astype(float)).fit()
    assert noise_of(values).noise == pytest.approx(np.sqrt(fitted.scale))
    found = against_baseline(values, 0)
    assert found[0] is None
    intervals = fitted.conf_int(0.05)
    for row in range(1, variants):
        assert found[row].value == pytest.approx(fitted.params[row])
        assert (found[row].interval.low, found[row].interval.high) == pytest.approx(tuple(intervals[row]))
    raw = sorted(fitted.pvalues[1:variants])
    assert min(d.p_value for d in found[1:]) == pytest.approx(min(1, raw[0] * (variants - 1)))


def test_of_nulls_at_most_one_in_twenty_ablations_calls_any_variant_different():
    called = sum(
        any(d is not None and d.conclusion != "no evidence of a difference" for d in against_baseline(table(seed), 0))
        for seed in range(2000)
    )
    assert stats.binomtest(called, 2000, 0.05, "greater").pvalue > 0.001
    assert called > 20


def test_a_difference_of_the_detectable_size_is_found_four_times_in_five():
    size = 0.1 * detectable_in_noises(4, 3)
    found = [against_baseline(table(seed, 4, effects=[0, -size, 0, 0]), 0)[1] for seed in range(1000)]
    share = sum(d.conclusion == "better" for d in found) / 1000
    assert 0.76 <= share <= 0.9  # Holm is a little stronger than the level that the plan takes


def test_equal_values_show_nothing_and_a_single_seed_is_refused():
    assert against_baseline([[1.0, 1.0], [1.0, 1.0]], 0)[1].conclusion == "no evidence of a difference"
    with pytest.raises(InputError, match="two seeds"):
        noise_of([[1.0], [2.0]])
