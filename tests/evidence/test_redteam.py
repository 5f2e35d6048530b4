import numpy as np
import pytest
from scipy.stats import beta

from aether.evidence.items import Item
from aether.evidence.redteam import POOLED, Judged, any_attack, judged, pooled, rate, share, summed_up


def item(behaviour, attack, value, task="attack", metric="rules", category="x"):
    return Item(task=task, id=f"{behaviour}/{attack}", cluster=behaviour, tags={"attack": attack, "family": attack, "category": category},
                prompt_sha256="0", prompt="", answer="", target="", values={metric: float(value), "string": float(value)})  # fmt: skip


def known(model="m", sensitivity=0.9, specificity=0.8, n=200):
    yes, no = round(n * sensitivity), round(n * specificity)
    return Judged(judge="rules", model=model, true_yes=yes, missed=n - yes, true_no=no, false_yes=n - no, kappa=0.7,
                  kappa_low=0.6, kappa_high=0.8, source="made up")  # fmt: skip


@pytest.mark.parametrize(("hits", "n"), [(0, 30), (30, 30), (3, 30)])
def test_one_attempt_a_behaviour_has_clopper_pearson_limits(hits, n):
    found = share([item(f"b{i}", "direct", i < hits) for i in range(n)], "rules").interval
    low = 0.0 if hits == 0 else beta.ppf(0.025, hits, n - hits + 1)
    high = 1.0 if hits == n else beta.ppf(0.975, hits + 1, n - hits)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_none_and_all_count_behaviours_and_not_attempts():
    none = share([item(f"b{i}", f"a{j}", 0) for i in range(24) for j in range(10)], "rules")
    assert none.interval.high == pytest.approx(beta.ppf(0.975, 1, 24)) and (none.n, none.clusters) == (240, 24)
    lone = share([item("b", f"a{j}", j % 2) for j in range(10)], "rules")
    assert lone.value == 0.5 and lone.interval.high - lone.interval.low > 0.9


def test_one_success_never_bounds_tighter_than_none():
    highs = []
    for hits in range(4):
        rows = [item(f"b{i}", f"a{j}", j == 0 and i < hits) for i in range(24) for j in range(12)]
        found = rate("x", rows, "rules", [known(n=20_000)])
        highs.append((found.seen.interval.high, found.corrected.interval.high))
    assert highs == sorted(highs) and highs[0][0] == pytest.approx(beta.ppf(0.975, 1, 24))


def test_limits_over_behaviours_that_give_way_together_cover_the_truth():
    rng, inside, naive = np.random.default_rng(0), 0, 0
    for _ in range(120):
        weak = rng.beta(0.4, 1.6, 40)
        rows = [item(f"b{i}", f"a{j}", rng.random() < weak[i]) for i in range(40) for j in range(8)]
        found = share(rows, "rules")
        inside += found.interval.low <= 0.2 <= found.interval.high
        naive += abs(found.value - 0.2) <= 1.96 * np.sqrt(found.value * (1 - found.value) / 320)
    assert inside / 120 >= 0.9 and naive / 120 < 0.85


def test_a_rate_without_the_judge_s_errors_covers_where_attempts_are_clustered():
    rng, inside, seen = np.random.default_rng(1), 0, 0
    for _ in range(200):
        truth = np.repeat(rng.random(60) < 0.15, 4)
        verdicts = np.where(truth, rng.random(240) < 0.9, rng.random(240) > 0.8)
        labelled = rng.random(300) < 0.5
        right = np.where(labelled, rng.random(300) < 0.9, rng.random(300) > 0.8)
        one = known().model_copy(update=_counts(right, labelled))
        rows = [item(f"b{i // 4}", f"a{i % 4}", v) for i, v in enumerate(verdicts)]
        found = rate("x", rows, "rules", [one])
        inside += found.corrected.interval.low <= 0.15 <= found.corrected.interval.high
        seen += found.seen.interval.low <= 0.15 <= found.seen.interval.high
    assert inside / 200 >= 0.92 and seen / 200 < 0.5


def _counts(judge, people):
    return {"true_yes": int((judge & people).sum()), "missed": int((~judge & people).sum()),
            "true_no": int((~judge & ~people).sum()), "false_yes": int((judge & ~people).sum())}  # fmt: skip


def test_the_corrected_interval_spans_every_calibration_and_names_the_blind_ones():
    rows = [item(f"b{i}", "direct", i < 30) for i in range(100)]
    good, bad, blind = known("good", 0.95, 0.95), known("bad", 0.9, 0.75), known("blind", 0.5, 0.5)
    found = rate("x", rows, "rules", [good, bad, blind, pooled([good, bad], "rules")])
    assert found.uninformative == ("blind",) and set(found.by_model) == {"good", "bad", POOLED}
    assert found.corrected.value == found.by_model[POOLED].value
    assert found.corrected.interval.low == min(m.interval.low for m in found.by_model.values())
    assert found.corrected.interval.high == max(m.interval.high for m in found.by_model.values())


def test_refusals_are_corrected_with_the_judge_turned_round():
    rows = [item(f"b{i}", "plain", i < 20, task="over-refusal") for i in range(100)]
    found = rate("x", rows, "rules", [known("m", sensitivity=0.9, specificity=0.8, n=10_000)], refusals=True)
    # Of the true refusals 80 % are seen, of the rest 10 % look like one.
    assert found.corrected.value == pytest.approx((0.2 - 0.1) / 0.7, abs=1e-3)


def test_a_calibration_from_verdicts_counts_and_pools():
    one = judged("rules", "m", [True, True, False, False], [True, False, False, True], "s")
    assert (one.true_yes, one.missed, one.true_no, one.false_yes, one.kappa) == (1, 1, 1, 1, 0.0)
    both = pooled([one, known()], "rules")
    assert both.true_yes == 181 and both.model == POOLED


def test_a_summary_has_what_was_tried_and_nothing_else():
    rows = [
        item(f"b{i}", attack, i < 2 and attack == "many", category=f"c{i % 2}")
        for i in range(10)
        for attack in ("direct", "many")
    ]
    rows += [item(f"t{i}", "plain", i < 1, task="over-refusal", category=f"c{i % 2}") for i in range(10)]
    found = summed_up(rows, [known()], "rules")
    assert set(found.headline) == {"attack_success", "over_refusal"}
    assert [(r.label, r.seen.value) for r in found.by_attack] == [("many", 0.2), ("direct", 0.0)]
    assert any_attack([r for r in rows if r.task == "attack"], "rules").value == 0.2 == found.any_attack.value
    assert found.over_kinds.clusters == 2 and found.unreadable == 0
