"""Hardware that is asked for is found, not asked back."""

import pytest

from aether.counsel.ask import ask
from aether.counsel.reading.request import read_request
from aether.report.page import page_markdown
from aether.spec.answer import Answer

LOAD = "serve qwen3-8b at 3 requests/s, prompts of 800 tokens, answers of 200, ttft p99 < 1 s"


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("how many H100 do I need for llama-3.1-70b at 20 rps", True),
        ("What hardware do I need for serving Mixtral 8x22B at 15 requests per second?", True),
        ("whats the cheapest card for phi-4 with 2 requests per second", True),
        ("cheapest way to serve gemma-3-12b at 5 rps", True),
        ("number of L40S needed for qwen3-8b at 3 rps", True),
        ("help me with sizing for qwen3-32b, 12 rps", True),
        ("serve llama-3.1-8b on H100 at 5 rps", False),
        ("how much GPU memory does llama-3.1-8b need", False),
        ("how many GPU hours does it take to train llama-3.1-8b on 1T tokens", False),
        ("serve qwen3-8b on 2 H100, what p99 do I get?", False),
    ],
)
def test_what_is_asked_for_is_read(text: str, sizes: bool) -> None:
    assert ("hardware" in read_request(text).sought) is sizes


def test_the_number_of_devices_is_found_and_said() -> None:
    answer = ask(f"how many H100 do I need to {LOAD}")
    assert answer.status == "answered"
    assert devices(answer) == 1
    assert "hardware.count=8" in page_markdown(answer.page)
    assert answer.request.brief.hardware is not None
    assert not answer.request.brief.hardware.is_counted("H100-SXM-80GB"), "what was searched is not what was said"


def test_the_device_is_found_and_said() -> None:
    answer = ask(f"which GPU is the cheapest to {LOAD}?")
    assert answer.status == "answered"
    assert devices(answer) == 2
    assert "2x tp1 bf16 sglang on RTX-4090" in page_markdown(answer.page)


def test_only_what_is_not_asked_for_is_asked_back() -> None:
    answer = ask("which GPU for qwen3-8b at 3 requests/s?")
    assert answer.status == "needs_input"
    assert {question.field for question in answer.questions} == {"targets", "load.prompt_tokens", "load.output_tokens"}
    later = ask("800 in, 200 out, first token p99 under 1 s", answer.request)
    assert later.status == "answered" and devices(later) == 2


def test_the_fewest_devices_that_keep_a_deadline_train() -> None:
    text = "how many H100 do I need to pretrain llama-3.2-1b on 100B tokens within 10 days on data/corpus"
    answer = ask(text)
    assert answer.status == "answered"
    assert devices(answer) == 2
    slower = ask(text.replace("10 days", "60 days"))
    assert devices(slower) == 1


@pytest.mark.parametrize(
    ("text", "estimates"),
    [
        ("can I run llama-3.3-70b on a single 4090?", True),
        ("does llama-3.1-70b fit on 2 A100 80GB in int8?", True),
        ("How long does pretraining llama-3.1-8b on 15T tokens take on 1024 H100?", True),
        ("qlora on llama-3.1-70b, two A100 80GB, 25M tokens; will it fit?", True),
        ("how much would it cost to train pythia-6.9b on 300B tokens, A100 at $1.2/h?", True),
        ("how many days to fine-tune qwen2.5-7b with lora on 20M tokens on one A100?", True),
        ("serve llama-3.1-8b on 2 H100 at 5 requests/s", False),
        ("which data mixture for a code model?", False),
    ],
)
def test_an_estimate_is_read(text: str, estimates: bool) -> None:
    assert ("estimate" in read_request(text).sought) is estimates


def test_a_verdict_does_not_wait_for_what_does_not_decide_it() -> None:
    answer = ask("can I run llama-3.3-70b on a single 4090?")
    assert answer.status == "infeasible" and "physically impossible" in page_markdown(answer.page)
    fits = ask("does llama-3.1-8b fit on one L40S?")
    assert fits.status == "answered" and "load.requests" in page_markdown(fits.page), "what was taken is said"


def test_how_long_is_answered_with_a_time_and_asks_only_for_a_model() -> None:
    answer = ask("how long to pretrain qwen3-1.7b on 3T tokens with 128 H200?")
    assert answer.status == "answered"
    time = next(e for e in answer.page.evidence if e.metric == "build_time" and e.interval is not None)
    assert time.interval is not None and time.interval.low < time.value < time.interval.high
    unnamed = ask("how long does it take to train a 7B on 1T tokens with 64 H100?")
    assert [question.field for question in unnamed.questions] == ["model.name"]


def test_the_most_load_is_found_and_more_of_it_is_not_held() -> None:
    text = "how many requests per second can one L40S with llama-3.1-8b handle, 1000 in, 250 out, first token p99 below 2 s?"
    answer = ask(text)
    assert answer.status == "answered"
    rate = answer.page.brief.load.requests_per_s
    assert answer.page.brief.load.output_tokens == 250 and 2 < rate < 20
    assert any(evidence.id == "plan.at_once" for evidence in answer.page.evidence)
    given = "serve llama-3.1-8b on one L40S at {} requests/s, 1000 in, 250 out, first token p99 below 2 s"
    assert "meets every target" in page_markdown(ask(given.format(f"{rate:g}")).page)
    assert ask(given.format(f"{3 * rate:g}")).status == "infeasible"


def devices(answer: Answer) -> float:
    """What the decision says."""
    return next(evidence.value for evidence in answer.page.evidence if evidence.id == "plan.devices")


def test_a_question_for_the_time_has_no_deadline_and_says_so() -> None:
    answer = ask("how long does it take to pretrain llama-3.2-1b on 100B tokens with 8 H100?")
    assert answer.status == "answered"
    assert "stands for no bound" in page_markdown(answer.page)
