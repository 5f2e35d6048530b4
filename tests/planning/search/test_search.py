"""The search: everything is accounted for, in time, and what cannot be is refused with what can."""

import functools
import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aether.planning.search.decide import merit_of, plan_of, rank, search
from aether.planning.search.nearby import counts_of, nearest
from aether.planning.search.pareto import dominates
from aether.planning.search.problem import problem_of
from aether.planning.search.standing import likely
from aether.policy.brief_file import apply_settings, to_brief
from aether.spec.errors import InputError

BIG = {
    "targets": ["ttft_p99 <= 500 ms", "itl_p99 <= 60 ms"],
    "model": {"name": "llama-3.1-70b", "task": "serve"},
    "hardware": {"name": ["H100-SXM-80GB", "H200-SXM-141GB", "B200"], "count": 64},
    "load": {"requests_per_s": 40, "prompt_tokens": 1000, "output_tokens": 300},
}
PRETRAIN = {
    "targets": ["build_time <= 30 d"],
    "model": {"name": "llama-3.1-70b", "task": "pretrain", "tokens": "1 T"},
    "hardware": {"name": ["H100-SXM-80GB", "B200"], "count": 512},
}
SMALL = {
    "targets": ["ttft_p99 <= 2 s"],
    "model": {"name": "llama-3.1-8b", "task": "serve"},
    "hardware": {"name": "L40", "count": 2},
    "load": {"requests_per_s": 1, "prompt_tokens": 500, "output_tokens": 100},
}
TOO_LARGE = SMALL | {"model": {"name": "llama-3.1-70b", "task": "serve"}, "hardware": {"name": "L4", "count": 1}}
TOO_FAST = SMALL | {"targets": ["ttft_p99 <= 1 ms"]}
A_DAY = {
    "targets": ["build_time <= 1 d"],
    "model": {"name": "llama-3.1-405b", "task": "pretrain", "tokens": "15 T"},
    "hardware": {"name": "H100-SXM-80GB", "count": 8},
}


def problem(raw):
    return problem_of(to_brief(raw, "test"))


@functools.cache
def found_in(text):
    """The search of a brief in JSON: made once for all tests."""
    return search(problem(json.loads(text)))


def found_for(raw):
    return found_in(json.dumps(raw))


@pytest.mark.parametrize("raw", [BIG, PRETRAIN], ids=["serve", "pretrain"])
def test_thousands_of_layouts_in_two_seconds(raw):
    wanted = problem(raw)
    assert found_for(raw).considered > 10_000 and found_for(raw).feasible
    started = time.process_time()
    search(wanted)
    # Processor time; measured at about one second, the half more is for a busy machine.
    assert time.process_time() - started < 3.0


@pytest.mark.parametrize("raw", [BIG, PRETRAIN, SMALL, TOO_LARGE, TOO_FAST, A_DAY])
def test_every_layout_that_is_not_offered_has_a_reason(raw):
    found = found_for(raw)
    assert found.pruned.total + len(found.options) == found.considered
    assert all(left.count > 0 and left.meaning and left.example for left in found.pruned.listed())


@pytest.mark.parametrize("raw", [BIG, PRETRAIN, SMALL])
def test_no_option_is_beaten_by_another(raw):
    found = found_for(raw)
    merits = [merit_of(option) for option in found.options]
    assert merits and not any(dominates(one, other) for one in merits for other in merits)


def test_the_decision_is_known_where_it_can_be_and_unknown_stays_unknown():
    wanted = problem(SMALL)
    plan = plan_of(wanted, found_for(SMALL))
    loss = plan.decision.estimate("quality_loss")
    assert loss is not None and loss.value is not None and loss.value <= wanted.brief.quality_loss_bound
    cost = plan.decision.estimate("cost_per_million_tokens")
    assert cost is not None and cost.value is None, "nobody gave a price of an L40"
    assert all(estimate.value is None and estimate.protocol for estimate in plan.unknown)


