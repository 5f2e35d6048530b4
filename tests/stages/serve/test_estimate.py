import subprocess
import sys

import pytest

from aether.models.config import DecoderConfig
from aether.spec.brief import Load
from aether.stages.serve.estimate import MachineRates, ServiceModel, choice_s, estimate, service_model, simulate
from aether.stages.serve.recipe import EngineRecipe, ServeRecipe

CONFIG = DecoderConfig(
    vocab_size=4096, hidden_size=256, layers=4, heads=4, kv_heads=2, head_size=64, mlp_size=704, context_tokens=512
)
RATES = MachineRates("bfloat16", 2e11, 2e10)


def test_a_lone_request_takes_its_steps():
    model = ServiceModel(fixed_s=0.001, weights_s=0.0, per_token_s=0.0, per_position_s=0.0, per_delivery_s=0.0)
    load = Load(requests_per_s=0.01, prompt_tokens=16, output_tokens=10, requests=20)
    for timing in simulate(load, EngineRecipe(), model, 0):
        assert timing.ttft_s == pytest.approx(0.001) and timing.e2e_s == pytest.approx(0.010)
        assert timing.output_tokens == 10


def test_waiting_grows_with_load_and_overload_is_refused():
    model = service_model(CONFIG, RATES)
    engine = EngineRecipe(slots=2, max_queue=3)

    def worst(rate):
        found = simulate(Load(requests_per_s=rate, requests=200), engine, model, 1)
        assert len(found) == 200
        return max(t.ttft_s for t in found if t.error is None), sum(t.error is not None for t in found)

    calm, busy, flooded = worst(0.5), worst(20), worst(2000)
    assert calm[0] < busy[0] and calm[1] == 0 and flooded[1] > 100


def test_every_metric_has_an_interval_around_it_and_names_its_terms():
    found = {e.metric: e for e in estimate(ServeRecipe(), CONFIG, RATES, seed=0)}
    assert set(found) == {f"{m}_{q}" for m in ("ttft", "itl", "e2e") for q in ("p50", "p99")} | {
        "throughput", "serving_memory"
    }  # fmt: skip
    for one in found.values():
        assert one.interval.low < one.value < one.interval.high and one.terms
    assert found["ttft_p50"].value <= found["ttft_p99"].value
    assert estimate(ServeRecipe(), CONFIG, RATES, seed=0) == tuple(found.values())


def test_a_slower_machine_is_predicted_slower():
    slow = {e.metric: e.value for e in estimate(ServeRecipe(), CONFIG, RATES, seed=0, slowdown=2.0)}
    fast = {e.metric: e.value for e in estimate(ServeRecipe(), CONFIG, RATES, seed=0)}
    assert slow["itl_p50"] == pytest.approx(2 * fast["itl_p50"], rel=0.2)
    assert slow["throughput"] == pytest.approx(fast["throughput"] / 2, rel=0.05)


def test_a_flood_has_no_number_but_says_what_would_settle_it():
    recipe = ServeRecipe(engine=EngineRecipe(slots=1, max_queue=0), load=Load(requests_per_s=1e9))
    found = estimate(recipe, CONFIG, RATES, seed=0)
    assert found[0].value is not None or found[0].protocol


def test_a_step_that_only_decodes_costs_less_than_one_that_reads():
    model = service_model(CONFIG, RATES)
    reading, decoding = model.step_s(5, 0, 4), model.step_s(4, 0, 4)
    assert reading - decoding > model.fixed_s - model.rows_fixed_s > 0
    assert model.scaled(2).step_s(4, 0, 4) == pytest.approx(2 * decoding)


def test_the_choice_takes_time_only_where_there_is_one():
    assert 0 < choice_s(EngineRecipe()) < 8
    assert choice_s(EngineRecipe(engine="packed", dtype="float32")) == 0


def test_planning_loads_no_torch():
    code = "import sys, aether.stages.serve.estimate, aether.stages.serve.recipe; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
