"""What is asked of a partial brief, and that the answers close it."""

from aether.policy.brief_file import apply_settings, to_brief
from aether.policy.questions import questions
from aether.spec.brief import Brief


def test_an_empty_brief_is_asked_everything_and_its_defaults_answer_all():
    asked = questions(Brief())
    assert [q.field for q in asked] == [
        "data.sources",
        "intended_use",
        "modality",
        "hardware.name",
        "targets",
        "targets",
        "targets",
    ]
    assert all(q.why and q.default for q in asked)
    answers = [f"{q.field}={q.default}" for q in asked]
    assert questions(to_brief(apply_settings({}, answers), "answers")) == ()


def test_an_unknown_price_is_asked_only_when_cost_is_bounded():
    raw = {"targets": ["build_cost <= 1 USD"], "hardware": {"name": "this-machine"}}
    fields = [q.field for q in questions(to_brief(raw, "x"))]
    assert "hardware.price_usd_per_hour" in fields
    assert "hardware.name" not in fields
    priced = to_brief(apply_settings(raw, ["hardware.price_usd_per_hour=0.1"]), "x")
    assert "hardware.price_usd_per_hour" not in [q.field for q in questions(priced)]
