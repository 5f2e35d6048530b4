import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from aether.surfaces.cli.main import main

VOTES = Path(__file__).parents[3] / "shared" / "data" / "evalica_pairwise" / "llmfao.csv"
RNG = np.random.default_rng(0)
SMALL = "left,right,winner,who,longer\n" + "".join(
    f"{'abc'[left]},{'abc'[(left + step) % 3]},{winner},w{i % 7},{longer:.2f}\n"
    for i, (left, step, winner, longer) in enumerate(
        zip(
            RNG.integers(0, 3, 200),
            RNG.integers(1, 3, 200),
            RNG.choice(["left", "right", "tie"], 200),
            RNG.normal(0, 1, 200),
            strict=True,
        )
    )
)


def said(*words):
    done = CliRunner().invoke(main, ["votes", *map(str, words), "--json"])
    return done.exit_code, json.loads(done.output)


def test_published_votes_clustered_by_rater():
    if not VOTES.exists():
        pytest.skip("the votes are not beside this checkout")
    code, found = said(VOTES, "--rater", "worker")
    assert code == 0 and found["clusters"] == 124 and found["models"][0]["model"] == "GPT 4"
    assert found["models"][0]["points"] == pytest.approx(172.13, abs=0.01)
    assert found["models"][0]["high"] - found["models"][0]["points"] == pytest.approx(35.28 * 1.979, abs=0.1)


def test_a_page_with_ties_sides_and_covariates(tmp_path):
    (tmp_path / "v.csv").write_text(SMALL)
    _, found = said(tmp_path / "v.csv", "--rater", "who", "--covariate", "longer", "--ties", "davidson", "--side")
    assert set(found["effects"]) == {"longer", "left side"} and found["tie"] > 0
    done = CliRunner().invoke(main, ["votes", str(tmp_path / "v.csv"), "--side"])
    assert "No rater is named" in done.output and "left side" in done.output


@pytest.mark.parametrize(
    ("text", "words", "told"),
    [
        ("left,right\n", (), "no vote"),
        ("left,right\na,b\n", (), "no column winner"),
        (SMALL, ("--rater", "zz"), "no column zz"),
        (SMALL, ("--covariate", "who"), "a number in every row"),
        (SMALL.replace("tie", "draw"), (), "left, right or tie"),
    ],
)
def test_bad_votes_are_one_sentence(tmp_path, text, words, told):
    (tmp_path / "v.csv").write_text(text)
    code, found = said(tmp_path / "v.csv", *words)
    assert code == 2 and told in found["message"]
