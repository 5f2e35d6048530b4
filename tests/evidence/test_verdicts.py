import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.evidence.ledger import Ledger
from aether.evidence.verdicts import MEASURED_BY, judge, predicted_ids, predictions
from aether.spec.metrics import METRICS
from records import brief, number, plan


def one(target, *evidence):
    ledger = Ledger()
    for e in evidence:
        ledger.add(e)
    (verdict,) = judge(brief(targets=(target,)), ledger)
    return verdict


@pytest.mark.parametrize(
    ("target", "evidence_id", "value", "within", "status"),
    [
        ("ttft_p99 <= 250 ms", "serve.ttft_p99", 0.2, 0.04, "met"),
        ("ttft_p99 <= 250 ms", "serve.ttft_p99", 0.3, 0.04, "missed"),
        ("ttft_p99 <= 250 ms", "serve.ttft_p99", 0.24, 0.04, "unproven"),
        ("ttft_p99 <= 250 ms", "serve.ttft_p99", 0.26, 0.04, "unproven"),
        ("ttft_p99 <= 250 ms", "serve.ttft_p99", 0.2, None, "unproven"),
        ("size_on_disk <= 12 MB", "compress.size_on_disk", 12e6, None, "met"),
        ("size_on_disk <= 12 MB", "compress.size_on_disk", 12e6 + 1, None, "missed"),
        ("line_accuracy >= 12 %", "evaluate.line_accuracy", 0.15, 0.02, "met"),
        ("line_accuracy >= 12 %", "evaluate.line_accuracy", 0.09, 0.02, "missed"),
        ("line_accuracy >= 12 %", "evaluate.line_accuracy", 0.12, 0.02, "unproven"),
        ("build_time <= 10 min", "run.build_time", 598.0, None, "met"),
    ],
)
def test_the_whole_interval_decides(target, evidence_id, value, within, status):
    unit = METRICS[evidence_id.split(".")[1]].unit
    verdict = one(target, number(evidence_id, value, unit, within))
    assert verdict.status == status and verdict.measured_id == evidence_id


def test_the_reason_speaks_as_people_do():
    verdict = one("ttft_p99 <= 250 ms", number("serve.ttft_p99", 0.271, "s", 0.019))
    assert verdict.reason == "The whole interval, 252 ms to 290 ms, is on the wrong side of 250 ms."
    assert "8.3 min against a bound of 10 min" in one("build_time <= 10 min", number("run.build_time", 498, "s")).reason


def test_a_value_that_would_print_like_its_bound_is_printed_apart():
    verdict = one("build_time <= 100 s", number("run.build_time", 100.04, "s"))
    assert verdict.status == "missed" and "100.04 s" in verdict.reason


def test_nothing_measured_is_unproven_and_the_out_of_distribution_slice_does_not_judge():
    verdict = one("bits_per_byte <= 2 bit/byte", number("evaluate.bits_per_byte.ood", 1.0, "bit/byte"))
    assert (verdict.status, verdict.measured_id) == ("unproven", None)


def test_predictions_are_cited_where_the_plan_made_them():
    ledger = Ledger.of({}, predictions(plan()))
    assert predicted_ids(ledger)["ttft_p99"] == "plan.predicted.ttft_p99"
    verdicts = {v.target.metric: v for v in judge(brief(), ledger)}
    assert verdicts["ttft_p99"].predicted_id == "plan.predicted.ttft_p99"
    assert verdicts["line_accuracy"].predicted_id is None


def test_every_metric_has_its_evidence():
    assert MEASURED_BY.keys() == METRICS.keys()


@given(st.floats(0.01, 10), st.floats(0, 5), st.floats(0.01, 10))
def test_met_and_missed_never_both_and_only_when_the_interval_agrees(value, within, bound):
    verdict = one(f"e2e_p99 <= {bound!r} s", number("serve.e2e_p99", value, "s", within))
    low, high = value - within, value + within
    assert verdict.status == ("met" if high <= bound else "missed" if low > bound else "unproven")
