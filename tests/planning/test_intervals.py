import pytest

from aether.planning.intervals import LEVEL, memory_estimate


def test_memory_is_the_sum_of_its_parts_and_the_largest_binds():
    found = memory_estimate({"weights": 6e9, "cache": 2e9}, 0.1, formula="f", source="s", method="m")
    assert found.value == 8e9
    assert found.binding == "weights"
    assert [(term.name, term.value) for term in found.terms] == [("weights", 6e9), ("cache", 2e9)]
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((7.2e9, 8.8e9))
    assert found.interval.level == LEVEL
