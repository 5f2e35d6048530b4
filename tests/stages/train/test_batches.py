"""The shuffled order: a permutation of every block, other with another seed, the same however it is asked for."""

import numpy as np
import pytest
from tiny_data import write_tiny_data

from aether.models.packing import PackedTokens
from aether.stages.train.batches import ShuffledWindows


@pytest.fixture
def packed(tmp_path):
    return PackedTokens(write_tiny_data(tmp_path / "data") / "train", 16, 0)


def test_each_window_comes_once_per_block(packed):
    shuffled, size = ShuffledWindows(packed, 3), int(packed.samples_per_epoch)
    for block in (0, 1, 2):
        places = [shuffled.place(i) for i in range(block * size, (block + 1) * size)]
        assert sorted(places) == list(range(block * size, (block + 1) * size))
        assert places != sorted(places)


def test_the_order_depends_on_the_seed_and_not_on_the_asking(packed):
    size = int(packed.samples_per_epoch)
    one, two, other = ShuffledWindows(packed, 0), ShuffledWindows(packed, 0), ShuffledWindows(packed, 1)
    forwards = [one.place(i) for i in range(2 * size)]
    assert [two.place(i) for i in reversed(range(2 * size))] == forwards[::-1]
    assert [other.place(i) for i in range(2 * size)] != forwards
    tokens, ids = one.batch(size - 2, 5)
    assert tokens.shape == ids.shape == (5, 17)
    for row in range(5):
        assert np.array_equal(tokens[row], packed.sample(two.place(size - 2 + row))[0])
