import time

import pytest
from small_brief import write_brief

from aether.running.jobs import cancel, report_of, start
from aether.spec.errors import InputError, RunBusy


def wait(run, seconds=120):
    deadline = time.monotonic() + seconds
    while (report := report_of(run)).state == "running" and time.monotonic() < deadline:
        time.sleep(0.1)
    return report


def test_a_job_leaves_its_result_beside_the_run(tmp_path):
    start(("runs", str(tmp_path)), tmp_path / "run")
    report = wait(tmp_path / "run")
    assert report.state == "ended" and report.result == {"status": "done", "runs": []}


def test_an_error_is_a_result(tmp_path):
    start(("plan", str(tmp_path / "absent.toml")), tmp_path / "run")
    assert wait(tmp_path / "run").result["status"] == "bad_input"


def test_one_job_at_a_time_and_a_cancelled_one_keeps_what_is_done(tmp_path):
    brief, run = write_brief(tmp_path), tmp_path / "run"
    start(("build", str(brief), "--out", str(run)), run)
    with pytest.raises(RunBusy, match="cancel"):
        start(("runs", str(tmp_path)), run)
    while not (run / "run.json").exists() and report_of(run).state == "running":
        time.sleep(0.05)
    report = cancel(run)
    assert report.state == "ended" and report.result["status"] == "interrupted"
    assert cancel(run) == report


def test_where_nothing_was_started(tmp_path):
    assert report_of(tmp_path).state == "none"
    with pytest.raises(InputError, match="nothing was started"):
        cancel(tmp_path)
