"""Worked examples of Korthikanti et al. 2022 (arXiv 2205.05198) and of ZeRO (arXiv 1910.02054)."""

import pytest
from training_setups import gpt, llama_8b, moe, setup

from aether.knowledge.library import device
from aether.models.accounting import parameters
from aether.planning.training.memory import layer_activation_bytes, ledger, training_memory
from aether.planning.training.setup import FineTuning, Layout, Software

OLD = Software(framework="megatron", released="2022-05", attention="materialised")
A100 = device("A100-SXM-80GB")


@pytest.mark.parametrize("tp", [1, 8])
@pytest.mark.parametrize("parallel", [False, True])
def test_activations_of_a_gpt_layer_are_34sbh_and_5as2b(tp, parallel):
    arch = gpt(layers=96, hidden=12288, heads=96)
    run = setup(arch, layout=Layout(tp=tp, sequence_parallel=parallel), software=OLD, devices=tp, seq_tokens=2048)
    s, b, h, a = 2048, 1, 12288, 96
    group = arch.groups[0]
    split = tp if parallel else 1
    # Equations 1, 2 and 4 of the paper: 10 sbh outside tensor parallelism, 24 sbh and the scores inside.
    expected = s * b * h * (10 / split + 24 / tp + 5 * a * s / (h * tp))
    assert layer_activation_bytes(run, group, "none") == pytest.approx(expected, rel=1e-12)
    selective = s * b * h * (10 / split + 24 / tp)
    assert layer_activation_bytes(run, group, "selective") == pytest.approx(selective, rel=1e-12)
    assert layer_activation_bytes(run, group, "full") == pytest.approx(2 * s * b * h / split, rel=1e-12)


@pytest.mark.parametrize(
    ("shape", "pp", "stages", "batch", "none_gib", "selective_gib"),
    [
        # Figure 1 of the paper, as encoded in github.com/calculon-ai/calculon, calculon/llm/validation.py.
        ({"layers": 48, "hidden": 6144, "heads": 64}, 1, 1, 4, 59.25, 9.5625),
        ({"layers": 96, "hidden": 12288, "heads": 96}, 8, 3, 64, 66.84375, 12.3515625),
        ({"layers": 105, "hidden": 20480, "heads": 128}, 35, 3, 280, 114.0234375, 23.076171875),
        ({"layers": 128, "hidden": 25600, "heads": 160}, 64, 1, 512, 131.25, 26.5625),
    ],
)
def test_activations_of_the_four_published_models(shape, pp, stages, batch, none_gib, selective_gib):
    def gib(recompute, parallel):
        layout = Layout(tp=8, sequence_parallel=parallel, pp=pp, virtual_stages=stages)
        micro = 4 if pp == 1 else 1
        run = setup(
            gpt(**shape),
            layout=layout,
            software=OLD,
            devices=8 * pp,
            seq_tokens=2048,
            global_batch=batch,
            micro_batch=micro,
        )
        return ledger(run, recompute).activations_bytes / 2**30

    assert gib("none", False) == pytest.approx(none_gib, rel=1e-3)
    assert gib("selective", True) == pytest.approx(selective_gib, rel=1e-3)


def test_adam_in_mixed_precision_takes_sixteen_bytes_a_parameter():
    """ZeRO, section 3.1: 7.5 B parameters take 120 GB; over 64 devices 31.4, 16.6 and 1.9 GB by stage (figure 1)."""
    arch = gpt(layers=40, hidden=3968, heads=32)
    count = parameters(arch).total
    kept = []
    for stage in (0, 1, 2, 3):
        layout = Layout(dp=64, zero_stage=stage)
        run = setup(
            arch, layout=layout, devices=64, global_batch=64, precision="fp16", software=Software(framework="deepspeed")
        )
        found = ledger(run, "full")
        kept.append((found.weights_bytes + found.gradients_bytes + found.optimiser_bytes) / count)
    assert kept == pytest.approx([16, 4 + 12 / 64, 2 + 14 / 64, 16 / 64], rel=1e-9)


def test_the_least_recomputation_that_fits_is_taken():
    arch = gpt(layers=32, hidden=4096, heads=32)
    small = setup(arch, seq_tokens=512, precision="bf16", devices=8, layout=Layout(dp=8, zero_stage=3), global_batch=8)
    assert training_memory(small, A100).recompute == "none"
    large = small.model_copy(update={"seq_tokens": 65536})
    found = training_memory(large, A100)
    assert found.recompute == "full"
    partly = small.model_copy(update={"seq_tokens": 24576})
    share = training_memory(partly, A100)
    assert 0 < share.recomputed_share < 1
    assert share.total_bytes == pytest.approx(A100.memory_bytes)


