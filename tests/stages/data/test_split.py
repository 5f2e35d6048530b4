import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether.spec.errors import InputError
from aether.stages.data.recipe import Split
from aether.stages.data.split import Groups, deal, group_key
from aether.stages.data.spool import TEST, TRAIN, VALIDATION, Stored


def stored(place, group=None):
    return Stored(0, place, tuple(place.split("/")), group, None, b"")


def test_folder_is_the_group_a_large_one_is_opened_and_loose_files_are_their_own():
    sizes = {
        "lib/big/a.py": 400,
        "lib/big/deep/b.py": 50,
        "lib/big/deep/c.py": 50,
        "lib/small/d.py": 30,
        "lib/e.py": 400,
    }
    groups = Groups(((tuple(p.split("/")), s) for p, s in sizes.items()), 0.2)
    assert [groups.name(stored(p)) for p in sizes] == [
        "lib/big/a.py",
        "lib/big/deep",
        "lib/big/deep",
        "lib/small",
        "lib/e.py",
    ]


def test_rows_of_a_small_file_stay_together_and_a_huge_file_is_opened():
    rows = [("data", "small.jsonl", f"#{n}") for n in range(5)] + [("data", "huge.jsonl", f"#{n}") for n in range(95)]
    groups = Groups(((parts, 10) for parts in rows), 0.1)
    assert groups.name(stored("data/small.jsonl/#1")) == "data/small.jsonl"
    assert groups.name(stored("data/huge.jsonl/#1")) == "data/huge.jsonl/#1"


def test_group_field_wins():
    groups = Groups([(("a.jsonl", "#1"), 10)], 0.02)
    assert groups.name(stored("a.jsonl/#1", group="repo=x")) == "repo=x"


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(0, 9))
def test_no_group_in_two_splits_and_shares_within_a_group(corpus_seed, seed):
    rng = np.random.default_rng(corpus_seed)
    keys = np.array([group_key(str(g), seed) for g in rng.integers(0, 200, 400)], np.int64)
    sizes = rng.integers(1, 2000, 400)
    split = Split(test=0.1, validation=0.1)
    fates = deal(keys, sizes, split)
    for key in np.unique(keys):
        assert len(set(fates[keys == key].tolist())) == 1
    largest = max(int(sizes[keys == key].sum()) for key in np.unique(keys))
    for fate in (TEST, VALIDATION):
        assert abs(sizes[fates == fate].sum() - 0.1 * sizes.sum()) <= largest
        assert (fates == fate).any()
    assert (fates == TRAIN).any()


def test_three_groups_are_enough_and_two_are_not():
    assert sorted(deal(np.array([1, 2, 3]), np.array([5, 5, 5]), Split()).tolist()) == [TRAIN, VALIDATION, TEST]
    with pytest.raises(InputError, match="at least 3 groups"):
        deal(np.array([1, 1, 2]), np.array([5, 5, 5]), Split())


def test_another_seed_is_another_split():
    names = [f"folder{n}" for n in range(200)]
    sizes = np.full(200, 10)
    fates = [deal(np.array([group_key(n, seed) for n in names]), sizes, Split()).tolist() for seed in (0, 0, 1)]
    assert fates[0] == fates[1] != fates[2]
