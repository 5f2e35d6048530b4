"""How requests are written: words without spaces, counts of some devices only, other languages, follow-ups that name one thing."""

import pytest

from aether.counsel.reading.request import read_request
from aether.counsel.reading.seams import apart


def test_seams_keep_places_and_leave_names_and_files_whole():
    text = "8h200 4kin 用4张 slurm-1234.out llama-3.1-8b"
    plain, origin = apart(text, list(range(len(text))))
    assert plain.startswith("8 h200 4k in 用 4 张")
    assert "slurm-1234.out" in plain and "llama-3.1-8b" in plain
    assert len(origin) == len(plain) and text[origin[plain.index("h200")]] == "h"


@pytest.mark.parametrize(
    ("text", "counts", "count"),
    [
        ("H100 or 4 B200 for llama-3.1-70b?", {"B200": 4}, None),
        ("8 A100 or H100 for llama-3.1-70b?", {}, 8),
        ("2 H100 or 4 B200 for llama-3.1-70b?", {"H100-SXM-80GB": 2, "B200": 4}, None),
    ],
)
def test_a_count_belongs_to_the_device_that_it_stands_at(text, counts, count):
    hardware = read_request(text).brief.hardware
    assert hardware is not None and hardware.counts == counts
    assert (hardware.count if "count" in hardware.model_fields_set else None) == count


def test_chinese_and_italian_words_of_quantities():
    brief = read_request("用4张H100部署qwen3-32b，每秒5个请求，首token p99低于500毫秒").brief
    assert brief.hardware is not None and brief.hardware.count == 4 and brief.load.requests_per_s == 5
    assert [(t.metric, t.value) for t in brief.targets] == [("ttft_p99", 0.5)]
    tokens = read_request("8张A100微调llama-3.1-70b，LoRA，2000万token").brief.model
    assert tokens is not None and tokens.tokens == 20e6
    assert read_request("servire qwen3-8b su una L4, 2 richieste al secondo").brief.load.requests_per_s == 2


def test_a_follow_up_changes_the_size_or_the_percentile_alone():
    first = read_request("serve llama-3.1-8b on 4 H100, ttft p99 under 800 ms, 10 rps")
    sized = read_request("actually 70b, not 8b", first).brief
    assert sized.model is not None and sized.model.name == "llama-3.1-70b" and sized.load.requests_per_s == 10
    shared = read_request("p95 instead of p99", first).brief
    assert [(t.metric, t.value) for t in shared.targets] == [("ttft_p95", 0.8)]


def test_prices_by_the_hour_and_days_of_devices():
    rented = read_request("h100 at 2.10 an hour, qwen3-32b, 10 rps").brief.hardware
    assert rented is not None and rented.price_usd_per_hour == 2.1
    days = read_request("chinchilla-optimal size for 500 H100-days?").brief.hardware
    assert days is not None and "count" not in days.model_fields_set
