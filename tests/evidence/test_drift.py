import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.evidence.drift import MACHINE_RATIO, circumstances, compare_records, reproduced
from aether.spec.evidence import Artefact
from records import PROVENANCE, number, record, run_facts


def drift_of(tmp_path, first, second):
    a, b = ({"s": record("s", (e,) if e else (), tmp_path)} for e in (first, second))
    (found,) = compare_records(a, b)
    return found


def test_a_run_against_itself_is_equal_everywhere(tmp_path):
    records = run_facts(tmp_path).records
    drifts = compare_records(records, records)
    assert {d.status for d in drifts} == {"equal"} and reproduced(drifts)
    assert {d.what for d in drifts} == {"number", "file"}
    assert circumstances(records, records) == ()


def test_exact_numbers_must_be_equal_bit_for_bit(tmp_path):
    apart = drift_of(tmp_path, number("s.x", 0.1 + 0.2, "nat/token"), number("s.x", 0.3, "nat/token"))
    assert apart.status == "differs" and "bit for bit" in apart.note and not reproduced((apart,))


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        ((1.0, None), (MACHINE_RATIO, None), "within tolerance"),
        ((1.0, None), (MACHINE_RATIO * 1.01, None), "differs"),
        ((1.0, None), (0.0, None), "differs"),
        ((1.0, 1.5), (4.0, 1.6), "within tolerance"),
        ((1.0, 0.1), (1.4, 0.1), "within tolerance"),
        ((2.0, None), (2.0, None), "equal"),
    ],
)
def test_machine_numbers_may_move_within_intervals_or_a_ratio(tmp_path, first, second, status):
    a, b = (number("s.x", v, "s", w, repeats="machine") for v, w in (first, second))
    assert drift_of(tmp_path, a, b).status == status


def test_what_only_one_run_has_is_missing(tmp_path):
    only = number("s.x", 1.0, "s")
    first, second = drift_of(tmp_path, only, None), drift_of(tmp_path, None, only)
    assert (first.status, first.original, first.again) == ("missing", 1.0, None)
    assert (second.status, second.original, second.again) == ("missing", None, 1.0)
    assert not reproduced((first,)) and not reproduced((second,))


def test_another_unit_is_a_difference(tmp_path):
    assert drift_of(tmp_path, number("s.x", 1.0, "s"), number("s.x", 1.0, "byte")).status == "differs"


@pytest.mark.parametrize(
    ("path", "status"), [("model/model.safetensors", "differs"), ("metrics.jsonl", "not compared"), ("gone", "missing")]
)
def test_results_are_compared_by_hash_and_logs_are_not(tmp_path, path, status):
    first = record("s", (), tmp_path, artefacts=(Artefact(path=path, sha256="a" * 64, size_bytes=1),))
    other = () if path == "gone" else (Artefact(path=path, sha256="b" * 64, size_bytes=1),)
    second = record("s", (), tmp_path, artefacts=other)
    (drift,) = compare_records({"s": first}, {"s": second})
    assert (drift.id, drift.what, drift.status) == (f"s:{path}", "file", status)


def test_circumstances_name_what_was_not_the_same(tmp_path):
    elsewhere = PROVENANCE.model_copy(update={"cpu": "another processor", "command": ("aether", "reproduce")})
    first, second = record("s", (), tmp_path), record("s", (), tmp_path, provenance=elsewhere, threads=8, seed=3)
    assert [c.name for c in circumstances({"s": first}, {"s": second})] == ["seed", "threads", "cpu"]


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_the_ratio_is_symmetric(a, b):
    from aether.evidence.drift import _close

    first, second = (number("s.x", v, "s", repeats="machine") for v in (a, b))
    assert _close(first, second, MACHINE_RATIO)[0] == _close(second, first, MACHINE_RATIO)[0]


def test_another_engine_is_said_with_each_number_and_among_the_circumstances(tmp_path):
    first, second = (
        number("s.x", 1.0, "s", repeats="machine").model_copy(update={"conditions": {"engine": engine}})
        for engine in ("packed", "llama.cpp")
    )
    drift = drift_of(tmp_path, first, second)
    assert drift.status == "equal" and "the engine llama.cpp, was packed" in drift.note
    a, b = ({"s": record("s", (e,), tmp_path)} for e in (first, second))
    (found,) = circumstances(a, b)
    assert (found.name, found.original, found.again) == ("engine", "packed", "llama.cpp")
