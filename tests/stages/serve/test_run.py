import json

import psutil
import pytest
from tiny import make_data, make_model

from aether.spec.brief import Load
from aether.spec.errors import InputError
from aether.spec.run import StepContext
from aether.stages.serve.recipe import EngineRecipe, Saturation, ServeRecipe
from aether.stages.serve.run import read_prompts, run

RECIPE = ServeRecipe(
    engine=EngineRecipe(engine="packed", slots=4, dtype="float32"),
    load=Load(requests_per_s=20, prompt_tokens=24, output_tokens=8, requests=30),
    saturation=Saturation(clients=3, seconds=1.5),
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    data = make_data(folder / "data")
    return {"data": data, "model": make_model(data, folder / "compress", steps=2)}


def children():
    return {p.pid for p in psutil.Process().children(recursive=True)}


def test_the_stage_measures_a_real_server_and_leaves_nothing_running(inputs, tmp_path):
    told, before = [], children()
    context = StepContext("serve", tmp_path / "out", inputs, seed=0, threads=1, listener=told.append)
    evidence = {e.metric: e for e in run(RECIPE, context)}
    wanted = {f"{m}_{q}" for m in ("ttft", "itl", "e2e") for q in ("p50", "p99")}
    assert set(evidence) == wanted | {"throughput", "serving_memory", "errors", "requests"}
    assert evidence["errors"].value == 0 and evidence["requests"].value == 30
    assert 0 < evidence["ttft_p50"].value <= evidence["ttft_p99"].value <= evidence["e2e_p99"].value
    assert evidence["throughput"].interval.low <= evidence["throughput"].value and evidence["throughput"].value > 10
    assert 5e7 < evidence["serving_memory"].value < 4e9
    assert all(e.repeats == "machine" and e.id == f"serve.{e.metric}" for e in evidence.values())
    lines = [json.loads(line) for line in (tmp_path / "out" / "requests.jsonl").read_text().splitlines()]
    opened = [line for line in lines if line["phase"] == "open"]
    assert len(opened) == 30 and all(1 <= len(line["pieces_s"]) <= 8 for line in opened)
    assert {line["prompt_tokens"] for line in lines} == {24} and {line["output_tokens"] for line in lines} == {8}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["requests.jsonl", "serve.json"]
    assert json.loads((tmp_path / "out" / "serve.json").read_text())["errors"] == {}
    assert told and children() == before


def test_the_engines_are_tried_and_one_is_served_by(inputs, tmp_path):
    context = StepContext("serve", tmp_path / "out", inputs, seed=0, threads=1, listener=lambda _: None)
    recipe = RECIPE.model_copy(update={"engine": EngineRecipe(slots=4, dtype="float32")})
    evidence = {e.id: e for e in run(recipe, context)}
    tried = {i.rpartition(".")[2] for i in evidence if i.startswith("serve.throughput.")}
    assert tried == {"packed-float32", "llamacpp-float32"}
    assert all(evidence[f"serve.{m}.{label}"].value > 0 for m in ("throughput", "e2e_p50") for label in tried)
    used = evidence["serve.throughput"].conditions
    summary = json.loads((tmp_path / "out" / "serve.json").read_text())
    assert used["engine"] == summary["server"]["engine"] in ("packed", "llama.cpp")
    assert [t["engine"]["engine"] for t in summary["trials"]] == ["packed", "llama.cpp"]
    assert summary["metrics"]["throughput"]["value"] == evidence["serve.throughput"].value


def test_prompts_are_real_beginnings_of_exact_length(inputs):
    prompts = read_prompts(inputs["data"], "test", 24, 10, seed=1)
    assert len(prompts) == 10 and all(len(p["prompt"]) == 24 and p["prompt"][0] == 0 for p in prompts)
    assert prompts == read_prompts(inputs["data"], "test", 24, 10, seed=1)
    with pytest.raises(InputError, match=r"load\.prompt_tokens"):
        read_prompts(inputs["data"], "test", 10**6, 10, seed=1)


def test_a_load_beyond_the_context_is_refused_before_anything_starts(inputs, tmp_path):
    context = StepContext("serve", tmp_path, inputs, 0, 1, lambda _: None)
    recipe = RECIPE.model_copy(update={"load": Load(prompt_tokens=90, output_tokens=30)})
    with pytest.raises(InputError, match="96 tokens"):
        run(recipe, context)


def test_a_failed_load_test_still_ends_the_server(inputs, tmp_path):
    before = children()

    def interrupt(progress):
        if progress.message == "open loop":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(RECIPE, StepContext("serve", tmp_path, inputs, 0, 1, interrupt))
    assert children() == before
