"""Numbers about hardware of which nothing was measured are called assumed, with wider intervals, and the answer says so."""

import math

import pytest

from aether.knowledge.library import device
from aether.planning.search.question import answer
from aether.planning.training.calibration import OTHER_MAKER, calibration


def _halfwidth(estimate):
    return math.log(estimate.interval.high / estimate.interval.low) / 2


@pytest.mark.parametrize("name", ["MI300X", "MI355X"])
def test_training_on_an_unmeasured_maker_is_assumed_and_says_so(name):
    found = answer("train", "llama-3.1-8b", name, 8, ["tokens=1e12"])
    times = [e for e in found.estimates if e.metric in ("step_time", "tokens_per_s_per_device", "mfu", "gpu_hours")]
    assert {e.kind for e in times} == {"assumed"} and "no training run" in found.notes[0]
    known = answer("train", "llama-3.1-8b", "H100-SXM-80GB", 8, [])
    assert {e.kind for e in known.estimates[:3]} == {"computed"} and "no training run" not in known.notes[0]
    assert _halfwidth(found.estimates[0]) > _halfwidth(known.estimates[0])
    assert calibration().unmeasured(device(name)) and OTHER_MAKER > 1


def test_measured_generations_of_other_makers_and_new_ones_of_nvidia_are_computed():
    assert not any(calibration().unmeasured(device(name)) for name in ("TPU-v5p", "H200-SXM-141GB", "RTX-4090"))


@pytest.mark.parametrize("name", ["MI300X", "TPU-v6e"])
def test_serving_on_a_device_without_operator_tables_is_assumed_and_says_so(name):
    found = answer("serve", "llama-3.1-8b", name, 1, [])
    by = {e.metric: e for e in found.estimates}
    assert {by[m].kind for m in ("tpot_p50", "ttft_p50", "ttft_p99", "throughput")} == {"assumed"}
    assert any("no operator was measured" in note for note in found.notes)
    assert _halfwidth(by["ttft_p99"]) >= _halfwidth(by["ttft_p50"]) * 0.999
    known = answer("serve", "llama-3.1-8b", "H100-SXM-80GB", 1, [])
    assert not known.notes and {e.kind for e in known.estimates[:4]} == {"computed"}


def test_memory_of_such_a_device_is_computed_as_anywhere():
    found = answer("memory", "llama-3.1-8b", "MI300X", 1, [])
    assert not found.notes and found.estimates[0].kind == "computed"
