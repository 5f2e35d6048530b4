"""Hard bounds: what is refused before anything runs, with its arithmetic, and what is let through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_plans import toy_machine

from aether.planning.feasibility import refuse_impossible
from aether.policy.brief_file import to_brief


def refused(machine, *targets, **load):
    return refuse_impossible(to_brief({"targets": list(targets), "load": load}, "test"), machine)


def test_seven_billion_parameters_in_ten_minutes_on_two_cores(machine):
    found = refused(machine, "parameters >= 7 B", "build_time <= 10 min")
    assert {r.binding for r in found} == {"memory", "arithmetic"}
    tightest = found[0]
    assert tightest.binding == "arithmetic"
    assert "6 FLOP x 7 B parameters x 7 B tokens" in tightest.arithmetic
    assert "400 GFLOP/s" in tightest.arithmetic
    assert tightest.best == pytest.approx((550 * 4e11 / 6) ** 0.5)
    assert {r.nearest for r in found} == {tightest.nearest}
    assert refused(machine, f"parameters >= {tightest.best * 0.99}", "build_time <= 10 min") == ()


@pytest.mark.parametrize("metric", ["ttft_p99", "e2e_p99"])
def test_a_p99_of_one_millisecond(machine, metric):
    (found,) = refused(machine, f"{metric} <= 1 ms")
    assert found.binding == "overhead of a step"
    assert found.best > 1e-3
    assert "smallest decoder" in found.arithmetic or "layers" in found.arithmetic
    assert refused(machine, f"{metric} <= {found.best * 1.05} s") == ()


@pytest.mark.parametrize(
    ("targets", "binding"),
    [
        (["parameters >= 10 M", "size_on_disk <= 1 MB"], "contradiction with size_on_disk"),
        (["parameters >= 10 M", "serving_memory <= 1 MB"], "contradiction with serving_memory"),
        (["parameters >= 100 B"], "disk"),
        (["parameters >= 3 B"], "memory"),
        (["parameters >= 100 M", "training_memory <= 1 GB"], "memory"),
        (["next_token_accuracy >= 140 %"], "definition"),
        (["itl_p50 <= 50 us"], "overhead of a step"),
        (["throughput >= 1e9 token/s"], "overhead of a step"),
        (["build_time <= 5 s"], "load test"),
        (["build_cost <= 0.0001 USD"], "load test"),
        (["serving_memory <= 10 MB"], "runtime"),
    ],
)
def test_each_bound_has_its_name(machine, targets, binding):
    found = refused(machine, *targets)
    assert binding in {r.binding for r in found}
    for one in found:
        assert one.arithmetic and one.terms and one.nearest.startswith("The nearest")
        assert all(term.source for term in one.terms)


def test_a_load_that_nothing_can_serve(machine):
    (found,) = refused(machine, "ttft_p99 <= 1 s", requests_per_s=1e6, output_tokens=100)
    assert found.binding == "load"


def test_what_is_unknown_refuses_nothing(machine):
    bare = machine.model_copy(
        update={
            "launch_overhead_s": None,
            "served_ttft_p50_s": None,
            "runtime_memory_bytes": None,
            "price_usd_per_hour": None,
        }
    )
    assert (
        refused(
            bare, "ttft_p99 <= 1 us", "throughput >= 1e9 token/s", "serving_memory <= 1 MB", "build_cost <= 1e-9 USD"
        )
        == ()
    )


@given(st.floats(1e3, 1e12), st.floats(60, 1e6))
def test_a_refusal_of_parameters_is_monotone(parameters, seconds):
    machine = toy_machine()
    targets = [f"parameters >= {parameters}", f"build_time <= {seconds} s"]
    found = refused(machine, *targets)
    if found:
        assert refused(machine, f"parameters >= {parameters * 2}", targets[1])
        assert found[0].best < parameters
