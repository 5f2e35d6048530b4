"""Every row of what is known has a source, a date and a kind; nothing is read from outside the package."""

import pytest
from pydantic import ValidationError

from aether.knowledge.library import Device, Law, constants, device, devices, laws
from aether.spec.errors import InputError


def test_every_row_is_sourced():
    for row in (*laws().values(), *constants().values(), *devices().values()):
        assert len(row.source) >= 10
        assert row.as_of
        assert row.kind in ("cited", "assumed")


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
