import pytest
from asked import request

from aether.counsel.answering import answer
from aether.report.page import page_markdown


@pytest.mark.parametrize(
    ("text", "verdict", "half"),
    [
        ("is 63.1 vs 61.8 on 1,319 gsm8k questions a real improvement?", "do not show a difference", "3.70"),
        ("is 71.2 against 60.0 on 500 questions noise?", "more than chance explains", "5.85"),
    ],
)
def test_two_scores_that_are_told_are_judged_by_their_interval(text, verdict, half):
    page = page_markdown(answer(request(text, "evaluate")).page)
    assert verdict in page and half in page


def test_without_a_number_of_items_nothing_is_judged():
    page = page_markdown(answer(request("is 63.1 vs 61.8 a real improvement?", "evaluate")).page)
    assert "two standard errors" not in page
