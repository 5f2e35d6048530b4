"""Users at once are turned into a rate by Little's law, as a default that can be accepted."""

import pytest

from aether.counsel.ask import ask


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("serve llama-3.1-8b on 2 H100 to 200 concurrent users, 500 tokens in, 300 out", 200 / (300 * 0.05)),
        ("serve llama-3.1-8b on 2 H100, concurrency 64, 500 in, 300 out, p99 below 5 s end to end", 64 / 5),
        (
            "serve llama-3.1-8b on 2 H100, 1.5k concurrent sessions, 500 in, 100 out, 20 ms per token",
            1500 / (100 * 0.02),
        ),
    ],
)
def test_requests_at_once_are_the_default_of_the_rate(text: str, rate: float) -> None:
    question = next(q for q in ask(text).questions if q.field == "load.requests_per_s")
    assert question.default is not None and float(question.default) == pytest.approx(rate, rel=0.01)
    assert "at once are about" in question.text


def test_a_rate_that_was_said_is_not_asked_for() -> None:
    answer = ask("serve llama-3.1-8b on 2 H100 at 5 rps, 64 concurrent users, 500 in, 300 out, ttft p99 below 1 s")
    assert answer.status == "answered" and answer.request.unread == ("64 concurrent users",)
