import csv
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from aether.evidence.agreement import cohen_kappa, krippendorff_alpha
from aether.spec.errors import InputError

CODINGS = Path(__file__).parents[3] / "shared" / "data" / "evalica_pairwise" / "codings.csv"
NONE = float("nan")
# The reliability data of Krippendorff (2011), section C: 4 observers, 12 units.
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
    [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
]


@pytest.mark.parametrize(
    ("scale", "value"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)]
)
def test_the_published_example(scale, value):
    found = krippendorff_alpha(PUBLISHED, scale, resamples=200)
    assert found.value == pytest.approx(value, abs=5e-4)
    assert found.items == 11 and found.interval is not None and found.interval.low <= value <= found.interval.high


def test_the_file_of_codings_is_that_example():
    if not CODINGS.exists():
        pytest.skip("the codings are not beside this checkout")
    rows = [[float(cell) if cell else NONE for cell in row] for row in csv.reader(CODINGS.read_text().splitlines())]
    np.testing.assert_array_equal(np.array(rows), np.array(PUBLISHED))


def test_kappa_is_the_library_s():
    rng = np.random.default_rng(0)
    one = rng.integers(0, 3, 200)
    other = np.where(rng.random(200) < 0.7, one, rng.integers(0, 3, 200))
    found = cohen_kappa(list(one), list(other), resamples=300)
    assert found.value == pytest.approx(cohens_kappa(np.histogram2d(one, other, 3)[0]).kappa)
    assert found.interval is not None and found.interval.low < found.value < found.interval.high


def test_what_says_nothing_is_said():
    assert cohen_kappa(["a", "a"], ["a", "a"]).value is None
    with pytest.raises(InputError, match="no item has two"):
        krippendorff_alpha([[1, NONE], [NONE, 2]])
    with pytest.raises(InputError, match="two annotators' labels"):
        cohen_kappa([1], [])
