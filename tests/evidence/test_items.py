from statistics import mean as mean_of

import numpy as np
import pytest
from scipy import stats

from aether.evidence.items import Item, compare_items, read_items, scores, worst_slices, write_lines
from aether.evidence.prompts import sensitivity
from aether.spec.errors import DamagedRecord, InputError


def item(number, value, variant="", task="t", **fields):
    own = {"task": task, "id": str(number), "variant": variant, "cluster": str(number), "prompt_sha256": "0", "prompt": "p", "answer": "a",
           "target": "t", "values": {"acc": float(value)}}  # fmt: skip
    return Item(**{**own, **fields})


def test_scores_are_sums_of_items_apart_by_distribution():
    items = [item(i, i % 4 == 0) for i in range(40)] + [item(i, i % 2, distribution="out") for i in range(100, 140)]
    inside, outside = scores(items)
    assert (inside.distribution, outside.distribution) == ("out", "unknown")
    assert (inside.found.value, outside.found.value) == (0.5, 0.25)
    assert inside.found.interval is not None and inside.found.interval.method.startswith("Wilson")


def scored(nats, weights, metric, **fields):
    """Items that hold log-likelihoods."""
    return [
        item(at, 0, values={metric: one}, weights={metric: weight}, **fields)
        for at, (one, weight) in enumerate(zip(nats, weights, strict=True))
    ]


def test_a_log_likelihood_is_told_as_lm_eval_tells_it_to_the_last_bit():
    metrics = pytest.importorskip("lm_eval.api.metrics")
    rng = np.random.default_rng(0)
    for _ in range(200):
        nats, weights = (-rng.exponential(70.0, 41)).tolist(), rng.integers(1, 90, 41).tolist()
        pairs = list(zip(nats, weights, strict=True))
        for metric, theirs in (
            ("bits_per_byte", metrics.bits_per_byte),
            ("word_perplexity,none", metrics.weighted_perplexity),
        ):
            (score,) = scores(scored([n / 30 for n in nats] if "," in metric else nats, weights, metric))
            assert score.found.value == theirs([(n / 30, w) for n, w in pairs] if "," in metric else pairs)
        few = [one / 50 for one in nats]
        (score,) = scores(scored(few, [1.0] * 41, "perplexity"))
        assert score.found.value == metrics.perplexity(few)
        (score,) = scores([item(at, value) for at, value in enumerate(few)])
        assert score.found.value == metrics.mean(few)


def test_limits_of_a_log_likelihood_are_those_of_the_ratio_in_its_unit():
    nats, words = [-120.0, -300.0, -90.0, -250.0], [20.0, 60.0, 15.0, 50.0]
    plain, bits, exponential = (
        scores(scored(values, words, metric))[0].found
        for values, metric in (([-n for n in nats], "plain"), (nats, "bits_per_byte"), (nats, "word_perplexity"))
    )
    assert plain.interval and bits.interval and exponential.interval and plain.se and bits.se and exponential.se
    assert bits.se == pytest.approx(plain.se / np.log(2)) and bits.value == plain.value / np.log(2)
    assert (bits.interval.low, bits.interval.high) == pytest.approx(
        (plain.interval.low / np.log(2), plain.interval.high / np.log(2))
    )
    assert (exponential.interval.low, exponential.interval.high) == (
        np.exp(plain.interval.low),
        np.exp(plain.interval.high),
    )


def test_less_is_better_where_bits_are_lost():
    rows = scored([-3.0 - at % 3 for at in range(30)], [4.0] * 30, "bits_per_byte", tags={"kind": "easy"})
    rows += [
        one.model_copy(update={"id": f"h{one.id}", "cluster": f"h{one.id}", "tags": {"kind": "hard"}, "values": {"bits_per_byte": -9.0 - at % 3}})
        for at, one in enumerate(rows)
    ]  # fmt: skip
    (worst,) = worst_slices(rows, "bits_per_byte")
    assert (
        worst.tag == "kind = hard"
        and worst.score == pytest.approx(10.0 / 4.0 / np.log(2))
        and worst.score > worst.others
    )
    assert worst.difference is not None and worst.difference.low > 0
    better = [one.model_copy(update={"values": {"bits_per_byte": one.values["bits_per_byte"] + 1.0}}) for one in rows]
    (found,) = compare_items(better, rows)
    assert found.paired.difference == pytest.approx(-0.25 / np.log(2))
    assert (found.a, found.b) == tuple(scores(side)[0].found.value for side in (better, rows))


def test_answers_to_one_question_are_averaged_first_and_pairwise_sums_are_numpy_s():
    values = [[0.1, 0.7, 0.3], [0.9, 0.2, 0.6], [0.4, 0.1, 0.8]]
    rows = [
        item(f"{at}#{epoch}", value, repeats=str(at), cluster=str(at))
        for epoch in range(3) for at, value in enumerate(one[epoch] for one in values)
    ]  # fmt: skip
    (score,) = scores(rows)
    assert score.found.value == sum(np.float64(mean_of(one)) for one in values) / 3 and score.found.clusters == 3
    rng = np.random.default_rng(1)
    graded = rng.random(1001).tolist()
    (plain,) = scores([item(at, value) for at, value in enumerate(graded)])
    (numpy_s,) = scores([item(at, value, pairwise=("acc",)) for at, value in enumerate(graded)])
    assert plain.found.value == sum(graded) / 1001 != np.mean(graded) == numpy_s.found.value


