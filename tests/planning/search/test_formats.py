"""What a device cannot multiply, and what a layout that was asked for does not hold, is said."""

import pytest

from aether.knowledge.library import device
from aether.planning.search.question import answer
from aether.planning.search.training_space import lacks
from aether.planning.serving.efficiency import generation
from aether.spec.errors import InputError


@pytest.mark.parametrize(
    ("name", "precision", "missing"),
    [
        ("A100", "fp8", True),
        ("H100", "fp8", False),
        ("H100", "mxfp8", True),
        ("B200", "nvfp4", False),
        ("MI300X", "fp8", False),
        ("V100", "bf16", False),
    ],
)
def test_a_format_is_multiplied_where_the_data_sheet_has_its_rate(name, precision, missing):
    assert lacks(device(name), precision) is missing


@pytest.mark.parametrize("layout", [[], ["zero_stage=3"]])
def test_training_in_a_format_that_the_device_lacks_is_refused_by_its_name(layout):
    with pytest.raises(InputError, match="A100-SXM-80GB does not multiply in it"):
        answer("train", "llama-3.1-8b", "A100", 8, ["precision=fp8", *layout])


def test_a_layout_that_does_not_fit_says_so_with_the_arithmetic():
    found = answer("train", "llama-3.1-70b", "H100", 8, ["tp=8", "zero_stage=0"])
    assert (
        "this layout cannot fit: weights, gradients and optimiser states take 147.8 GiB of 80.0 GiB" in found.notes[0]
    )
    assert not any("fit" in note for note in answer("train", "llama-3.1-8b", "H100", 8, ["zero_stage=3"]).notes)


def test_a_device_without_bfloat16_is_priced_in_float16_and_says_so():
    found = answer("train", "llama-3.1-8b", "V100", 8, ["zero_stage=3", "recompute=full"])
    assert any("has no bfloat16: products are priced in float16" in note for note in found.notes)


def test_weights_of_four_bits_on_a_device_that_multiplies_sixteen():
    assert "multiplied in 16 bits" in answer("serve", "llama-3.1-8b", "A100", 1, ["precision=nvfp4"]).notes[0]
    assert not answer("serve", "llama-3.1-8b", "B200", 1, ["precision=nvfp4"]).notes


def test_an_rtx_a6000_is_an_ampere():
    assert generation(device("RTX-A6000")) == "ampere"