def test_frozen_weights_in_four_bits_shrink_and_adapters_alone_have_states():
    full, frozen, four = (
        ledger(setup(llama_8b(), fine_tuning=kind), "none")
        for kind in (
            FineTuning(kind="full"),
            FineTuning(kind="lora", rank=8),
            FineTuning(kind="qlora", rank=8, frozen_bits=4.5),
        )
    )
    assert full.optimiser_bytes > 100 * frozen.optimiser_bytes
    assert frozen.weights_bytes == pytest.approx(2 * parameters(llama_8b()).total, rel=0.01)
    assert four.weights_bytes < 0.45 * frozen.weights_bytes


LIT = Software(framework="eager", released="2024-06")
WHOLE = Software(framework="eager", released="2024-06", accumulates_whole=True)


def sharded(software, rounds):
    return setup(
        llama_8b(),
        devices=4,
        layout=Layout(dp=4, zero_stage=3),
        global_batch=4 * rounds,
        software=software,
        master_weights=False,
    )


def test_gradients_that_add_up_before_they_are_split_are_whole():
    count = parameters(llama_8b()).total
    split, whole = (ledger(sharded(software, 4), "full") for software in (LIT, WHOLE))
    assert split.gradients_bytes == pytest.approx(2 * count / 4)
    assert whole.gradients_bytes == pytest.approx(2 * count)
    assert whole.weights_bytes == split.weights_bytes == pytest.approx(2 * count / 4)
    # With one micro-batch there is nothing to add up.
    assert ledger(sharded(WHOLE, 1), "full").gradients_bytes == pytest.approx(2 * count / 4)


@pytest.mark.parametrize(("tp", "ep", "replicas"), [(1, 1, 8), (1, 8, 1), (1, 4, 2), (2, 8, 2)])
def test_experts_are_split_over_their_own_replicas_alone(tp, ep, replicas):
    """`ep` takes its devices from those that hold replicas: what it splits is not split by them again."""
    counts = parameters(moe())
    layout = Layout(tp=tp, dp=8, ep=ep, zero_stage=3)
    found = ledger(setup(moe(), devices=8 * tp, layout=layout, global_batch=64, master_weights=False), "full")
    held = (counts.total - counts.experts) / tp / 8 + counts.experts / ep / replicas
    assert found.weights_bytes == pytest.approx(2 * held) and found.gradients_bytes == pytest.approx(2 * held)


def test_the_root_unit_of_fsdp_stays_gathered_and_its_gradient_is_copied():
    counts = parameters(llama_8b())
    root, layer = 2 * (counts.embedding + counts.head), 2 * (counts.total - counts.embedding - counts.head) / 32
    found = ledger(sharded(LIT, 1).model_copy(update={"seq_tokens": 64}), "none")
    dynamic = found.activations_bytes + found.logits_bytes
    assert found.temporary_bytes == pytest.approx(max(root + 4 * layer, 3 * root - dynamic))
    assert found.temporary_bytes > root + 4 * layer


def test_collective_buffers_lie_outside_the_allocator():
    one, four = ledger(setup(llama_8b(), devices=1), "none"), ledger(sharded(LIT, 1), "none")
    assert four.context_bytes > one.context_bytes
    assert four.allocated_bytes == four.total_bytes - four.fragmentation_bytes - four.context_bytes


@pytest.mark.parametrize("framework", ["megatron", "eager"])
def test_float32_activations_take_twice_what_two_byte_ones_do_but_for_norms_already_in_float32(framework):
    two, four = (
        setup(llama_8b(), precision=precision, software=Software(framework=framework)) for precision in ("bf16", "fp32")
    )
    group, hidden, m = llama_8b().groups[0], 4096, two.seq_tokens
    norms = 8.0 * m * hidden * group.norms if framework == "eager" else 0.0
    short, long = (layer_activation_bytes(run, group, "none") for run in (two, four))
    assert long - norms == pytest.approx(2 * (short - norms))


def test_weights_on_the_host_leave_live_ones_and_a_bucket():
    run = setup(llama_8b(), precision="fp32", fine_tuning=FineTuning(kind="lora", frozen_bits=32))
    here, away = ledger(run, "none"), ledger(run, "none", weights_on_host=True)
    counts = parameters(llama_8b())
    # 1e9 live parameters and a bucket of 5e8, as DeepSpeed's defaults say, and the largest matrix twice.
    live = 4 * (1e9 + 5e8 + 2 * counts.embedding)
    assert away.temporary_bytes - here.temporary_bytes == pytest.approx(live)
    assert away.weights_bytes == away.gradients_bytes == away.optimiser_bytes == 0
    assert here.weights_bytes > 4 * counts.total
    assert away.activations_bytes == here.activations_bytes


def test_frozen_float32_weights_take_four_bytes_each():
    whole = FineTuning(kind="lora", frozen_bits=32, trainable_parameters=1000)
    found = ledger(setup(llama_8b(), precision="fp32", fine_tuning=whole), "none")
    assert found.weights_bytes == pytest.approx(4 * parameters(llama_8b()).total + 4000)
