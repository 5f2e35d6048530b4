import numpy as np
import pytest
from scipy import stats

from aether.spec.brief import Load
from aether.stages.serve.loadtest import arrivals_s


def test_arrivals_are_a_poisson_process_and_repeat_with_the_seed():
    load = Load(requests_per_s=5.0, requests=4000)
    due = arrivals_s(load, 3)
    assert due == arrivals_s(load, 3) != arrivals_s(load, 4)
    gaps = np.diff([0.0, *due])
    assert gaps.mean() == pytest.approx(0.2, rel=0.05)
    assert stats.kstest(gaps, "expon", args=(0, 0.2)).pvalue > 1e-3
