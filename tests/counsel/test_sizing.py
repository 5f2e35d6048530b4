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
    assert read_request(text).sizes is sizes


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


def devices(answer: Answer) -> float:
    """What the decision says."""
    return next(evidence.value for evidence in answer.page.evidence if evidence.id == "plan.devices")
