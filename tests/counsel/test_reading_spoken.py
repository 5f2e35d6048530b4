"""Times without a number of hours, rates of one among many, and what is there beside what is wanted."""

from datetime import datetime

import pytest

from aether.counsel.reading.accuracy import fields_of
from aether.counsel.reading.request import read_request

FRIDAY = datetime(2026, 11, 27, 16, 0)
LORA = "fine-tune qwen2.5-7b with LoRA on 20M tokens, 2 A100 80GB, "


@pytest.mark.parametrize(
    ("said", "hours"),
    [
        ("over a weekend", 48.0),
        ("overnight", 10.0),
        ("in one evening", 4.0),
        ("in 10 working hours", 10.0),
        ("within two full days", 48.0),
        ("by Sunday", 41.0),
        ("due by Monday morning", 65.0),
        ("by end of the month", 74.0),
        ("by 2026-11-29", 41.0),
        ("over the weekend, 60 hours", 60.0),
    ],
)
def test_a_time_that_is_spoken_of(said, hours):
    assert fields_of(read_request(LORA + said, None, FRIDAY))["target build_time"] == hours * 3600


def test_a_date_has_no_length_without_today():
    request = read_request(LORA + "by Sunday")
    assert "target build_time" not in fields_of(request)
    assert any("Sunday" in words for words in request.unread)


@pytest.mark.parametrize(
    ("said", "rate"),
    [
        ("50 agents, each asking 6 times a minute", 5.0),
        ("each of our 50 agents asks 6 times a minute", 5.0),
        ("300 users, 2 requests per minute per user", 10.0),
        ("3,600 employees asking once an hour", 1.0),
        ("60 cameras sending a frame every 30 seconds", 2.0),
        ("40 users, 20 requests per second", 20.0),
        ("86,400 tickets a day, spread over 12 hours", 2.0),
        ("36k documents in 10 hours", 1.0),
    ],
)
def test_a_rate_of_many(said, rate):
    found = fields_of(read_request(f"serve llama-3.1-8b on 2 H100, {said}"))
    assert found["requests_per_s"] == pytest.approx(rate)


@pytest.mark.parametrize(
    ("said", "metric", "value"),
    [
        ("it takes 14 s now, goal 7 s", "e2e_p99", 7.0),
        ("takes 14 s per answer at p95; goal is 7 s", "e2e_p95", 7.0),
        ("TTFT is 900 ms now. Goal: 400 ms", "ttft_p99", 0.4),
        ("currently ttft p95 is 1.2 s, we need 600 ms", "ttft_p95", 0.6),
        ("we get 800 tok/s, need 2000 tok/s", "throughput", 2000.0),
    ],
)
def test_what_is_there_is_no_bound(said, metric, value):
    found = fields_of(read_request(f"serve llama-3.1-70b on 8 H100, 5 rps, {said}"))
    assert {name: v for name, v in found.items() if name.startswith("target")} == {f"target {metric}": value}
