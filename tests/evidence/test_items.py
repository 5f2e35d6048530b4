import numpy as np
import pytest
from scipy import stats

from aether.evidence.items import Item, compare_items, read_items, scores, sensitivity, worst_slices, write_lines
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


def test_ratios_weigh_items_by_their_size():
    rows = [
        item(i, 0, values={"bits_per_byte": 10.0 * (i + 1)}, weights={"bits_per_byte": 5.0 * (i + 1)})
        for i in range(30)
    ]
    assert scores(rows)[0].found.value == pytest.approx(2.0)


def test_a_perplexity_is_the_exponential_of_its_ratio_and_its_limits_too():
    nats = [(120.0, 20.0), (300.0, 60.0), (90.0, 15.0), (250.0, 50.0)]
    made = [
        Item(task="t", id=str(at), cluster=str(at), prompt_sha256="", prompt="", answer="", target="",
             values={"word_perplexity": total, "plain": total}, weights={"word_perplexity": words, "plain": words})
        for at, (total, words) in enumerate(nats)
    ]  # fmt: skip
    plain, found = (next(s.found for s in scores(made) if s.metric == name) for name in ("plain", "word_perplexity"))
    assert found.value == np.exp(plain.value) == np.exp(760.0 / 145.0)
    assert found.interval is not None and plain.interval is not None
    assert (found.interval.low, found.interval.high) == (np.exp(plain.interval.low), np.exp(plain.interval.high))


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


def test_a_planted_weak_slice_is_found_and_a_null_is_not():
    rng = np.random.default_rng(0)
    found, false = 0, 0
    for _ in range(100):
        rows = [
            item(i, rng.random() < (0.3 if i % 5 == 0 else 0.7), tags={"kind": str(i % 5), "other": str(i % 7)})
            for i in range(600)
        ]
        slices = worst_slices(rows, "acc")
        found += any(one.tag == "kind = 0" for one in slices)
        null = [row.model_copy(update={"values": {"acc": float(rng.random() < 0.6)}}) for row in rows]
        false += bool(worst_slices(null, "acc"))
    assert found >= 98 and false <= 7


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
