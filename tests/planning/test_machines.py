"""The machine that a brief means."""

import pytest

from aether.planning.feasibility import refuse_impossible
from aether.planning.machines import machine_of
from aether.policy.brief_file import to_brief
from aether.spec.errors import InputError


def test_this_machine_takes_the_briefs_price(machine):
    assert machine_of(to_brief({}, "x"), machine) == machine
    priced = to_brief({"hardware": {"name": "this-machine", "price_usd_per_hour": 3}}, "x")
    assert machine_of(priced, machine).price_usd_per_hour == 3


def test_a_named_device_is_its_data_sheet(machine):
    raw = {"hardware": {"name": "H200-SXM-141GB", "count": 2}, "targets": ["parameters >= 7 B", "build_time <= 10 min"]}
    found = machine_of(to_brief(raw, "x"), machine)
    assert found.peak_flops_per_s() == 2 * 989e12
    assert found.kind == "cited" and "as of" in found.source
    assert found.launch_overhead_s is None
    (refusal,) = refuse_impossible(to_brief(raw, "x"), found)
    assert refusal.binding == "arithmetic"


def test_an_unknown_name_lists_the_known(machine):
    with pytest.raises(InputError, match="this-machine"):
        machine_of(to_brief({"hardware": {"name": "H300"}}, "x"), machine)
