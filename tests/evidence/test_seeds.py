import numpy as np
import pytest

from aether.evidence import seeds as D
from aether.spec.errors import InputError


def table(rng, seeds, items, sd_seed, sd_item, sd_rest):
    own = rng.normal(0, sd_seed, (seeds, 1)) + rng.normal(0, sd_item, (1, items))
    return own + rng.normal(0, sd_rest, (seeds, items))


def test_components_are_those_of_a_two_way_analysis_of_variance():
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    scores = table(np.random.default_rng(0), 4, 30, 0.5, 1, 0.7)
    rows = pd.DataFrame([(s, i, scores[s, i]) for s in range(4) for i in range(30)], columns=["seed", "item", "y"])
    found = anova_lm(ols("y ~ C(seed) + C(item)", rows).fit())
    square = found["sum_sq"] / found["df"]
    rest = square["Residual"]
    parts = D.components(scores)
    assert parts.rest == pytest.approx(rest)
    assert parts.seed == pytest.approx(max(0, (square["C(seed)"] - rest) / 30))
    assert parts.item == pytest.approx(max(0, (square["C(item)"] - rest) / 4))
    assert sum(parts.shares.values()) == pytest.approx(1)


def test_seeds_widen_what_items_alone_would_say():
    rng, hits, naive = np.random.default_rng(1), [], []
    for _ in range(400):
        items = rng.normal(0, 1, (1, 100))
        a, b = (items + rng.normal(0, 0.3, (5, 1)) + rng.normal(0, 0.5, (5, 100)) for _ in range(2))
        found = D.compare_seeds(a, b)
        hits.append(found.p_value < 0.05)
        apart = a.mean(0) - b.mean(0)
        naive.append(abs(apart.mean()) > 1.98 * apart.std(ddof=1) / 10)
    assert 0.02 <= np.mean(hits) <= 0.09 < 0.4 < np.mean(naive)


def test_two_seeds_and_the_same_items_are_needed():
    with pytest.raises(InputError, match="two seeds by two items"):
        D.components([[1.0, 2.0]])
    with pytest.raises(InputError, match="same items"):
        D.compare_seeds(np.zeros((2, 3)), np.zeros((2, 4)))
    same = D.compare_seeds(np.ones((2, 3)), np.ones((2, 3)))
    assert same.difference == 0 and same.p_value is None and same.note == "no spread"
