import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.evidence.ledger import Ledger
from aether.spec.errors import DamagedRecord, UnsourcedNumber
from records import number, run_facts


def test_looks_up_by_id_and_refuses_what_nothing_measured():
    ledger = Ledger()
    ledger.add(number("a.loss", 1.5, "nat/token"), "a")
    assert ledger["a.loss"].value == 1.5 and ledger.entry("a.loss").step == "a"
    with pytest.raises(UnsourcedNumber, match=r"b\.loss"):
        ledger["b.loss"]
    assert ledger.get("b.loss") is None and "b.loss" not in ledger


def test_holds_every_number_of_every_record_and_of_the_run(tmp_path):
    facts = run_facts(tmp_path)
    ids = {e.id for record in facts.records.values() for e in record.evidence}
    assert ids < {e.id for e in facts.ledger}
    assert "run.build_time" in facts.ledger and facts.ledger.entry("run.build_time").step is None
    assert {e.id for e in facts.ledger.of_step("serve")} == {e.id for e in facts.records["serve"].evidence}


def test_a_known_id_cannot_be_overwritten_only_corrected():
    ledger = Ledger()
    ledger.add(number("a.loss", 1.5, "nat/token"))
    ledger.add(number("a.loss", 1.5, "nat/token"))
    assert len(ledger.entries) == 1
    with pytest.raises(AssertionError):
        ledger.add(number("a.loss", 1.4, "nat/token"))
    ledger.correct(number("a.loss", 1.4, "nat/token"), "the last batch was counted twice")
    assert ledger["a.loss"].value == 1.4 and len(ledger) == 1
    assert [(e.evidence.value, e.corrects) for e in ledger.history("a.loss")] == [(1.5, None), (1.4, 0)]


def test_comes_back_from_its_file(tmp_path):
    ledger = run_facts(tmp_path).ledger
    ledger.correct(number("run.build_time", 499.0, "s"), "resumed")
    ledger.dump(tmp_path / "ledger.jsonl")
    assert Ledger.read(tmp_path / "ledger.jsonl").entries == ledger.entries


def test_writing_again_loses_no_line(tmp_path):
    path = tmp_path / "ledger.jsonl"
    for value in (1.0, 2.0, 2.0, 1.0):
        ledger = Ledger()
        ledger.add(number("run.build_time", value, "s"))
        ledger.dump(path)
    kept = Ledger.read(path)
    assert [(e.evidence.value, e.corrects) for e in kept.entries] == [(1.0, None), (2.0, 0), (1.0, 1)]
    assert kept["run.build_time"].value == 1.0


@pytest.mark.parametrize("line", ['{"entry": 0}', "not json", '{"entry": 7, "step": null, "evidence": {}}', "\x00"])
def test_a_broken_line_is_named(tmp_path, line):
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger()
    ledger.add(number("a.loss", 1.5, "nat/token"))
    ledger.dump(path)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DamagedRecord, match="line 2"):
        Ledger.read(path)


def test_bytes_that_are_no_text_are_damage(tmp_path):
    (tmp_path / "ledger.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(DamagedRecord):
        Ledger.read(tmp_path / "ledger.jsonl")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 9)), max_size=12))
def test_history_is_what_was_said_in_order(said):
    ledger = Ledger()
    for name, value in said:
        evidence = number(f"s.{name}", value, "s")
        if evidence.id in ledger:
            ledger.correct(evidence, "again")
        else:
            ledger.add(evidence)
    for name in {n for n, _ in said}:
        values = [v for n, v in said if n == name]
        assert [e.evidence.value for e in ledger.history(f"s.{name}")] == values
        assert ledger[f"s.{name}"].value == values[-1]