@pytest.mark.parametrize(
    ("raw", "subject", "factor"),
    [(TOO_LARGE, "memory", 1.3), (TOO_FAST, "ttft_p99", 3.0), (A_DAY, "build_time", 10_000.0)],
    ids=["70B on an L4", "1 ms", "405B in a day"],
)
def test_the_impossible_is_refused_and_the_nearest_is_feasible(raw, subject, factor):
    wanted = problem(raw)
    found = found_for(raw)
    short = {s.subject: s for s in found.shortfalls}
    assert short[subject].verdict == "impossible" and short[subject].factor > factor
    near = nearest(wanted, found)
    assert near
    for one in near:
        again = search(problem(apply_settings(raw, one.settings)))
        assert again.feasible and not again.shortfalls, one.change


MORE_HELPS = ("llama-3.1-70b", "H100-SXM-80GB", 3, 50)


@example(*MORE_HELPS)
@given(
    model=st.sampled_from(["llama-3.1-8b", "llama-3.1-70b", "qwen3-30b-a3b"]),
    name=st.sampled_from(["L4", "H100-SXM-80GB", "MI300X", "GB200"]),
    count=st.integers(1, 9),
    rate=st.sampled_from([2, 50, 400]),
)
@settings(max_examples=6, deadline=None, derandomize=True)
def test_a_count_that_is_offered_can_be_had_and_is_feasible_and_a_smaller_one_is_not(model, name, count, rate):
    load = {"requests_per_s": rate, "prompt_tokens": 500, "output_tokens": 100}
    raw = SMALL | {"model": {"name": model, "task": "serve"}, "hardware": {"name": name, "count": count}, "load": load}
    wanted = problem(raw)
    found = search(wanted)
    near = nearest(wanted, found) if found.shortfalls else ()
    offered = next((one for one in near if one.axis == "count"), None)
    if offered is None:
        # The example below must have one, so that the rest is not idle.
        assert (model, name, count, rate) != MORE_HELPS
        return
    more = int(offered.settings[0].removeprefix("hardware.count="))
    node = wanted.hardware[0].device.devices_per_node or 1
    assert more > count and (more % node == 0 or (more & (more - 1) == 0 and more < node))
    again = search(problem(apply_settings(raw, offered.settings)))
    assert again.feasible and not again.shortfalls and again.options[0].name == offered.decided
    between = [n for n in counts_of(wanted) if count < n < more]
    if between:
        less = search(problem(apply_settings(raw, [f"hardware.count={between[-1]}"])))
        assert less.shortfalls or not less.feasible


def test_more_devices_for_a_run_whose_batch_was_left_open_come_with_a_larger_batch():
    raw = PRETRAIN | {
        "model": PRETRAIN["model"] | {"tokens": "30 T"},
        "hardware": {"name": "H100-SXM-80GB", "count": 512},
    }
    wanted = problem(raw)
    near = {one.axis: one for one in nearest(wanted, search(wanted))}
    assert "count" not in near and "model.batch_tokens=" in near["several"].settings[1]
    again = search(problem(apply_settings(raw, near["several"].settings)))
    assert again.feasible and not again.shortfalls


def test_a_count_that_no_layout_fills_is_met_with_spares():
    raw = {
        "targets": ["build_time <= 90 d"],
        "model": {"name": "llama-3.1-405b", "task": "pretrain", "tokens": "60 T", "batch_tokens": 2**27, "sequence_tokens": 8192},
        "hardware": {"name": "GB200", "count": 100_000},
    }  # fmt: skip
    wanted = problem(raw)
    found = search(wanted)
    assert found.shortfalls[0].subject == "layout" and "do not multiply" in found.shortfalls[0].arithmetic
    spares = next(one for one in nearest(wanted, found) if one.axis == "count")
    count = int(spares.settings[0].removeprefix("hardware.count="))
    assert 50_000 < count < 100_000 and count % 72 == 0
    assert search(problem(apply_settings(raw, spares.settings))).feasible


@pytest.mark.parametrize(("model", "engines"), [("mamba-2.8b", {"vllm", "sglang"}), ("rwkv-6-7b", set())])
def test_a_model_without_attention_is_offered_only_on_engines_that_have_it(model, engines):
    found = found_for(SMALL | {"model": {"name": model, "task": "serve"}, "targets": ["ttft_p99 <= 20 s"]})
    assert {option.software for option in found.options} <= engines and bool(found.options) == bool(engines)
    assert all("kv8" not in option.precision for option in found.options)
    if not engines:
        assert "engines" in found.shortfalls[0].arithmetic


