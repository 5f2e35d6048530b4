"""Every row of what is known has a source, a date and a kind; nothing is read from outside the package."""

import pytest
from pydantic import ValidationError

from aether.knowledge.library import Device, Law, device, devices, laws, price_usd_per_hour, prices
from aether.spec.errors import InputError


@pytest.mark.parametrize("gap", [{"source": ""}, {"as_of": ""}, {"kind": ""}, {"as_of": "yesterday"}])
def test_a_row_without_its_source_does_not_load(gap):
    row = laws()["hoffmann-2022"].model_dump()
    with pytest.raises(ValidationError):
        Law.model_validate(row | gap)
    with pytest.raises(ValidationError):
        Device.model_validate(devices()["L4"].model_dump() | gap)


def test_an_unknown_device_names_the_known_ones():
    with pytest.raises(InputError, match="H200"):
        device("H300")
    assert device("H200-SXM-141GB").flops_per_s["bfloat16"] == 989e12


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("h100_sxm", "H100-SXM-80GB"),
        ("H100", "H100-SXM-80GB"),
        ("b200_sxm", "B200"),
        ("A100-SXM4-80GB", "A100-SXM-80GB"),
        ("rtx 4090", "RTX-4090"),
        ("TPU v5e", "TPU-v5e"),
        ("Ironwood", "TPU-v7"),
        ("A10G-24GB", "A10G"),
        ("gh200-480gb", "GH200-96GB"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM-80GB"),
        ("H100 SXM5 80GB", "H100-SXM-80GB"),
        ("NVIDIA A100 80GB PCIe", "A100-PCIe-80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100-PCIe-40GB"),
        ("A100-80GB", "A100-SXM-80GB"),
        ("Tesla V100-SXM2-32GB", "V100-SXM-32GB"),
        ("NVIDIA GeForce RTX 3090 Ti", "RTX-3090-Ti"),
        ("rtx3090ti", "RTX-3090-Ti"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX-6000-Ada"),
        ("AMD Instinct MI300X OAM", "MI300X"),
        ("trn2", "Trainium2"),
        ("tpuv5e", "TPU-v5e"),
    ],
)
def test_a_device_answers_to_its_other_names(spelling, name):
    assert device(spelling).name == name


@pytest.mark.parametrize(
    ("partial", "candidates"),
    [
        ("MI300", {"MI300X", "MI300A"}),
        ("RTX 6000", {"RTX-A6000", "RTX-6000-Ada", "RTX-PRO-6000"}),
        ("TPU v5", {"TPU-v5e", "TPU-v5p"}),
        ("V100 SXM", {"V100-SXM-16GB", "V100-SXM-32GB"}),
    ],
)
def test_a_name_of_several_devices_is_refused_with_them(partial, candidates):
    """Never a silent choice."""
    with pytest.raises(InputError, match="say which: ") as refusal:
        device(partial)
    assert set(str(refusal.value).split("say which: ")[1].split(", ")) == candidates


def test_every_device_is_found_under_its_name_in_any_order_of_its_words():
    """Each name and alias, its words turned round and spaced, is that device again."""
    for known in devices().values():
        for name in (known.name, *known.aliases):
            assert device(name) is known
            assert device(" ".join(reversed(name.lower().replace("_", "-").split("-")))) is known


def test_rates_are_dense_and_in_order():
    """Sparse rates are twice the dense ones: the usual trap in data sheets. MI300X is 1307, not 2615."""
    assert device("MI300X").flops_per_s["bfloat16"] == pytest.approx(1307.4e12)
    for known in devices().values():
        rates = known.flops_per_s
        sixteen = rates.get("bfloat16", rates.get("float16"))
        assert sixteen is not None, known.name
        assert sixteen >= rates.get("float32", 0.0) * 0.999, known.name
        assert rates.get("float8", sixteen) >= sixteen * 0.999, known.name
        assert 1e10 < known.memory_bandwidth_bytes_per_s < 2e13, known.name
        assert 1e10 < known.memory_bytes < 1e12, known.name
        # The ridge of the roofline, operations per byte: H20 has the least, TPU-v6e the most.
        assert 30 < sixteen / known.memory_bandwidth_bytes_per_s < 600, known.name


def test_a_row_with_an_unknown_rate_does_not_load():
    row = devices()["L4"].model_dump()
    with pytest.raises(ValidationError):
        Device.model_validate(row | {"flops_per_s": {"bf16": 1e14}})


def test_an_unread_field_must_be_one_that_the_row_gives():
    """So that the count of what was read is right."""
    row = devices()["L4"].model_dump()
    assert Device.model_validate(row | {"unread": ("power_w", "flops_per_s.int8")}).unread
    for wrong in ("power", "flops_per_s.float4", "name"):
        with pytest.raises(ValidationError, match="unread"):
            Device.model_validate(row | {"unread": (wrong,)})


def test_every_price_is_of_a_known_device():
    assert set(prices()) <= set(devices())


def test_a_price_is_the_persons_own_or_listed_or_unknown():
    assert price_usd_per_hour("h100_sxm", {}) == prices()["H100-SXM-80GB"].usd_per_hour
    assert price_usd_per_hour("H100-SXM-80GB", {"h100": 2.5}) == 2.5
    assert price_usd_per_hour("H100-SXM-80GB", {"A100": 1.0}) == prices()["H100-SXM-80GB"].usd_per_hour
    assert price_usd_per_hour("GB300", {}) is None
    with pytest.raises(InputError, match="more than 0"):
        price_usd_per_hour("GB300", {"GB300": 0.0})
    with pytest.raises(InputError, match="did you mean"):
        price_usd_per_hour("GB300", {"H300": 1.0})
