"""Any of several models: all are searched, the cheapest that meets the targets is decided, the others' price is said."""

import pytest

from aether.counsel.fleet import decide
from aether.policy.brief_file import apply_settings, to_brief
from aether.spec.errors import Infeasible, InputError

ANY = {
    "targets": ["ttft_p99 <= 2 s"],
    "model": {"name": ["llama-3.1-8b", "llama-3.2-3b"], "task": "serve"},
    "hardware": {"name": "H100-SXM-80GB", "count": 2, "price_usd_per_hour": 2.5},
    "load": {"requests_per_s": 1, "prompt_tokens": 500, "output_tokens": 100},
}


def plan_for(*settings):
    return decide(to_brief(apply_settings(ANY, settings), "test"))


def test_each_model_stands_with_its_own_options_and_which_answers_better_is_not_known():
    problem, plan = plan_for()
    assert plan.models == ("llama-3.1-8b", "llama-3.2-3b")
    assert {option.model for option in plan.options} == set(plan.models)
    assert all(option.name.startswith(option.model) for option in plan.options)
    assert problem.model == plan.decision.model and plan.decided == plan.options[0].name
    quality = plan.unknown[0]
    assert quality.value is None and "llama-3.2-3b" in quality.formula and quality.protocol
    other = next(name for name in plan.models if name != plan.decision.model)
    assert any("answer too badly" in change and other in change for change in plan.would_change)
    assert plan.considered == sum(left.count for left in plan.left_out) + len(plan.options)


def test_a_model_that_cannot_is_named_and_the_other_decided():
    _, plan = plan_for('model.name=["llama-3.1-405b", "llama-3.2-3b"]')
    assert {option.model for option in plan.options} == {"llama-3.2-3b"}
    assert "No option of llama-3.1-405b meets the targets" in plan.because


def test_when_none_can_the_nearest_one_is_refused():
    with pytest.raises(Infeasible) as caught:
        plan_for('model.name=["llama-3.1-405b", "llama-3.1-70b"]', "hardware.name=L4", "hardware.count=1")
    assert "70.6 B parameters" in str(caught.value)


def test_an_empty_list_is_refused_by_name():
    with pytest.raises(InputError, match=r"model\.name"):
        to_brief(ANY | {"model": {"name": [], "task": "serve"}}, "test")
