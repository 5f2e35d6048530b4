"""Sums that a reply writes out: parsed, computed, and worth nothing where a part of them has no source."""

import pytest
from grounded import recorded

from aether.counsel.claims.check import check
from aether.counsel.claims.equations import equations


@pytest.mark.parametrize(
    "text, right",
    [
        ("16 devices × 27.0 hours = 432 device-hours", True),
        ("16 devices × 27.0 hours = 452 device-hours", False),
        ("77 % of your budget (690.4 / 900)", True),
        ("67 % of your budget (690.4 / 900)", False),
        ("exp(2.871) = 17.7", True),
        ("6 × 360M × 40B = 8.6e19", True),
        ("3 × (900 + 250) tokens = 3,450", True),
        ("2 + 3 × 4 = 14", True),
        ("2 + 3 × 4 = 20", False),
        ("1 − 11.2 / 28.8 = 0.61", True),
    ],
)
def test_a_sum_is_computed(text, right):
    found = list(equations(text))
    assert len(found) == 1 and found[0].holds(lambda part: part.value) == right


@pytest.mark.parametrize(
    "told, turned",
    [
        ("40B tokens / 412,000 tokens per second = 97,090 s.", "40B tokens / 412,000 tokens per second = 107,000 s."),
        ("16 × $1.60 × 27 h = $691.", "16 × $1.90 × 27 h = $821."),
        ("40B / $690.40 = 57.9 million tokens per dollar.", "HellaSwag: 40B / $690.40 = 57.9 million."),
        ("97,087 s / 86,400 = 1.12 days.", "On an H200 it is 97,087 s / 86,400 = 1.12 days."),
    ],
)
def test_a_sum_stands_on_sourced_parts_of_what_it_speaks_of(told, turned):
    known = recorded("pretraining")
    assert check(told, known).is_supported, check(told, known).problems
    assert not check(turned, known).is_supported


def test_a_papers_name_does_not_lend_itself_to_our_numbers():
    known = recorded("quantised")
    assert check("On MMLU the loss is 1.7 points.", known).is_supported
    assert not check(
        "Frantar et al. (arXiv 2210.17323) report that the loss on MMLU is 1.7 points.", known
    ).is_supported
