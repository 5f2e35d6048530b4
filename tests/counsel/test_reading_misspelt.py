"""Words that a field hangs on are read as they were meant; words of their own are left alone."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.counsel.reading.misspelt import spelt
from aether.counsel.reading.request import read_request

GOLDEN = Path(__file__).parents[1] / "golden"


def respelt(text):
    plain, places = spelt(text, list(range(len(text))))
    assert len(plain) == len(places)
    return plain


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("abt 2000 tokns in", "about 2000 tokens in"),
        ("frst token undr 1 sec", "first token under 1 sec"),
        ("wats continous batching", "what is continuous batching"),
        ("users ever send content throughout", "users ever send content throughout"),
        ("outputs, requested, trainings and billing", "outputs, requested, trainings and billing"),
    ],
)
def test_misspelt_words_are_put_right_and_others_left(text, right):
    assert respelt(text) == right


def test_requests_of_ordinary_talk_are_hardly_touched():
    lines = (GOLDEN / "ordinary_requests.txt").read_text(encoding="utf-8").splitlines()
    lines += [json.loads(line)["reply"] for line in (GOLDEN / "honest_replies.jsonl").read_text("utf-8").splitlines()]
    touched = [line for line in lines if respelt(line.lower()) != line.lower()]
    assert len(touched) <= len(lines) / 200


@given(st.text(max_size=60))
def test_places_stay_in_order(text):
    _, places = spelt(text.lower(), list(range(len(text.lower()))))
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("serve qwen3-8b on a p5.48xlarge at $98.32/h, 3 rps", "hardware.price_usd_per_hour", 98.32 / 8),
        ("serve qwen3-8b on 2 x (8x H200), 3 rps", "hardware.count", 16),
        ("pretrain llama-3.2-1b on 2T tokens, sorry, make that 1.5T tokens, 256 B200", "model.tokens", 1.5e12),
        ("fine-tune qwen3-4b, data is 200 millions tokens, 8 H100", "model.tokens", 2e8),
        (
            "serve llama-3.2-3b on L4 for 150 persons in same time. Each person make 2 demand by minute",
            "load.requests_per_s",
            5,
        ),
        ("extend the context of llama-3-8b from 8k to 64k, 5B tokens, 32 H100", "model.sequence_tokens", 65536),
        (
            "qlora llama-2-13b, max length 1024, on tatsu-lab/alpaca from the HF hub, a 3090",
            "data.sources",
            ("hf:tatsu-lab/alpaca",),
        ),
    ],
)
def test_what_a_blind_author_wrote_is_read(text, field, value):
    section, name = field.split(".")
    found = getattr(getattr(read_request(text).brief, section), name)
    assert found == (pytest.approx(value) if isinstance(value, float) else value)


def test_a_model_set_aside_and_a_method_switched_off_are_not_wanted():
    aside = read_request("We thought about DeepSeek R1 but it's too big, so Qwen3 30B A3B on two L40S, 3 rps")
    assert (aside.brief.model.name, aside.brief.model.others) == ("qwen3-30b-a3b", ())
    assert read_request("sft llama-3.1-8b, lora: false, 8 H100, 10M tokens").methods == ("sft",)
