"""The machine as data, and the roofline arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.hardware.machine import Machine, memory_limit_bytes, usable_cores
from aether.hardware.roofline import Work, least_time, ridge_flops_per_byte
from aether.spec.errors import DamagedRecord


def machine(**changes) -> Machine:
    given = {
        "name": "toy",
        "cpu": "toy",
        "cores": 2,
        "threads": 2,
        "memory_bytes": 8 * 10**9,
        "memory_available_bytes": 6 * 10**9,
        "disk_free_bytes": 10**10,
        "matmul_flops_per_s": {"float32": 1e11, "bfloat16": 2e11, "int8": 8e11},
        "memory_bandwidth_bytes_per_s": 2e10,
        "source": "a test",
    }
    return Machine(**(given | changes))


def test_round_trip_and_damage(tmp_path):
    original = machine(matmul_by_size={"float32": {"128": 1e10, "1024": 1e11}})
    original.write(tmp_path)
    assert Machine.read(tmp_path) == original
    (tmp_path / "machine.json").write_text("{")
    with pytest.raises(DamagedRecord, match="probe again"):
        Machine.read(tmp_path)
    with pytest.raises(DamagedRecord):
        Machine.read(tmp_path / "nowhere")


def test_training_takes_no_int8():
    assert machine().fastest_dtype("train") == "bfloat16"
    assert machine().fastest_dtype("serve") == "int8"


def test_rate_near_takes_the_nearest_size():
    toy = machine(matmul_by_size={"float32": {"128": 1e10, "1024": 1e11}})
    assert toy.rate_near("float32", 150) == 1e10
    assert toy.rate_near("float32", 4096) == 1e11
    assert toy.rate_near("bfloat16", 64) == 2e11


def test_this_process_has_cores_and_memory():
    assert usable_cores() >= 1
    assert memory_limit_bytes(10**9) <= 10**9


def test_ridge():
    bound = least_time(Work(flops=2e11, moved_bytes=2e10 * 0.5), machine())
    assert (bound.time_s, bound.binding, bound.dtype) == (1.0, "arithmetic", "bfloat16")
    assert ridge_flops_per_byte(machine(), "float32") == 5.0


@given(st.floats(0, 1e18), st.floats(0, 1e15), st.floats(0, 1e3))
def test_the_roofline_is_an_upper_envelope(flops, moved, overhead):
    bound = least_time(Work(flops=flops, moved_bytes=moved, overhead_s=overhead), machine())
    assert bound.time_s == max(bound.arithmetic_s, bound.bandwidth_s) + overhead
    largest = {"arithmetic": bound.arithmetic_s, "bandwidth": bound.bandwidth_s, "overhead": overhead}
    assert largest[bound.binding] == max(largest.values())
