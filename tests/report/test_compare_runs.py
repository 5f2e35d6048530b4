import json

import pytest

from aether.evidence.hashing import artefacts_of, hash_artefacts
from aether.evidence.ledger import Ledger
from aether.report.compare import compare_runs
from aether.report.html import to_html
from aether.report.markdown import to_markdown
from aether.report.sources import RunFacts
from records import TRAIN_CONFIG, evidence, number, record, run_facts


@pytest.fixture
def runs(tmp_path):
    return run_facts(tmp_path / "a"), run_facts(tmp_path / "b")


def rows_of(compared):
    return {row[0].replace(" ", "_"): row for row in compared.rows}


def changed(facts, step, numbers, **config):
    records = dict(facts.records) | {step: record(step, numbers, facts.folders[step], **config)}
    return RunFacts(facts.manifest, facts.plan, records, (), Ledger.of(records), facts.folders)


def better_scores(facts, factor):
    path = facts.folders["evaluate"] / "per_document.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(r | {"bits": r["bits"] * factor(i)}) + "\n" for i, r in enumerate(rows)))
    found = artefacts_of(facts.folders["evaluate"])
    return {"artefacts": found, "output_sha256": hash_artefacts(found)}


def test_the_same_run_twice_has_no_difference(runs):
    compared = compare_runs(*runs)
    conclusions = {row[4] for row in compared.rows}
    assert conclusions == {"equal"}
    page = to_html(compared.report, compared.sources)
    assert "Every choice of every step is the same" in page


def test_a_paired_gain_is_found_with_its_effect_and_documents(runs):
    a, b = runs
    better_scores(b, lambda i: 0.97 + 0.001 * (i % 3))
    numbers = tuple(
        number("evaluate.bits_per_byte", 1.27, "bit/byte", 0.031, 117) if e.id == "evaluate.bits_per_byte" else e
        for e in evidence()["evaluate"]
    )
    kept = [json.loads(line) for line in (b.folders["evaluate"] / "per_document.jsonl").read_text().splitlines()]
    b = changed(b, "evaluate", numbers)
    (b.folders["evaluate"] / "per_document.jsonl").write_text("".join(json.dumps(r) + "\n" for r in kept))
    compared = compare_runs(a, b)
    row = rows_of(compared)["evaluate.bits_per_byte"]
    assert row[4] == "b is better" and row[3].startswith("-0.03")
    difference = compared.sources.ledger["difference.evaluate.bits_per_byte"]
    assert difference.n == 117 and "effect_size" in difference.conditions and difference.interval.high < 0
    markdown = to_markdown(compared.report, compared.sources)
    assert "paired on 117" in markdown


def test_overlapping_intervals_are_no_evidence_of_a_difference(runs):
    a, b = runs
    numbers = tuple(
        number("serve.e2e_p99", 0.63, "s", 0.05, 60, repeats="machine") if e.id == "serve.e2e_p99" else e
        for e in evidence()["serve"]
    )
    assert rows_of(compare_runs(a, changed(b, "serve", numbers)))["serve.e2e_p99"][4] == "no evidence of a difference"


def test_a_number_without_an_interval_is_shown_and_not_judged(runs):
    a, b = runs
    numbers = tuple(
        number("train.training_memory", 1.2e9, "byte", repeats="machine") if e.id == "train.training_memory" else e
        for e in evidence()["train"]
    )
    row = rows_of(compare_runs(a, changed(b, "train", numbers)))["train.training_memory"]
    assert row[1:3] == ("931 MB", "1.20 GB") and "not judged" in row[4]


def test_choices_that_differ_are_named_and_the_others_are_not(runs):
    a, b = runs
    config = TRAIN_CONFIG | {"clip_norm": 0.5, "new": 3}
    b = changed(b, "train", evidence()["train"], config=config, seed=4)
    page = to_markdown(compare_runs(a, b).report, compare_runs(a, b).sources)
    choices = page.partition("## Choices")[2].partition("## Evidence")[0]
    assert "train: clip\\_norm | 1 | 0.5" in choices and "train: new | — | 3" in choices and "seed | 0 | 4" in choices
    assert "weight" not in choices