def test_items_are_read_back_and_damage_is_named(tmp_path):
    path = tmp_path / "items.jsonl"
    rows = [item(1, 1), item(2, 0, answer="é\n")]
    path.write_text(write_lines(rows), encoding="utf-8")
    assert read_items(path) == rows
    path.write_text(write_lines([item(1, 1), item(1, 0)]))
    with pytest.raises(InputError, match="line 2"):
        read_items(path)
    path.write_text("{}\n")
    with pytest.raises(DamagedRecord, match="line 1"):
        read_items(path)
    with pytest.raises(InputError, match="no such file"):
        read_items(tmp_path / "none.jsonl")
    path.write_text(write_lines(scored([-3.0, 3.0], [1.0, 1.0], "bits_per_byte")))
    with pytest.raises(InputError, match=r"line 2, bits_per_byte = .* an earlier version"):
        read_items(path)


def test_a_planted_weak_slice_is_found_and_a_null_is_not():
    rng = np.random.default_rng(0)
    found, false = 0, 0
    for _ in range(40):
        rows = [
            item(i, rng.random() < (0.3 if i % 5 == 0 else 0.7), tags={"kind": str(i % 5), "other": str(i % 7)})
            for i in range(600)
        ]
        slices = worst_slices(rows, "acc")
        found += any(one.tag == "kind = 0" for one in slices)
        null = [row.model_copy(update={"values": {"acc": float(rng.random() < 0.6)}}) for row in rows]
        false += bool(worst_slices(null, "acc"))
    assert found >= 0.98 * 40 and false <= 0.07 * 40


def test_comparisons_are_paired_corrected_and_name_what_is_left_out():
    rng = np.random.default_rng(1)
    a = [item(i, rng.random() < 0.6, task=task) for task in ("x", "y") for i in range(200)]
    b = [
        row.model_copy(update={"values": {"acc": row.values["acc"] if row.task == "x" else float(rng.random() < 0.3)}})
        for row in a
    ][:-1]
    same, apart = compare_items(a, b)
    assert same.paired.difference == 0 and same.p_value == 1.0 and same.mcnemar_p == 1.0
    raw = stats.ttest_rel(
        [r.values["acc"] for r in a if r.task == "y"][:-1], [r.values["acc"] for r in b if r.task == "y"]
    ).pvalue
    assert apart.p_value == pytest.approx(2 * raw) and apart.left_out == 1
    with pytest.raises(InputError, match="share no item"):
        compare_items(a, [item(1, 1, task="z")])
    with pytest.raises(InputError, match="different things"):
        compare_items([item(1, 1)], [item(1, 1, prompt_sha256="1")])


def test_the_spread_over_prompts_and_what_makes_it():
    rng = np.random.default_rng(2)
    rows = []
    for template in range(3):
        for shots in range(2):
            chance = 0.3 + 0.2 * template
            rows += [item(i, rng.random() < chance, f"template={template},few_shot={shots}") for i in range(2000)]
    found = sensitivity(rows, "t", "acc")
    assert found.shares["template"] > 0.95 and found.shares["few_shot"] < 0.05
    assert found.shares["of which item noise would give"] < 0.05
    assert found.lowest == pytest.approx(0.3, abs=0.05) and found.highest == pytest.approx(0.7, abs=0.05)
    flat = [row.model_copy(update={"values": {"acc": float(rng.random() < 0.5)}}) for row in rows]
    assert sensitivity(flat, "t", "acc").shares["of which item noise would give"] > 0.3
    with pytest.raises(InputError, match="one prompt"):
        sensitivity([item(1, 1)], "t", "acc")


def test_the_spread_of_a_perplexity_over_prompts_is_told_in_perplexities():
    nats = {"template=0": [-10.0, -30.0, -8.0], "template=1": [-20.0, -50.0, -9.0]}
    words = [5.0, 20.0, 2.0]
    rows = [
        one for variant, values in nats.items() for one in scored(values, words, "word_perplexity", variant=variant)
    ]
    found = sensitivity(rows, "t", "word_perplexity")
    assert found.scores == {variant: np.exp(-sum(values) / sum(words)) for variant, values in nats.items()}
    assert (found.lowest, found.highest) == tuple(found.scores.values())
    assert found.over_prompts.value == pytest.approx(np.sqrt(found.lowest * found.highest))
    assert found.shares["template"] == pytest.approx(1.0)


def test_without_any_variance_there_is_no_certainty():
    right = [item(i, 1, tags={"kind": "easy"}) for i in range(30)]
    wrong = [item(i, 0, tags={"kind": "hard"}) for i in range(100, 130)]
    (worst,) = worst_slices([*right, *wrong], "acc")
    assert worst.tag == "kind = hard" and worst.difference is not None and -1.0 <= worst.difference.low < worst.difference.high < -0.8  # fmt: skip
    assert worst_slices(right + [item(i, 1, tags={"kind": "hard"}) for i in range(100, 130)], "acc") == []
    few, none = ([item(i, value) for i in range(4)] for value in (1, 0))
    (found,) = compare_items(few, none)
    assert found.paired.interval is None and found.p_value == 0.125, "four items that all differ are no proof"
    same = sensitivity([item(i, 0, f"template={t}") for t in range(2) for i in range(9)], "t", "acc")
    assert same.over_prompts.interval is None and same.shares == {}
