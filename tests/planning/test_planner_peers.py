"""Other planners are asked through a process and compared on the rows that they answered, and on no others."""

import sys
from pathlib import Path

import pytest
from benchmarks.planner_accuracy import peers
from benchmarks.planner_accuracy.peers.hub_config import hub_config, told

from aether.knowledge.models_library import published_model
from aether.models.accounting import parameters
from aether.models.config_json import architecture_from_config

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


@pytest.mark.parametrize("name", ["llama-2-7b", "gemma-2b", "falcon-7b", "llama-3.1-8b"])
def test_memory_calculators_are_told_the_published_sizes(name):
    arch = published_model(name).architecture
    config = hub_config(arch)
    assert config is not None and config["parameters"] == parameters(arch).total
    if config["model_type"] == "llama":
        read = architecture_from_config({k: v for k, v in config.items() if k != "parameters"}, name)
        assert parameters(read).total == parameters(arch).total


def test_what_calculators_have_no_words_for_has_no_configuration():
    row = {"id": "a", "model": {"name": "mamba-2.8b"}, "unit": "GB"}
    assert "config" not in told(row) and "config" not in told(row | {"model": {"name": "bigscience/mt0-xxl (12B)"}})
    assert told(row | {"model": {"name": "llama-2-7b"}})["recompute"] == "none"


def test_a_calculator_that_is_not_installed_or_asked_of_a_share_gives_its_reason():
    script = Path(peers.__file__).with_name("memory_peers.py")
    lora = told({"id": "a", "model": {"name": "llama-2-7b"}, "unit": "GB", "task": "lora", "micro_batch": 1})
    answers = peers.ask(Path(sys.executable), script, [lora, {"id": "b", "unit": "%"}], "fitcheck-llm")
    assert not answers.values and answers.reasons == {"ModuleNotFoundError": 1, "LookupError": 1}