def test_an_interval_is_as_wide_as_little_of_the_setup_was_measured():
    def latency(name):
        found = found_for(SMALL | {"hardware": {"name": name, "count": 1}, "targets": ["ttft_p99 <= 20 s"]})
        estimate = next(o for o in found.options if o.software == "vllm").estimate("ttft_p99")
        return estimate.interval.high / estimate.value, estimate.interval.method

    (measured, method), (elsewhere, why) = latency("H100-SXM-80GB"), latency("MI300X")
    assert elsewhere > 1.2 * measured and "MI300X" in why and "MI300X" not in method


def test_tpus_train_with_the_framework_that_runs_on_them():
    raw = PRETRAIN | {"hardware": {"name": "TPU-v5p", "count": 1024}}
    assert {option.software for option in found_for(raw).options} == {"maxtext"}


def test_a_bounded_cost_without_a_price_is_said_to_be_unknown():
    wanted = problem(SMALL | {"targets": ["ttft_p99 <= 2 s", "cost_per_million_tokens <= 1 USD"]})
    plan = plan_of(wanted, search(wanted))
    assert plan.decision.standing == "at_risk"
    assert any("cost_per_million_tokens is asked for and not known" in change for change in plan.would_change)


def test_of_options_at_risk_those_come_first_whose_predictions_meet_the_targets():
    """e2e_p50 of the two options: 1.47 and 2.2 s."""
    raw = SMALL | {"targets": ["e2e_p50 <= 2000 ms"]}
    options = found_for(SMALL | {"targets": ["e2e_p50 <= 2500 ms"]}).options
    slow = next(o for o in options if o.estimate("e2e_p50").value > 2.0)
    assert not likely(problem(raw).targets, {e.metric: e for e in slow.estimates})
    fast = found_for(raw).options[0]
    assert fast.likely
    doubted = fast.model_copy(update={"standing": "at_risk", "complexity": "high"})
    cheaper = doubted.model_copy(update={"likely": False, "complexity": "low"})
    assert min((cheaper, doubted), key=rank) is doubted


def test_what_software_does_not_reach_is_another_verdict():
    hurried = BIG | {"hardware": {"name": "H100-SXM-80GB", "count": 4}}
    found = search(problem(hurried))
    assert {s.verdict for s in found.shortfalls} == {"out_of_reach"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (["hardware.name=no-such-device"], "hardware.name"),
        (["model.name=no-such-model"], "model"),
        (["model.formats=float3"], "model.formats"),
        (["ttft_p50 <= 3 s"], "targets.ttft_p50"),
        (["e2e_p99 <= 1 s"], "targets.ttft_p99"),
        (["build_time <= 1 d"], "targets.metric"),
    ],
)
def test_bad_input_names_field_value_and_rule(change, field):
    with pytest.raises(InputError) as caught:
        problem(apply_settings(SMALL, change))
    assert caught.value.details["field"] == field and caught.value.details["mend"]


def test_more_of_everything_is_never_worse():
    one, more = (found_for(apply_settings(SMALL, [f"hardware.count={n}"])) for n in (2, 4))
    fastest = [min(merit_of(option).speed_s for option in found.options) for found in (one, more)]
    assert fastest[1] <= fastest[0] * 1.05


def test_what_is_kept_between_searches_changes_none_of_them():
    """Kept layouts serve other loads and counts; a search until one holds finds a feasible one where the whole search does."""
    whole = found_for(SMALL)
    for rate, count in ((3, 2), (1, 4)):
        other = SMALL | {"load": SMALL["load"] | {"requests_per_s": rate}, "hardware": {"name": "L40S", "count": count}}
        search(problem(other))
    assert [one.name for one in search(problem(SMALL)).options] == [one.name for one in whole.options]
    short = search(problem(SMALL), wanted="one")
    assert short.feasible and short.options[0].standing == whole.options[0].standing
