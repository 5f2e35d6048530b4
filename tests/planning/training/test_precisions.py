"""What a low-precision recipe leaves wide, what casts move, and what a power limit costs."""

import math

import pytest
from training_setups import llama_8b, setup

from aether.knowledge.library import device
from aether.knowledge.models_library import published_model
from aether.models.accounting import flops_per_token
from aether.planning.training.calibration import calibration
from aether.planning.training.estimate import step_parts
from aether.planning.training.operators import Product, layer_groups, layer_work
from aether.planning.training.precisions import WIDE_SHARE, cast_bytes, computed_in, is_hybrid
from aether.planning.training.setup import Layout, Software
from aether.planning.training.step import power_margin
from aether.planning.training.work import training_work
from aether.spec.architecture import Experts

SUPER = published_model("nemotron-3-super-120b-a12b").architecture
B200 = device("B200")


def run(arch, precision, **changes):
    given = {"device": "B200", "devices": 64, "global_batch": 512, "seq_tokens": 8192, "precision": precision}
    ep = 64 if arch is SUPER else 1
    return setup(arch, **{**given, "layout": Layout(dp=64, ep=ep, zero_stage=1), **changes})


def shares(setting, part, ahead=False):
    return dict(computed_in(setting, Product(1, 1, 1, part=part), ahead, is_hybrid(setting)))


def test_a_hybrid_keeps_in_nvfp4_what_its_paper_says_wide():
    nvfp4 = run(SUPER, "nvfp4")
    assert shares(nvfp4, "attention") == shares(nvfp4, "latent") == {"bf16": 1.0}
    assert shares(nvfp4, "experts") == {"nvfp4": 1 - WIDE_SHARE, "bf16": WIDE_SHARE}
    assert shares(nvfp4, "recurrence_out") == {"mxfp8": 1 - WIDE_SHARE, "bf16": WIDE_SHARE}
    assert shares(nvfp4, "experts", ahead=True) == shares(run(SUPER, "mxfp8"), "mlp", ahead=True) == {"bf16": 1.0}


def test_other_models_and_wider_formats_keep_nothing_apart():
    assert shares(run(llama_8b(), "nvfp4"), "attention") == {"nvfp4": 1.0}
    assert shares(run(SUPER, "mxfp8"), "attention") == {"mxfp8": 1.0}
    assert shares(run(SUPER, "bf16"), "experts", ahead=True) == {"bf16": 1.0}


def test_wide_parts_cost_the_time_of_bfloat16_and_no_cast():
    wide, narrow = (training_work(run(SUPER, p), B200, "none") for p in ("bf16", "nvfp4"))
    assert narrow.linear16_s > wide.linear16_s
    # Were all of it in NVFP4, experts would take a quarter of the time: 9,000 TFLOP/s for 2,250.
    assert narrow.expert_s == pytest.approx(wide.expert_s * (1 - WIDE_SHARE) / 4 * _own(SUPER), rel=0.01)
    assert wide.cast_s == 0.0


def _own(arch):
    """Share of the routed experts' work that is not that of prediction layers."""
    setting = run(arch, "bf16")
    of = [g.count * sum(p.flops for p in layer_work(setting, g).expert_products) for g in layer_groups(setting)]
    return sum(of[: len(arch.groups)]) / sum(of)


def test_casts_are_counted_by_hand():
    """A product of 10 x 30 by 30 x 20: 300 inputs and 200 gradients."""
    product = Product(10, 20, 30)
    mxfp8, nvfp4 = run(llama_8b(), "mxfp8"), run(llama_8b(), "nvfp4")
    assert cast_bytes(mxfp8, "mxfp8", product, 0.0, True) == pytest.approx(500 * (2 + 2 * 1.03))
    assert cast_bytes(nvfp4, "nvfp4", product, 0.0, True) == pytest.approx(500 * (4 + 2 * 0.56))
    assert cast_bytes(mxfp8, "mxfp8", product, 1.0, False) == pytest.approx((600 + 200) * (2 + 1.03))
    old, new = (run(llama_8b(), "fp8", software=Software(released=when)) for when in ("2024-07", "2025-09"))
    assert cast_bytes(new, "fp8", product, 0.0, True) == cast_bytes(old, "fp8", product, 0.0, True) + 2 * 500


def test_products_of_latent_experts_have_the_flops_of_the_accounting():
    setting = run(
        SUPER.model_copy(update={"multi_token_layers": 0}), "bf16", devices=1, layout=Layout(), global_batch=8
    )
    counted = 0.0
    for group in layer_groups(setting):
        work = layer_work(setting, group)
        products = sum(p.flops for p in (*work.products, *work.expert_products))
        counted += group.count * (products + work.attention_flops + work.scan_flops)
    whole = flops_per_token(setting.architecture, 8192)
    routers = 2 * SUPER.hidden_size * sum(g.count * g.mlp.count for g in SUPER.groups if isinstance(g.mlp, Experts))
    assert counted / 8192 == pytest.approx(whole.total - whole.head - routers, rel=0.01)


def test_a_card_of_less_power_reaches_less_of_its_data_sheet():
    assert power_margin(device("H100-SXM-80GB")) == pytest.approx(0.0, abs=0.01)
    assert power_margin(device("H100-PCIe-80GB")) == pytest.approx(math.log(350 / 756.5 / (700 / 989)), abs=0.01)
    assert power_margin(device("GB300")) == pytest.approx(math.log(1400 / 1200), abs=0.01)
    assert power_margin(device("TPU-v5e")) == 0.0
    assert power_margin(device("H20")) == 0.2  # a chip that is cut down has more power than it can use
    weak = device("H100-SXM-80GB").model_copy(update={"power_w": 350.0})
    one = run(llama_8b(), "bf16", device="H100-SXM-80GB", devices=8, layout=Layout(dp=8, zero_stage=3), global_batch=64)
    parts = [step_parts(one, card)["matrix products"] for card in (device("H100-SXM-80GB"), weak)]
    assert calibration().parameters["power"] > 0
    assert parts[1] == pytest.approx(parts[0] * 2 ** calibration().parameters["power"], rel=0.02)
