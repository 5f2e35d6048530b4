"""Other planners are asked through a process and compared on the rows that they answered, and on no others."""

import sys
from pathlib import Path

import pytest
from benchmarks.planner_accuracy import peers

HELPERS = Path(__file__).parents[1] / "helpers"
ROWS = [{"id": f"r{i}", "value": 100.0 + 10 * i, "isl": 8} for i in range(5)] + [{"id": "blind", "value": 100.0}]


def test_what_a_peer_does_not_know_is_a_counted_reason():
    answers = peers.ask(Path(sys.executable), HELPERS / "constant_peer.py", ROWS)
    assert set(answers.values) == {f"r{i}" for i in range(5)} and answers.reasons == {"LookupError": 1}


def test_both_are_judged_on_the_rows_that_the_peer_answered():
    answers = peers.ask(Path(sys.executable), HELPERS / "constant_peer.py", ROWS)
    ours = {row["id"]: row["value"] * 1.01 for row in ROWS}
    found = peers.beside(ours, ROWS, answers)
    assert (found["asked"], found["answered"]) == (6, 5)
    assert found["aether"]["median_abs_error"] == pytest.approx(0.01)
    assert found["peer"]["median_abs_error"] == pytest.approx(1 - 100 / 120)
    text = peers.markdown({"a family": {"constant": found}}, {"constant": "1.0"})
    assert "| a family | constant 1.0 | 5 of 6 | 16.7 | 1.0 |" in text


def test_too_few_answers_give_no_error():
    found = peers.beside({"r0": 1.0}, ROWS[:1], peers.Answers({"r0": 1.0}, peers.Counter()))
    assert found["answered"] == 1 and "peer" not in found


def test_a_peer_that_stops_is_told_with_its_complaint():
    with pytest.raises(RuntimeError, match=r"1 of 6 rows.*out of luck"):
        peers.ask(Path(sys.executable), HELPERS / "broken_peer.py", ROWS)


def test_the_sample_is_of_configurations_and_always_the_same():
    rows = [{"id": f"{i}-{kind}", "row_id": str(i)} for i in range(50) for kind in ("ttft", "tpot")]
    chosen = peers.sampled(rows, 10)
    assert len(chosen) == 20 and chosen == peers.sampled(list(rows), 10)
    assert len({row["row_id"] for row in chosen}) == 10
