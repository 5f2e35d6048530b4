"""What a person who knows the field would stumble over: near briefs that are not near, wrong words said too late, silent exports."""

import pytest

from aether.counsel.intake import check
from aether.planning.exports.training import expressible
from aether.planning.search.decide import search
from aether.planning.search.nearby import nearest
from aether.planning.search.problem import problem_of
from aether.planning.search.question import answer
from aether.planning.search.reasons import degrees
from aether.planning.search.serving import ServingSearch
from aether.planning.training.setup import TrainingSetup
from aether.policy.brief_file import to_brief
from aether.spec.errors import InputError, NeedsInput


def brief(**changed):
    raw = {
        "targets": ["ttft_p99 <= 2 s"],
        "model": {"name": "llama-3.1-8b", "task": "serve"},
        "hardware": {"name": "H100-SXM-80GB", "count": 8},
        "load": {"requests_per_s": 2, "prompt_tokens": 500, "output_tokens": 100},
    }
    return to_brief(raw | changed, "test")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"model": {"name": "llama-9b"}}, "model"),
        ({"hardware": {"name": "H900"}}, "hardware.name"),
        ({"model": {"name": "llama-3.1-8b", "task": "serve", "formats": ["fp3"]}}, "model.formats"),
        ({"targets": ["ttft_p50 <= 2 s", "ttft_p99 <= 1 s"]}, "targets.ttft_p50"),
        ({"targets": ["ttft_p50 <= 2 s", "e2e_p50 <= 1 s"]}, "targets.ttft_p50"),
        ({"model": {"name": "llama-3.1-8b", "task": "serve", "tokens": 1e9}}, "model.tokens"),
        ({"model": {"name": "llama-3.1-8b", "task": "pretrain", "method": "lora"}, "targets": []}, "model.method"),
    ],
)
def test_what_is_wrong_is_said_before_what_is_missing_is_asked(changed, field):
    raw = {"load": {"requests_per_s": 2}} | changed
    with pytest.raises(InputError) as error:
        check(to_brief(raw, "test") if "model" in changed else brief(**changed))
    assert error.value.details["field"] == field


def test_what_is_only_missing_is_asked():
    with pytest.raises(NeedsInput):
        check(to_brief({"model": {"name": "llama-3.1-8b"}}, "test"))


def test_three_devices_take_a_pipeline_of_three():
    found = search(
        problem_of(
            brief(
                model={"name": "llama-3.1-70b", "task": "serve"},
                hardware={"name": "H100-SXM-80GB", "count": 3},
                targets=["ttft_p99 <= 2 s", "itl_p99 <= 80 ms"],
                load={"requests_per_s": 2, "prompt_tokens": 1000, "output_tokens": 300},
            )
        )
    )
    assert found.feasible and "pp3" in found.options[0].layout and found.options[0].precision == "bf16"
    assert degrees((1, 2, 4, 8), 6) == (1, 2, 3, 4, 6)


def test_the_nearest_target_is_what_the_fastest_layout_keeps():
    tight = brief(model={"name": "llama-3.1-70b", "task": "serve"}, targets=["itl_p99 <= 1 ms"])
    problem = problem_of(tight)
    offered = {one.axis: one for one in nearest(problem, search(problem))}
    asked = float(offered["target"].settings[0].split("<=")[1].split()[0])
    free = search(problem_of(brief(model={"name": "llama-3.1-70b", "task": "serve"}, targets=["ttft_p99 <= 5 s"])))
    assert asked < 1e3 * min(e.value for o in free.options if (e := o.estimate("itl_p99")) and e.value)


def test_devices_without_a_price_do_not_push_those_with_one_out():
    hardware = {"name": ["H100-SXM-80GB", "MI300X"], "count": 8}
    found = search(problem_of(brief(hardware=hardware)))
    known = {o.device for o in found.options if (e := o.estimate("quality_loss")) and e.value is not None}
    assert known == {"H100-SXM-80GB", "MI300X"} and found.options[0].device == "H100-SXM-80GB"


@pytest.mark.parametrize(("method", "device", "count"), [("qlora", "RTX-4090", 1), ("lora", "H100-SXM-80GB", 8)])
def test_adapters_are_offered_where_a_tool_trains_them(method, device, count):
    model = {"name": "llama-3.1-8b", "task": "finetune", "method": method, "tokens": 1e8, "sequence_tokens": 2048}
    found = search(
        problem_of(brief(model=model, targets=["build_time <= 20 d"], hardware={"name": device, "count": count}))
    )
    assert found.options and all(expressible(TrainingSetup.model_validate(o.setup)) for o in found.options)


def test_as_cheap_and_simpler_is_decided():
    model = {"name": "llama-3.1-8b", "task": "pretrain", "tokens": 1e12, "sequence_tokens": 8192, "formats": ["bf16"]}
    found = search(
        problem_of(brief(model=model, targets=["build_time <= 14 d"], hardware={"name": "H100-SXM-80GB", "count": 256}))
    )
    first, rest = found.options[0], found.options[1:]
    costs = [e.value for o in (first, *rest) if (e := o.estimate("build_cost")) and e.value and o.standing == "met"]
    assert first.complexity == "low" and costs[0] <= 1.05 * min(costs)


def test_four_bits_of_the_vendor_stay_with_the_vendor():
    found = search(problem_of(brief(hardware={"name": "MI355X", "count": 8})))
    assert all(o.precision != "nvfp4" for o in found.options)


@pytest.mark.parametrize("rate", [1, 20])
def test_what_the_steady_estimate_rules_out_is_not_feasible_when_it_is_simulated(rate):
    """And what is feasible is never ruled out: from far too tight to loose."""
    seen = set()
    for target in ("itl_p99 <= 0.5 ms", "itl_p99 <= 4 ms", "ttft_p99 <= 300 ms"):
        load = {"requests_per_s": rate, "prompt_tokens": 500, "output_tokens": 100}
        problem = problem_of(brief(targets=[target], load=load))
        promising, found = ServingSearch(problem).promising(), search(problem)
        assert promising or not found.feasible or found.shortfalls
        seen.add(promising)
    assert seen == {True, False}


def test_devices_that_divide_badly_leave_a_few_idle_and_pay_for_them():
    given = ["tokens=15T", "price_usd_per_hour=2"]
    found = answer("train", "llama-3.1-405b", "H100-SXM-80GB", 100_000, given)
    numbers = {e.metric: e.value for e in found.estimates}
    assert found.setup["devices"] == 98_304 == 3 * 2**15
    assert any("1696 of 100000 devices stay idle" in note for note in found.notes)
    hours = numbers["run_time"] * 100_000 / 3600
    assert numbers["gpu_hours"] == pytest.approx(hours) and numbers["money"] == pytest.approx(2 * hours)
    assert numbers["mfu"] > 0.3


def test_devices_that_divide_well_are_all_used():
    found = answer("train", "llama-3.1-405b", "H100-SXM-80GB", 16_384, [])
    assert found.setup["devices"] == 16_384 and not any("idle" in note for note in found.notes)


def test_devices_that_are_more_than_one_replica_takes_are_answered_with_the_mend():
    with pytest.raises(
        InputError, match=r"tp = 64: it must divide 32 attention heads; 64 devices are one replica here"
    ):
        answer("memory", "llama-3.1-8b", "H100-SXM-80GB", 64, ())
