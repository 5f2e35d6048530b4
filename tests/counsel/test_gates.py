"""A gate that is not shown to hold: exit code 5, and no model in the run's folder."""

import pytest

from aether.counsel.engineer import Outcome
from aether.counsel.keeping import withdraw_model
from aether.evidence.ledger import Ledger
from aether.spec.brief import Target
from aether.spec.run import Verdict


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
