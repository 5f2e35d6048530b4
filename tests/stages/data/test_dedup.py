import random

import numpy as np
import pytest

from aether.models.ngrams import jaccard, shingles
from aether.stages.data.dedup import NearCopies, exact_copies
from aether.stages.data.readers import Item
from aether.stages.data.recipe import NearDuplicates
from aether.stages.data.spool import DROPPED, Spool


@pytest.fixture
def spool(tmp_path):
    made = Spool(tmp_path / "spool.bin")
    yield made
    made.close()


def fill(spool, texts):
    for number, text in enumerate(texts):
        spool.append(Item(f"d{number:04d}", ("x", f"d{number:04d}"), text), text.encode(), "main", None)


def dropped(spool, tmp_path, **fields):
    near = NearCopies(NearDuplicates(**fields), spool, tmp_path)
    near.sign(lambda _: None)
    found = {}
    near.drop(lambda later, kept, similarity: found.__setitem__(later, (kept, similarity)))
    return found


def edited(text, changes, seed):
    """The text with `changes` of its words replaced."""
    rng = random.Random(seed)
    words = text.split()
    for place in rng.sample(range(len(words)), changes):
        words[place] = f"edit{rng.random()}"
    return " ".join(words)


def test_exact_copies_ignore_white_space_at_line_ends_and_keep_the_first(spool):
    fill(spool, ["b = 1\n", "a = 1  \nb\n", "a = 1\nb", "a = 1\n b", "b = 1", "a = 1\nb\n\n"])
    assert sorted(exact_copies(spool)) == [(2, 1), (4, 0), (5, 1)]


def test_exact_copies_of_nothing(spool, tmp_path):
    assert list(exact_copies(spool)) == []
    assert dropped(spool, tmp_path) == {}


def test_planted_edits_are_found_with_their_known_jaccard(spool, tmp_path, make_text):
    """400 originals, each with one edited copy at a known similarity from about 0.3 to 1."""
    originals = [make_text(n, 200) for n in range(400)]
    copies = [edited(text, n % 40, n) for n, text in enumerate(originals)]
    fill(spool, originals + copies)
    known = [jaccard(shingles(a.encode(), 5), shingles(b.encode(), 5)) for a, b in zip(originals, copies, strict=True)]
    wanted = {n + 400 for n, similarity in enumerate(known) if similarity >= 0.7}
    found = dropped(spool, tmp_path)
    assert 60 < len(wanted) < 340
    assert all(found[later] == (later - 400, pytest.approx(known[later - 400])) for later in found)
    assert set(found) <= wanted, "precision is 1: each candidate is compared exactly"
    assert len(found) / len(wanted) >= 0.99


def test_a_chain_keeps_what_is_far_from_the_kept_one(spool, tmp_path, make_text):
    """A ~ B ~ C but not A ~ C: B goes for A, and C stays because B is not in the corpus."""
    a = make_text(1, 400)
    words = a.split()
    b = " ".join([*(f"b{n}" for n in range(50)), *words[50:]])
    c = " ".join([*(f"b{n}" for n in range(50)), *words[50:350], *(f"c{n}" for n in range(50))])
    fill(spool, [a, b, c])
    sets = [shingles(t.encode(), 5) for t in (a, b, c)]
    assert jaccard(sets[0], sets[1]) > 0.7 and jaccard(sets[1], sets[2]) > 0.7 > jaccard(sets[0], sets[2])
    assert set(dropped(spool, tmp_path)) == {1}


def test_a_large_cluster_collapses_to_its_first(spool, tmp_path, make_text):
    text = make_text(7, 300)
    fill(spool, [edited(text, 2, n) for n in range(120)] + [make_text(n + 50, 300) for n in range(20)])
    found = dropped(spool, tmp_path)
    assert set(found) == set(range(1, 120)) and {kept for kept, _ in found.values()} == {0}


def test_dropped_documents_take_no_part(spool, tmp_path, make_text):
    text = make_text(3)
    fill(spool, [text, text, make_text(4)])
    spool.fate[0] = DROPPED
    assert dropped(spool, tmp_path) == {}


def test_signatures_estimate_jaccard(spool, tmp_path, make_text):
    """rensa's signatures against exact Jaccard: mean error within four standard errors of MinHash."""
    originals = [make_text(n, 200) for n in range(60)]
    copies = [edited(text, 10, n) for n, text in enumerate(originals)]
    fill(spool, originals + copies)
    NearCopies(NearDuplicates(), spool, tmp_path).sign(lambda _: None)
    rows = np.fromfile(tmp_path / "signatures.bin", "<u4").reshape(120, 128)
    exact = [jaccard(shingles(a.encode(), 5), shingles(b.encode(), 5)) for a, b in zip(originals, copies, strict=True)]
    errors = (rows[:60] == rows[60:]).mean(axis=1) - exact
    assert abs(errors.mean()) < 4 * 0.044 / 60**0.5 and errors.std() < 0.06
