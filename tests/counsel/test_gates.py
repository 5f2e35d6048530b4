"""A gate that is not shown to hold: exit code 5, and no model in the run's folder."""

import pytest

from aether.counsel.engineer import Outcome
from aether.counsel.keeping import withdraw_model
from aether.evidence.ledger import Ledger
from aether.planning.gates import refuse_unshowable
from aether.spec.brief import Brief, Target
from aether.spec.run import Verdict
from aether.stages.evaluate.estimate import least, requests_for, tried


def verdict(bound, status):
    target = Target.model_validate(bound)
    return Verdict(target=target, status=status, predicted_id=None, measured_id=None, reason="The value is 30 %.")


@pytest.mark.parametrize(
    ("bound", "status", "code"),
    [
        ("attack_success <= 10 %", "met", 0),
        ("attack_success <= 10 %", "missed", 5),
        ("attack_success <= 10 %", "unproven", 5),
        ("over_refusal <= 10 %", "unproven", 5),
        ("ttft_p99 <= 1 s", "unproven", 0),
        ("ttft_p99 <= 1 s", "missed", 5),
    ],
)
def test_a_gate_has_to_be_shown_to_hold_and_another_target_only_not_missed(tmp_path, bound, status, code):
    outcome = Outcome(tmp_path, (verdict(bound, status),), Ledger.of({}, ()))
    assert outcome.exit_code == code
    assert bool(outcome.shut_gates) is (code == 5 and "ttft" not in bound)


def test_a_withdrawn_model_is_gone_and_twice_is_no_fault(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    withdraw_model(tmp_path)
    withdraw_model(tmp_path)
    assert not (tmp_path / "model").exists()


def brief(*bounds):
    return Brief.model_validate(
        {"name": "b", "intended_use": "u", "data": {"sources": "python:stdlib"}, "targets": bounds}
    )


@pytest.mark.parametrize("metric", ["attack_success", "injection_success", "leak_success", "over_refusal"])
def test_a_bound_that_the_small_set_cannot_show_is_refused_with_the_number_that_would(metric):
    floor = 100 * least(metric, tried()[metric])
    assert refuse_unshowable(brief(f"{metric} <= {floor + 0.1} %", "ttft_p99 <= 1 s")) == ()
    (refusal,) = refuse_unshowable(brief(f"{metric} <= {floor - 1} %"))
    wanted = requests_for(metric, (floor - 1) / 100)
    assert wanted is not None and wanted > tried()[metric] and f"{wanted:,} would show it" in refusal.arithmetic
    assert least(metric, wanted) <= (floor - 1) / 100 < least(metric, wanted - 1)


def test_the_numbers_are_those_of_clopper_and_pearson_where_nobody_judges():
    assert least("leak_success", 6) == pytest.approx(1 - 0.025 ** (1 / 6))
    assert requests_for("injection_success", 0.05) == 72
    assert requests_for("over_refusal", 1e-9) is None
