import numpy as np
import pytest

from aether.evidence.judging import calibrate, corrected_rate, prediction_powered_mean
from aether.spec.errors import InputError


def judged(rng, truth, sensitivity, specificity):
    return np.where(truth, rng.random(len(truth)) < sensitivity, rng.random(len(truth)) > specificity)


def test_a_calibration_counts():
    found = calibrate([True, True, False, False, True], [True, False, False, True, True])
    assert (found.true_yes, found.missed, found.true_no, found.false_yes) == (2, 1, 1, 1)
    assert found.sensitivity == pytest.approx(2 / 3) and found.specificity == 0.5 and not found.is_informative
    with pytest.raises(InputError, match="both kinds"):
        calibrate([True], [True])


def test_a_corrected_rate_covers_the_truth_where_the_raw_one_does_not():
    rng, inside, raw = np.random.default_rng(0), [], []
    for _ in range(400):
        labelled, items = rng.random(200) < 0.4, rng.random(400) < 0.1
        known = calibrate(judged(rng, labelled, 0.9, 0.85), labelled, resamples=1)
        yes = int(judged(rng, items, 0.9, 0.85).sum())
        interval = corrected_rate(yes, 400, known).interval
        inside.append(interval.low <= 0.1 <= interval.high)
        raw.append(abs(yes / 400 - 0.1) < 0.03)
    assert np.mean(inside) >= 0.92 and np.mean(raw) < 0.1


@pytest.mark.parametrize("yes", [0, 300])
def test_none_and_all_keep_an_interval(yes):
    rng = np.random.default_rng(1)
    labelled = rng.random(300) < 0.5
    found = corrected_rate(yes, 300, calibrate(judged(rng, labelled, 0.95, 0.95), labelled))
    assert found.interval is not None and found.interval.low < found.interval.high and 0 <= found.value <= 1


def test_a_judge_that_guesses_corrects_nothing():
    rng = np.random.default_rng(2)
    labelled = rng.random(100) < 0.5
    with pytest.raises(InputError, match="not shown to be better than chance"):
        corrected_rate(10, 50, calibrate(rng.random(100) < 0.5, labelled))


def test_prediction_powered_means_are_tighter_and_cover():
    rng, inside, narrower = np.random.default_rng(3), [], []
    for _ in range(300):
        truth = (rng.random(1100) < 0.3).astype(float)
        judge = np.clip(truth + rng.normal(0.1, 0.3, 1100), 0, 1)
        found = prediction_powered_mean(truth[:100], judge[:100], judge[100:])
        inside.append(found.interval.low <= 0.3 <= found.interval.high)
        narrower.append(found.se < truth[:100].std(ddof=1) / 10)
    assert np.mean(inside) >= 0.91 and np.mean(narrower) > 0.95
