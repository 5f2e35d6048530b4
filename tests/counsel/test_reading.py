"""Requests in free text against labels by hand, and properties that hold for any text."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aether.counsel.reading.accuracy import read_labels, score, table
from aether.counsel.reading.numbers import numbers, spelled
from aether.counsel.reading.quantities import quantities
from aether.counsel.reading.request import read_request
from aether.counsel.reading.text import Text
from aether.spec.errors import InputError
from aether.spec.units import humanize

GOLDEN = Path(__file__).parents[1] / "golden" / "requests.jsonl"


def test_the_golden_requests():
    labels = read_labels(GOLDEN)
    result = score(labels)
    assert len(labels) >= 300
    assert sum("earlier" in label for label in labels) >= 40
    assert result.accuracy >= 0.97, table(result)


@given(st.text(max_size=300))
@example("8×" * 500)
@example("½ ⅓ ١٢٣ p99 ≤")
@example("a" * 30_000)
def test_no_text_breaks_the_reader(text):
    request = read_request(text)
    assert request.text == text
    for read in request.reads:
        assert text[read.start : read.end] == read.words
    again = read_request(text, request)
    assert again.text == text


WORDS = [
    "serve",
    "8",
    "H100",
    "llama-3.1-70b",
    "p99",
    "TTFT",
    "<=",
    "500 ms",
    "20 req/s",
    "2k",
    "in",
    "out",
    "not",
    "or",
    "$2",
    "per",
    "million",
    "tokens",
    "and",
    ",",
    "lora",
    "1.5T",
    "two",
]


@given(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))
def test_no_salad_of_its_own_words_breaks_it(text):
    assert read_request(text).text == text


@given(st.integers(1, 10**6), st.sampled_from(["ms", "s", "minutes", "h", "days"]))
def test_a_time_keeps_its_value(value, unit):
    factor = {"ms": 1e-3, "s": 1, "minutes": 60, "h": 3600, "days": 86400}[unit]
    (found,) = quantities(Text.of(f"{value} {unit}"))
    assert found.dimension == "time" and found.high == pytest.approx(value * factor)


@given(st.floats(1e-3, 600), st.sampled_from(["p50", "p99"]))
def test_what_humanize_says_is_read_back(seconds, share):
    request = read_request(f"serve llama-3.1-8b with {share} TTFT <= {humanize(seconds, 's', 6)}")
    (target,) = request.brief.targets
    assert target.metric == f"ttft_{share}" and target.value == pytest.approx(seconds, rel=1e-3)


@pytest.mark.parametrize(
    "words, value",
    [
        ("two", 2),
        ("twenty-four", 24),
        ("a dozen", 12),
        ("half a million", 5e5),
        ("two and a half million", 2.5e6),
        ("a couple of", 2),
        ("one hundred", 100),
        ("three hundred thousand", 3e5),
    ],
)
def test_numbers_in_words(words, value):
    assert spelled(words) == value


@pytest.mark.parametrize(
    "text, low, high",
    [
        ("2k", 2e3, 2e3),
        ("1,234,567", 1234567, 1234567),
        ("1.5e12", 1.5e12, 1.5e12),
        ("7B", 7e9, 7e9),
        ("10-20", 10, 20),
        ("between 10 and 20", 10, 20),
        ("2-4k", 2e3, 4e3),
        ("15T", 1.5e13, 1.5e13),
        ("20 000", 20000, 20000),
    ],
)
def test_numbers_in_digits(text, low, high):
    (found,) = numbers(Text.of(text))
    assert (found.low, found.high) == (low, high)


def test_a_follow_up_changes_only_what_it_names():
    first = read_request(
        "serve llama-3.1-70b on 8 H100, p99 TTFT under 500 ms at 20 req/s, 2k in, 300 out, under $2 per million tokens"
    )
    second = read_request("what about H200?", first)
    assert second.brief.hardware.name == "H200-SXM-141GB" and second.brief.hardware.count == 8
    assert second.brief.model.name == "llama-3.1-70b" and second.brief.targets == first.brief.targets
    third = read_request("make it 40 req/s and relax the p99 TTFT to 1 s", second)
    assert third.brief.load.requests_per_s == 40 and third.brief.load.prompt_tokens == 2000
    assert third.brief.target("ttft_p99").value == 1
    fourth = read_request("drop the cost target", third)
    assert fourth.brief.target("cost_per_million_tokens") is None and fourth.brief.target("ttft_p99").value == 1
    assert read_request("explain dpo", fourth).intent == "explain"


def test_a_label_that_is_none_is_named(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text('{"text": "x"}\n{"intent": 1}\n')
    with pytest.raises(InputError, match="line 2"):
        read_labels(path)
