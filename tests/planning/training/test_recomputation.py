"""What a layer costs that is computed again: against the FLOPs that torch counts."""

import pytest
from training_setups import llama_8b, moe, setup

from aether.knowledge.library import device
from aether.planning.training.operators import layer_work
from aether.planning.training.setup import Framework, Recompute, Software
from aether.planning.training.work import training_work
from aether.spec.architecture import Architecture

H100 = device("H100-SXM-80GB")


def linear_s(
    released: str,
    framework: Framework = "fsdp",
    recompute: Recompute = "full",
    architecture: Architecture | None = None,
) -> float:
    run = setup(architecture or llama_8b(), software=Software(framework=framework, released=released))
    return training_work(run, H100, recompute).linear_s


def test_torch_leaves_out_the_last_product_of_a_layer_that_it_computes_again():
    torch = pytest.importorskip("torch")
    from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop
    from torch.utils.flop_counter import FlopCounterMode

    up, down = torch.nn.Linear(64, 256, bias=False), torch.nn.Linear(256, 64, bias=False)
    x = torch.randn(8, 64, requires_grad=True)

    def layer(x):
        return x + down(torch.nn.functional.gelu(up(x)))

    def products(early: bool) -> float:
        with FlopCounterMode(display=False) as counter, set_checkpoint_early_stop(early):
            again = checkpoint(layer, x, use_reentrant=False)
            assert isinstance(again, torch.Tensor)
            again.sum().backward()
        return counter.get_total_flops() / (2 * 8 * 64 * 256)

    assert (products(early=False), products(early=True)) == (8, 7)


def test_a_recomputed_layer_is_one_product_cheaper_since_torch_2_1():
    last = layer_work(setup(llama_8b()), llama_8b().groups[0]).products[-1]
    saved_s = 32 * last.flops / H100.flops_per_s["bfloat16"]
    assert linear_s("2023-09") - linear_s("2023-12") == pytest.approx(saved_s)


@pytest.mark.parametrize(
    "same",
    [{"framework": "megatron"}, {"recompute": "none"}, {"architecture": moe()}],
    ids=["a program that recomputes whole layers", "nothing computed again", "a router that needs what experts gave"],
)
def test_elsewhere_it_is_not(same):
    assert linear_s("2023-09", **same) == linear_s("2023-12", **same)
