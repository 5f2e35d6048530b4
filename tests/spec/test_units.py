"""How numbers and their ends are said."""

import pytest

from aether.spec.units import humanize_range


@pytest.mark.parametrize(
    "low, high, value, unit, said",
    [
        (0.00044, 0.004, 0.0014, "s", "0.44 to 4 ms"),
        (157_680, 210_816, 182_304, "s", "1.82 to 2.44 d"),
        (2.77, 2.77, 2.77, "USD", ""),
        (0.457, 0.611, 0.529, "fraction", "45.7 to 61.1 %"),
        (357_000, 357_010, 357_000, "count", ""),
    ],
)
def test_the_ends_of_a_value_are_said_as_it_is(low, high, value, unit, said):
    assert humanize_range(low, high, value, unit) == said
