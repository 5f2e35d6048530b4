"""A report as garak 0.17.1 writes it (`attempt.py`), cut to what is read."""

import json

import pytest
from click.testing import CliRunner

from aether.spec.errors import InputError
from aether.stages.evaluate.redteam.garak import read_report
from aether.surfaces.cli.main import main


def attempt(uuid, probe, text, scores, status=2):
    turns = [{"role": "user", "content": {"text": text, "lang": "en"}}]
    outputs = [{"text": f"out {i}"} if score is not None else None for i, score in enumerate(scores)]
    return {"entry_type": "attempt", "uuid": uuid, "status": status, "probe_classname": probe, "prompt": {"turns": turns, "notes": {}},
            "outputs": outputs, "detector_results": {"d.One": scores}, "goal": "g"}  # fmt: skip


@pytest.fixture
def report(tmp_path):
    rows = [{"entry_type": "start_run setup", "run.eval_threshold": 0.7}, {"entry_type": "init"},
            attempt("a", "dan.Dan", "p1", [0.0, None]), attempt("a", "dan.Dan", "p1", [0.0, None], status=1),
            attempt("b", "dan.Dan", "p2", [0.6, 0.9]), attempt("c", "encoding.Base64", "p3", [1.0])]  # fmt: skip
    path = tmp_path / "x.report.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_finished_attempts_become_items_by_the_report_s_own_threshold(report):
    items = read_report(report)
    assert [(item.tags["attack"], item.values["detector"]) for item in items] == [
        ("dan.Dan", 0.0), ("dan.Dan", 0.0), ("dan.Dan", 1.0), ("encoding.Base64", 1.0)]  # fmt: skip
    assert (
        len({item.cluster for item in items}) == 3 and items[0].prompt == "p1" and items[3].tags["family"] == "encoding"
    )


def test_a_report_gets_intervals_and_a_page(report, tmp_path):
    done = CliRunner().invoke(
        main, ["redteam", str(report), "--out", str(tmp_path / "out"), "--json", "--gate", "attack_success <= 1 %"]
    )
    said = json.loads(done.stdout)
    assert done.exit_code == 5 and said["by_attack"] == {"encoding.Base64": 1.0, "dan.Dan": pytest.approx(1 / 3)}
    seen = said["rates"]["attack_success"]["seen"]
    assert seen["value"] == 0.5 and seen["interval"]["low"] < 0.3 and (tmp_path / "out" / "report.html").exists()


def test_other_files_are_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"entry_type": "init"}\n')
    with pytest.raises(InputError, match="no finished attempt"):
        read_report(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text("{")
    with pytest.raises(InputError, match="line 1"):
        read_report(tmp_path / "a.jsonl")
