import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.models.ngrams import word_spans
from aether.stages.evaluate.alignment import EditedCopies, beginning, ending
from aether.stages.evaluate.overlap import Overlap
from aether.stages.evaluate.word_runs import WordRuns

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "r", "sh", "t")]
small = st.lists(st.integers(0, 3), max_size=12)


def sentence(rng, length):
    return [rng.choice(WORDS) for _ in range(length)]


def plain_score(one, other, counts):
    """Smith and Waterman's recurrence, cell by cell."""
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, word in enumerate(one, 1):
        for j, theirs in enumerate(other, 1):
            pair = int(counts[i - 1]) if word == theirs else -1
            table[i][j] = max(0, table[i - 1][j - 1] + pair, table[i - 1][j] - 1, table[i][j - 1] - 1)
    return max(max(row) for row in table)


@given(small, small, st.data())
def test_the_score_is_that_of_the_plain_recurrence_and_stands_where_it_says(one, other, data):
    counts = data.draw(st.lists(st.booleans(), min_size=len(one), max_size=len(one)))
    texts = np.array(one, np.uint64), np.array(other, np.uint64), np.array(counts, bool)
    score, end_N, end_M = ending(*texts)
    first_N, first_M = beginning(*texts, end_N, end_M)
    assert score == plain_score(one, other, counts)
    assert plain_score(one[first_N:end_N], other[first_M:end_M], counts[first_N:end_N]) == score


@given(st.lists(st.lists(st.integers(0, 2), min_size=5, max_size=9), min_size=1, max_size=5), small)
def test_shared_runs_are_those_that_a_plain_search_finds(items, document):
    words_I, words_W = [np.array(item, np.uint64) for item in items], np.array(document, np.uint64)
    hits = WordRuns(words_I, 6).hits(words_W)
    expected = {
        (number, at, place, length)
        for number, item in enumerate(items)
        for length in [min(6, len(item))]
        for at in range(len(item) - length + 1)
        for place in range(len(document) - length + 1)
        if item[at : at + length] == document[place : place + length]
    }
    assert sorted(zip(*(column.tolist() for column in hits), strict=True)) == sorted(expected)


EDITS = {
    "replaced": lambda rng, words: [w if rng.random() > 0.08 else rng.choice(WORDS) for w in words],
    "left out": lambda rng, words: [w for w in words if rng.random() > 0.08],
    "added": lambda rng, words: [v for w in words for v in ([w, rng.choice(WORDS)] if rng.random() < 0.08 else [w])],
    "spelled": lambda rng, words: [w.upper() + rng.choice([" ", "\n", ", ", " -- "]) for w in words],
    "cut": lambda rng, words: words[len(words) // 5 : -len(words) // 5],
}


@pytest.mark.parametrize("edit", EDITS)
def test_lightly_edited_copies_inside_other_texts_are_found_and_no_other_items(edit):
    rng = random.Random(edit)
    items = [sentence(rng, rng.randint(20, 50)) for _ in range(600)]
    overlap = Overlap([" ".join(item) for item in items])
    for number in range(0, 600, 3):
        parts = sentence(rng, 80), EDITS[edit](rng, items[number]), sentence(rng, 80)
        overlap.add(" ".join(word for part in parts for word in part), "train", number)
    touched = {n for n, one in enumerate(overlap.finish()) if one.band in ("partly", "contaminated")}
    planted = set(range(0, 600, 3))
    assert len(touched & planted) >= 0.99 * len(planted)
    assert len(touched - planted) <= 0.01 * (600 - len(planted))


def test_the_place_of_an_edited_copy_is_exact_in_both_texts():
    item = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    document = (
        "été und: ONE two, three four (fünf) six seven; eight nine zehn eleven twelve thirteen fourteen fifteen, Ende"
    )
    overlap = Overlap([item])
    overlap.add(document, "train", 7)
    (found,) = overlap.finish()
    place = found.aligned_place
    assert found.aligned == pytest.approx(11 / 15) and found.coverage == 0.0 and found.band == "contaminated"
    assert place is not None and place.document == 7
    assert (
        document.encode()[place.start : place.end].decode().startswith("ONE two") and item[place.item_start :] == item
    )
    assert document.encode()[place.start : place.end].decode().endswith("fifteen")


def test_words_of_a_template_count_nothing_and_a_short_rest_must_be_whole():
    rng = random.Random(0)
    template = "what is the result when the following two numbers are added to each other"
    items = [f"{template} {rng.randint(1000, 9999)} and {rng.randint(1000, 9999)}" for _ in range(200)]
    words_I = [word_spans(item.encode())[0] for item in items]

    def found(text):
        return {item: round(one.share, 2) for item, one in EditedCopies(words_I).find(word_spans(text.encode())[0])}

    assert found(items[3]) == {3: 1.0}
    assert found(items[3].rsplit(" ", 1)[0] + " 17") == {}
