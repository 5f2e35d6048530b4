"""`aether fit-scaling`: the report, both outputs, and refusals."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from aether.planning.laws import LossLaw
from aether.planning.scaling.report import report_fit
from aether.spec.errors import InputError
from aether.surfaces.cli.scaling import fit_scaling

LAW = LossLaw(E=1.7, A=400.0, B=900.0, alpha=0.34, beta=0.31)


@pytest.fixture
def points(tmp_path):
    random = np.random.default_rng(1)
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    loss = LAW.loss(n, d) * np.exp(0.003 * random.standard_normal(n.size))
    path = tmp_path / "points.csv"
    path.write_text(
        "parameters,tokens,loss\n"
        + "".join(f"{a!r},{b!r},{c!r}\n" for a, b, c in zip(n, d, loss, strict=True))
        .replace("np.float64(", "")
        .replace(")", "")
    )
    return path


def test_the_report_holds_coefficients_and_a_frontier_that_leaves_the_points(points):
    report = report_fit(points, resamples=15)
    values = {row.name: row for row in report.coefficients}
    assert values["E"].value == pytest.approx(1.7, abs=0.2)
    assert values["a"].interval is not None and values["a"].interval.low < 0.31 / 0.65 < values["a"].interval.high
    assert [row.extrapolated for row in report.frontier][-1]
    sizes = [row.parameters.value for row in report.frontier]
    assert sizes == sorted(sizes)  # type: ignore[type-var]


def test_warnings_for_few_points_and_for_sizes_that_vary_with_tokens(tmp_path):
    n = np.geomspace(1e7, 1e9, 9)
    d = 20 * n
    path = tmp_path / "line.csv"
    path.write_text(
        "parameters,tokens,loss\n" + "".join(f"{a},{b},{c}\n" for a, b, c in zip(n, d, LAW.loss(n, d), strict=True))
    )
    warnings = " ".join(report_fit(path, resamples=0).warnings)
    assert "9 points" in warnings and "vary together" in warnings


def test_both_outputs_of_the_command(points):
    told = CliRunner().invoke(fit_scaling, [str(points), "--resamples", "2"])
    assert told.exit_code == 0 and "alpha" in told.output and "extrapolated" in told.output
    data = json.loads(CliRunner().invoke(fit_scaling, [str(points), "--resamples", "2", "--json"]).output)
    assert data["status"] == "ok" and data["points"] == 25
    assert {row["name"] for row in data["coefficients"]} == {"E", "A", "B", "alpha", "beta", "a"}
    assert len(data["frontier"]) == 4 and data["frontier"][0]["parameters"]["interval"]["level"] == 0.8


def test_a_bad_file_is_one_sentence_with_row_column_and_value(points):
    points.write_text(points.read_text().replace("10000000.0", "ten million", 1))
    told = CliRunner().invoke(fit_scaling, [str(points), "--json"])
    assert told.exit_code == 2
    data = json.loads(told.output)
    assert data["status"] == "bad_input" and data["field"] == "points row 2 column parameters"
    assert "ten million" in data["value"]


def test_resamples_have_a_bound(points):
    with pytest.raises(InputError, match="resamples"):
        report_fit(points, resamples=-1)


def test_a_run_that_was_not_made_is_predicted_and_drawn(points, tmp_path):
    drawn = tmp_path / "fit.svg"
    words = [str(points), "--resamples", "4", "--at", "70B,1.4T", "--plot", str(drawn), "--json"]
    said = json.loads(CliRunner().invoke(fit_scaling, words).output)
    loss = said["predictions"][0]["loss"]
    assert loss["interval"]["low"] < loss["value"] < loss["interval"]["high"] and said["predictions"][0]["extrapolated"]
    assert drawn.read_text().count("<svg") == 1
    bad = CliRunner().invoke(fit_scaling, [str(points), "--at", "70B", "--json"])
    assert bad.exit_code == 2 and json.loads(bad.output)["field"] == "--at"


def test_every_number_of_the_fit_is_a_record(points):
    report = report_fit(points, resamples=15, at=["2e9,4e10"])
    records = {one.id: one for one in report.as_evidence("fit")}
    assert {f"fit.law.{row.name}" for row in report.coefficients} < records.keys()
    loss = records["fit.0.predicted.loss"]
    assert loss.value == pytest.approx(LAW.loss(2e9, 4e10), rel=0.02) and loss.conditions == {
        "parameters": 2e9,
        "tokens": 4e10,
    }
