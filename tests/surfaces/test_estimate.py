"""`aether estimate` as a person meets it."""

import json

import pytest
from click.testing import CliRunner

from aether.surfaces.cli.main import main


def ask(*words):
    return CliRunner().invoke(main, ["estimate", *words])


def test_one_question_one_line():
    done = ask("serve", "llama-3.1-8b", "--on", "h100_sxm")
    assert done.exit_code == 0 and len(done.output.splitlines()) == 1
    assert "ttft p99" in done.output and "binding" in done.output


def test_explained_terms_have_kind_and_source():
    done = ask("train", "llama-3.1-8b", "--on", "H100-SXM-80GB", "--devices", "8", "--explain")
    assert done.exit_code == 0
    _, _, explained = done.output.partition("\n\n")
    terms = [line for line in explained.splitlines() if line.startswith("  ") and "settle" not in line]
    assert len(terms) > 10 and all("[" in line and "]" in line for line in terms)
    assert "GB [" in explained and not any("e+" in line.partition("[")[0] for line in terms)


def test_quality_needs_no_device_and_says_where_it_extrapolates():
    done = ask("quality", "llama-3.1-8b", "--set", "tokens=15T", "--set", "inference_tokens=100T")
    assert done.exit_code == 0 and "loss 2.0" in done.output and "extrapolation" in done.output
    assert (
        "cheapest_over_life_parameters"
        in json.loads(ask("quality", "--set", "training_flops=1e22", "--set", "inference_tokens=1T", "--json").output)[
            "estimates"
        ]
    )


def test_json_is_one_line_with_everything():
    done = ask("memory", "llama-3.1-8b", "--on", "L40S", "--json")
    said = json.loads(done.output)
    assert len(done.output.splitlines()) == 1
    assert set(said) == {"status", "question", "subject", "estimates", "setup", "notes"}
    memory = said["estimates"]["device_memory"]
    assert memory["value"] == pytest.approx(sum(term["value"] for term in memory["terms"]))


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["train", "llama-3.1-8b", "--on", "L4", "--devices", "0"], "devices"),
        (["serve", "llama-3.1-70b", "--on", "L40S", "--devices", "3"], "tp"),
        (["train", "llama-3.1-70b", "--on", "L40S", "--devices", "3", "--set", "tp=3"], "layout.tp"),
        (["serve", "llama-3.1-8b", "--on", "L40S", "--set", "concurrency=-1"], "concurrency"),
        (["serve", "llama-3.1-8b", "--on", "L40S", "--set", "colour=red"], "--set"),
        (["serve", "llama-3.1-8b", "--on", "abacus"], "hardware.name"),
        (["serve", "llama-3.1-8b"], "--on"),
        (["serve", "--on", "L4"], "MODEL"),
        (["quality", "llama-3.1-8b"], "tokens"),
    ],
)
def test_bad_input_names_field_and_rule(words, field):
    done = ask(*words, "--json")
    said = json.loads(done.output)
    assert done.exit_code == 2 and said["field"] == field and said["mend"]


def test_a_config_without_heads_is_refused(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 100}))
    done = ask("memory", str(config), "--on", "L4", "--json")
    assert done.exit_code == 2 and json.loads(done.output)["status"] == "bad_input"


def test_what_fits_nowhere_is_infeasible():
    done = ask("train", "llama-3.1-405b", "--on", "L4", "--devices", "8")
    assert done.exit_code == 3 and "take more devices" in done.output


def test_a_large_job_says_what_failures_cost():
    words = ("train", "llama-3.1-405b", "--on", "H100-SXM-80GB", "--devices", "98304", "--set", "tokens=15T")
    done = ask(*words, "--set", "seq_tokens=8192", "--json")
    said = json.loads(done.output)
    found = {name: one["value"] for name, one in said["estimates"].items()}
    assert found["job_mtbf"] < 3600 < found["run_time"] < found["wall_clock"] and 0.3 < found["goodput"] < 0.8
    assert "published rate" in said["notes"][0]
    rarer = json.loads(ask(*words, "--set", "seq_tokens=8192", "--set", "device_mtbf_hours=500000", "--json").output)
    assert rarer["estimates"]["goodput"]["value"] > found["goodput"]


def test_a_batch_that_nobody_asked_for_divides_by_the_devices():
    done = ask("train", "llama-3.1-8b", "--on", "H100-SXM-80GB", "--devices", "24", "--json")
    setup = json.loads(done.output)["setup"]
    assert setup["global_batch"] % (setup["layout"]["dp"] * setup["micro_batch"]) == 0
    assert 2e6 < setup["global_batch"] * setup["seq_tokens"] < 8e6
