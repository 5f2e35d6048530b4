"""Loads as products and as volumes, formats of the cache alone, availability, and what a diagnosis weighs."""

import pytest

from aether.counsel.reading.accuracy import fields_of
from aether.counsel.reading.request import read_request

SERVE = "serve qwen2.5-7b on 4 L40S, "


@pytest.mark.parametrize(
    ("said", "rate"),
    [
        ("30 cameras in each of 40 shops, 1 frame a second", 1200),
        ("12 cameras in each of 25 stores, one frame every 5 seconds per camera", 60),
        ("80 shops with 3 kiosks each, every kiosk asks twice a minute", 8),
        ("40 shops x 30 cameras, each sends 2 frames per second", 2400),
        ("12 lines per site at 6 sites, each line sends 2 images a second", 144),
        ("5 cameras per truck, 200 trucks, 1 image every 10 seconds each", 100),
        ("a team of 15, everyone asks 20 times an hour", 300 / 3600),
        ("doctors (about 120 of them) ask 6 questions an hour each", 0.2),
        ("40 barcode terminals, each one sends a query every 10 seconds", 4),
        ("30 cameras in 40 shops, 6 requests/s", 6),
    ],
)
def test_many_in_each_of_many_are_multiplied(said, rate):
    assert fields_of(read_request(SERVE + said))["requests_per_s"] == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        ("2 billion tokens a day, 1500 tokens in and 500 out", 2e9 / 86400 / 2000),
        ("1500 in, 500 out, 14B tokens per week", 14e9 / 7 / 86400 / 2000),
        ("600M input tokens daily, 1000 in, 200 out", 600e6 / 86400 / 1000),
        ("30 million output tokens per hour, 1000 in, 200 out", 30e6 / 3600 / 200),
    ],
)
def test_tokens_of_a_day_are_a_rate_where_lengths_are_told(said, tokens):
    fields = fields_of(read_request(SERVE + said))
    assert fields["requests_per_s"] == pytest.approx(tokens, rel=1e-3) and "target throughput" not in fields


def test_tokens_of_a_day_without_lengths():
    answers = fields_of(read_request(SERVE + "864 million output tokens a day"))
    assert answers["target throughput"] == pytest.approx(10_000)
    request = read_request(SERVE + "2 billion tokens a day")
    assert "target throughput" not in fields_of(request) and any("2 billion" in words for words in request.unread)
    assert fields_of(read_request(SERVE + "at least 4000 tokens per second"))["target throughput"] == 4000


@pytest.mark.parametrize(
    "said",
    [
        "kv cache in fp8",
        "kv cache int8",
        "fp8 for the kv cache",
        "the kv-cache quantized to fp8",
        "kv_cache_dtype=fp8",
        "we quantise only the kv cache (fp8)",
        "fp8 kv cache",
    ],
)
def test_a_format_of_the_cache_is_none_of_the_weights(said):
    fields = fields_of(read_request(f"serve llama-3.1-70b on 4 H100, 6 rps, bf16, {said}"))
    assert set(fields["methods"]) == {"bf16", "kv-cache-quantisation"} and fields["formats"] == ["bf16"]


def test_weights_and_cache_each_have_their_format():
    fields = fields_of(read_request("serve llama-3.1-70b on 4 H100, 6 rps, int4 weights and an fp8 kv cache"))
    assert set(fields["methods"]) == {"int4", "kv-cache-quantisation"} and fields["formats"] == ["int4"]


@pytest.mark.parametrize("said", ["three nines", "99.9% uptime", "availability of 99.95 %", "uptime: 4 nines", "3 9s"])
def test_availability_is_said_to_be_unread(said):
    request = read_request(f"serve qwen3-8b on 2 L4, 4 rps, {said}")
    assert any(part in words for words in request.unread for part in ("nines", "9s", "99.9")), request.unread


def test_what_a_diagnosis_weighs_is_not_said_to_be_unread():
    request = read_request("loss went to nan at step 900, lr 3e-4, warmup 100 steps, 4 GPUs per node")
    assert not any("3e-4" in words or "100" in words for words in request.unread), request.unread


def test_votes_are_an_evaluation():
    assert read_request("model A beats B 54 to 46. is A better?").intent == "evaluate"


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ("each query 2500 tokens", {"prompt_tokens": 2500}),
        ("900 tokens a frame, 30 tokens back", {"prompt_tokens": 900, "output_tokens": 30}),
        ("150 tokens each way", {"prompt_tokens": 150, "output_tokens": 150}),
        ("600 token pages, 80 token abstracts", {"prompt_tokens": 600, "output_tokens": 80}),
        ("1k/1k and tpot p50 below 15 ms", {"prompt_tokens": 1000, "output_tokens": 1000, "target tpot_p50": 0.015}),
        ("no request slower than 12 s", {"target e2e_p99": 12}),
        ("notes of 700 tokens and summaries of 150", {"prompt_tokens": 700, "output_tokens": 150}),
        ("tickets, each 800 tok", {"prompt_tokens": 800}),
        ("40 tok/s per agent", {"target tpot_p50": 0.025}),
        ("price of a GPU-hour 3.60 USD", {"price": 3.6}),
    ],
)
def test_what_is_said_of_one(said, fields):
    found = fields_of(read_request(f"serve qwen2.5-7b on 4 L40S, {said}"))
    assert {name: found.get(name) for name in fields} == fields


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("serve llama-3.1-8b on 2 nodes, 16 H100, 9 rps", 16),
        ("serve llama-3.1-8b on 2 nodes, 8 H100, 9 rps", 16),
        ("serve llama-3.2-3b on T4s (we have 4), 9 rps", 4),
    ],
)
def test_counts_of_nodes_and_of_what_is_there(text, count):
    assert fields_of(read_request(text))["count"] == count


def test_work_that_is_to_be_done_in_a_time_is_a_rate():
    text = "translate 2 million product descriptions over the weekend with gemma-3-12b on 3 L40S"
    assert fields_of(read_request(text))["requests_per_s"] == pytest.approx(2e6 / 48 / 3600)
