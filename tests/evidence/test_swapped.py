"""Verdicts in both orders: what is preferred, and what the side and the length are worth, recovered from judges whose bias is known."""

import numpy as np
import pytest

from aether.evidence import swapped as J
from aether.evidence.pairs import Pair
from aether.evidence.swapped import Twice
from aether.spec.errors import InputError

PAIRS = [Pair(prompt=f"p{i // 2}", a="x" * (100 + i), b="y" * 100, a_model="one", b_model="two") for i in range(8)]


@pytest.mark.parametrize(
    ("a_first", "b_first", "combined"),
    [("a", "a", "a"), ("b", "b", "b"), ("a", "b", "tie"), ("tie", "a", "tie"), (None, "a", None), ("tie", "tie", "tie")],
)  # fmt: skip
def test_only_what_both_orders_say_is_a_preference(a_first, b_first, combined):
    assert Twice(a_first, b_first).combined == combined


def test_a_judge_that_takes_the_first_is_found_out():
    found = J.position([Twice("a", "b")] * 6 + [Twice("a", "a")] * 2)
    assert found.consistent.value == 0.25 and found.first_wins is not None and found.first_wins.value == 1.0
    assert J.win_share(PAIRS, [Twice("a", "b")] * 8, "one", "two").value == 0.5


def test_what_cannot_be_read_is_counted_and_left_out():
    said = [Twice("a", "a"), Twice(None, "a"), Twice(None, None), *[Twice("a", "a")] * 5]
    assert J.position(said).unread == 3
    assert J.win_share(PAIRS, said, "two", "one").value == 0.0 and J.win_share(PAIRS, said, "one", "two").n == 6
    with pytest.raises(InputError, match="none of its answers"):
        J.position([Twice(None, None)])


def test_wins_are_clustered_by_prompt():
    found = J.win_share(PAIRS, [Twice("a", "a"), Twice("b", "b")] * 4, "one", "two")
    assert (found.value, found.n, found.clusters) == (0.5, 8, 4)


def test_a_clean_sweep_keeps_an_interval():
    found = J.win_share(PAIRS, [Twice("a", "a")] * 8, "one", "two")
    assert found.value == 1.0 and found.interval is not None and found.interval.low < 0.5 and found.interval.high == 1.0


def biased(rng, pairs, strength, per_thousand, first):
    """A judge whose log odds for the answer that stands first are known; a half goes by the side."""

    def says(pair, one_first):
        longer = (len(pair.a) - len(pair.b)) / 1000 * (1 if one_first else -1)
        odds = strength * (1 if one_first else -1) + per_thousand * longer + first
        won = rng.random() < 1 / (1 + np.exp(-odds))
        return "a" if won == one_first else "b"

    return [Twice(says(pair, True), says(pair, False)) for pair in pairs]


def test_length_and_side_are_taken_out():
    """One model is no better but twice as long, before a judge that likes length and the first: raw it wins, controlled it does not."""
    rng = np.random.default_rng(0)
    pairs = [
        Pair(prompt=f"p{i}", a="x" * max(50, int(rng.normal(1500, 600))), b="y" * max(50, int(rng.normal(700, 300))), a_model="long", b_model="short")
        for i in range(1500)
    ]  # fmt: skip
    verdicts = biased(rng, pairs, 0.0, 1.5, 0.6)
    raw = J.win_share(pairs, verdicts, "long", "short")
    assert raw.interval is not None and raw.interval.low > 0.55
    found = J.length_controlled(J.votes_of(pairs, verdicts))
    share, span = J.controlled_share(found, "long", "short")
    assert span.low < 0.5 < span.high and share == pytest.approx(0.5, abs=0.05)
    longer, side = (found.effects[name] for name in (J.LONGER, J.SIDE))
    assert longer[0] == pytest.approx(1.5, abs=3 * longer[1]) and side[0] == pytest.approx(0.6, abs=3 * side[1])


def test_a_judge_beside_people():
    verdicts = [Twice("a", "a"), Twice("b", "b"), Twice("a", "b"), Twice(None, "a"), *[Twice("a", "a")] * 4]
    held = J.held_against({0: "a", 1: "a", 2: "tie", 3: "a"}, verdicts)
    assert held.kappa.items == 3 and held.where_both_prefer is not None
    assert (held.where_both_prefer.value, held.where_both_prefer.n) == (0.5, 2)
    with pytest.raises(InputError, match="share no pair"):
        J.held_against({}, verdicts)


def test_people_correct_a_judge_that_flatters():
    """The judge gives `one` 80 %, people 50 %: the corrected share is people's, and shorter than theirs alone when the judge knows something."""
    rng = np.random.default_rng(1)
    pairs = [PAIRS[0]] * 2000
    truth = rng.random(2000) < 0.5
    judge = np.where(truth, rng.random(2000) < 0.98, rng.random(2000) < 0.62)
    verdicts = [Twice("a", "a") if yes else Twice("b", "b") for yes in judge]
    people = {i: ("a" if truth[i] else "b") for i in range(300)}
    found = J.corrected_share(people, pairs, verdicts, "one", "two")
    assert found.interval is not None and found.interval.low < 0.5 < found.interval.high
    assert J.win_share(pairs, verdicts, "one", "two").value > 0.75
