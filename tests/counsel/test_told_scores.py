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


@pytest.mark.parametrize(
    ("text", "verdict", "half"),
    [
        ("100 raters: model A beats B 54 to 46. is A better?", "do not show a difference", "9.8"),
        ("our tune won 312, lost 268 and tied 120. so?", "do not show a difference", "4.07"),
        ("A won 620 : 380 against B", "more than chance", "3.1"),
    ],
)
def test_votes_that_are_told_are_judged_by_chance(text, verdict, half):
    page = page_markdown(answer(request(text, "evaluate")).page)
    assert verdict in page and half in page
