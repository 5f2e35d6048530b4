import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.counsel.ablation.ablate import ablate, plan_ablation
from aether.counsel.ablation.ladder import climb, factors, rungs, scaled
from aether.counsel.ablation.search import Range, searched
from aether.counsel.ablation.vary import parse_vary
from aether.report.page import page_html, page_markdown
from aether.spec.errors import InputError
from aether.stages.train.estimate import flops
from aether.stages.train.recipe import TrainRecipe

RECIPE = {
    "name": "tiny",
    "steps": [
        {"name": "data", "stage": "data", "config": {"sources": ["python:package/json", "python:package/wsgiref", "python:package/urllib"], "vocab_size": 300}},
        {
            "name": "train", "stage": "train", "inputs": {"data": "data"},
            "config": {
                "steps": 30, "batch_sequences": 4, "validation_bytes": 4000,
                "model": {"vocab_size": 300, "hidden_size": 32, "layers": 2, "heads": 2, "kv_heads": 2, "head_size": 16, "mlp_size": 64, "context_tokens": 32},
            },
        },
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.json"
    path.write_text(json.dumps(RECIPE))
    return path


def silent(progress):
    pass


def plan_of(recipe, *varied, seeds=2, each=False, equal="flops"):
    return plan_ablation(recipe, [parse_vary(one) for one in varied], range(seeds), each, equal)


@given(st.lists(st.integers() | st.booleans() | st.none() | st.lists(st.integers(), max_size=3) | st.dictionaries(st.sampled_from("ab"), st.integers(), max_size=2), min_size=2, max_size=4, unique_by=json.dumps))  # fmt: skip
def test_values_are_read_back_as_they_were_written(values):
    settings = parse_vary("model.window=" + ",".join(json.dumps(one) for one in values))
    assert [dict(setting.values)["model.window"] for setting in settings] == values


def test_words_and_companions():
    pre, post = parse_vary("model.norm_place=pre,post+initial.zero_out=false")
    assert pre.values == (("model.norm_place", "pre"),)
    assert post.values == (("model.norm_place", "post"), ("initial.zero_out", False))
    assert post.label == "model.norm_place=post+initial.zero_out=false"
    assert len(parse_vary("optimiser.kind=adamw+optimiser.lr=0.01,adamw+optimiser.lr=0.03")) == 2


@pytest.mark.parametrize("text", ["model.norm", "model.norm=", "model.norm=rms", "model.norm=rms,rms", "=rms,layer"])
def test_a_vary_that_varies_nothing_is_refused(text):
    with pytest.raises(InputError, match="vary"):
        parse_vary(text)


def test_a_field_that_is_none_is_refused_by_name(recipe):
    with pytest.raises(InputError, match=r"model\.nrom"):
        plan_of(recipe, "model.nrom=rms,layer")


@pytest.mark.parametrize("equal", ["flops", "tokens", "steps"])
def test_variants_get_the_same_compute_to_one_update(recipe, equal):
    plan = plan_of(recipe, "model.mlp_size=64,128,96", "batch_sequences=4,2", equal=equal)
    base = plan.variants[0].recipe
    for variant in plan.variants:
        one = variant.recipe
        if equal == "flops":
            assert abs(flops(one) - flops(base)) <= flops(one) / one.steps
        elif equal == "tokens":
            assert abs(one.tokens() - base.tokens()) <= one.batch_tokens()
        else:
            assert one.steps == base.steps
    assert len(plan.variants) == 6


def test_one_field_at_a_time(recipe):
    plan = plan_of(recipe, "model.norm=rms,layer", "model.activation=swiglu,gelu,silu", each=True)
    assert [v.label for v in plan.variants] == [
        "baseline", "model.norm=layer", "model.activation=gelu", "model.activation=silu",
    ]  # fmt: skip


def test_an_ablation_trains_each_once_compares_and_calls_noise_noise(recipe, tmp_path):
    plan = plan_of(recipe, "optimiser.muon_lr=0.02,0.0+optimiser.embedding_lr=0.0+optimiser.gain_lr=0.0,0.0201")
    found, page = ablate(plan, tmp_path, silent)
    own, still, near = found.rows
    assert still.difference.conclusion == "worse" and still.difference.value > 0.5
    assert near.difference.conclusion == "no evidence of a difference"
    assert own.difference is None and own.mean is not None
    text = page_markdown(page)
    assert "no evidence of a difference" in text and page_html(page)
    record = json.loads((tmp_path / "ablation.json").read_text())
    assert len(record["trainings"]) == 6
    trained = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.jsonl")}
    again, _ = ablate(plan, tmp_path, silent)
    assert trained and trained == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.jsonl")}
    assert [r.mean for r in again.rows] == [r.mean for r in found.rows]


def test_a_training_that_breaks_is_told_and_not_compared(recipe, tmp_path):
    config = "initial.matrix_scale=0.5,1e38+initial.zero_out=false+spikes.skips_before_rewind=1+spikes.rewinds=0"
    found, page = ablate(plan_of(recipe, config), tmp_path, silent)
    assert found.rows[1].broke and found.rows[1].mean is None and found.blocks is None
    assert "broke" in page_markdown(page)


@pytest.mark.slow
def test_a_killed_ablation_goes_on_with_what_is_not_finished(recipe, tmp_path):
    command = [sys.executable, "-m", "aether", "ablate", str(recipe), "--vary", "optimiser.muon_lr=0.02,0.01", "--seeds", "2", "--out", str(tmp_path), "--json"]  # fmt: skip
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    trainings = tmp_path / "store" / "train"
    limit = time.monotonic() + 60
    while len(list(trainings.glob("*/record.json"))) < 1 and time.monotonic() < limit:
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    first = {path: path.stat().st_mtime_ns for path in trainings.glob("*/record.json")}
    assert 1 <= len(first) < 4
    ablate(plan_of(recipe, "optimiser.muon_lr=0.02,0.01"), tmp_path, silent)
    assert len(list(trainings.glob("*/record.json"))) == 4
    assert all(path.stat().st_mtime_ns == was for path, was in first.items())


def test_a_search_finds_the_better_end_and_is_compared_with_new_seeds(recipe, tmp_path):
    pytest.importorskip("optuna", reason="needs the extra search")
    found = searched(recipe, ["optimiser.muon_lr=log:0.0001:0.05"], 4, tmp_path, silent)
    assert found.finished + found.ended_early + found.broke == 4
    assert 0.0001 <= found.best["optimiser.muon_lr"] <= 0.05 and found.own == {"optimiser.muon_lr": 0.01}
    plan = plan_ablation(recipe, found.settings(), range(1, 3))
    assert [dict(v.recipe.optimiser)["muon_lr"] for v in plan.variants] == [0.01, found.best["optimiser.muon_lr"]]
    assert len(json.loads((tmp_path / "search.json").read_text())["trials"]) == 4


@pytest.mark.parametrize("text", ["optimiser.muon_lr", "a=log:0:1", "a=lin:2:1", "a=exp:1:2", "a=log:x:1"])
def test_a_range_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="write FIELD=log:LOW:HIGH"):
        Range.parse(text)


def test_sizes_keep_the_proportions_and_rungs_cost_their_budget():
    model = TrainRecipe.model_validate(RECIPE["steps"][1]["config"]).model
    grown = scaled(model, 2)
    assert (grown.heads, grown.kv_heads, grown.hidden_size, grown.layers, grown.mlp_size) == (4, 4, 64, 4, 128)
    with pytest.raises(InputError, match="sizes"):
        scaled(model, 0.1)
    base = TrainRecipe.model_validate(RECIPE["steps"][1]["config"])
    own = 6 * model.parameters() * base.tokens()
    for one in rungs(base, [1, 4], [0.5, 1, 2]):
        cost = 6 * one.recipe.model.parameters() * one.recipe.tokens()
        an_update = cost / one.recipe.steps
        assert min(abs(cost - own), abs(cost - 4 * own)) <= an_update / 2 + 1


@pytest.mark.parametrize("text", ["", "0.5,0", "1,1", "a", "-1,2"])
def test_factors_that_are_none_are_refused(text):
    with pytest.raises(InputError, match="budgets"):
        factors(text, "budgets")


@pytest.mark.slow
def test_a_ladder_is_trained_fitted_and_checked_on_a_training_that_was_predicted_before(recipe, tmp_path):
    found = climb(recipe, [0.5, 1, 2], [0.5, 1, 1.5], 1.5, tmp_path, silent)
    assert len(found.trained) == 9 and found.held.measured.loss is not None
    said = json.loads((tmp_path / "prediction.json").read_text())
    record = tmp_path / "store" / "train" / found.held.measured.fingerprint[:16] / "record.json"
    assert (tmp_path / "prediction.json").stat().st_mtime_ns < record.stat().st_mtime_ns
    assert said["loss"]["interval"]["low"] < said["loss"]["value"] < said["loss"]["interval"]["high"]
    assert (tmp_path / "scaling.svg").read_text().startswith("<svg")
    assert json.loads((tmp_path / "scaling.json").read_text())["held"]["inside"] == found.held.inside
