"""A training setup as a configuration of accelerate and one of TRL's SFT, which runs on Hugging Face's Trainer.

Follows accelerate 1.15 (`accelerate launch --config_file`, FSDP2 and `ParallelismConfig`), transformers' `TrainingArguments`
and TRL 1.16 (`trl sft --config`). Pipelines and expert parallelism are not theirs, and ZeRO-1 is DeepSpeed's.
"""

from typing import Any

from aether.planning.exports.common import ExportedFile, Target, header, yaml_text
from aether.planning.exports.facts import decided, nodes, refuse
from aether.planning.training.setup import TrainingSetup
from aether.spec.architecture import Attention, LatentAttention
from aether.spec.errors import InputError

TARGET = Target("accelerate 1.15.0 and TRL", "1.16.0", "2026-11-24", "their wheels")

_OPTIMISERS = {"adamw": "adamw_torch_fused", "adamw_8bit": "adamw_bnb_8bit", "lion": "lion_32bit", "sgd": "sgd"}
_ALLOWED = {
    "layout.pp": (1,),
    "layout.ep": (1,),
    "layout.offload": ("none",),
    "precision": ("fp32", "fp16", "bf16", "fp8"),
    "optimiser": tuple(_OPTIMISERS),
}
_MENDS = {
    "layout.pp": "accelerate has no pipelines for training: use pp 1, or export to Megatron-LM or torchtitan",
    "layout.ep": "accelerate has no expert parallelism: use ep 1, or export to Megatron-LM or torchtitan",
    "layout.offload": "FSDP offloads weights, gradients and states together: use none, or export to DeepSpeed",
    "precision": "accelerate has bf16, fp16, fp32 and fp8",
    "optimiser": "TrainingArguments names adamw, adamw_8bit, lion and sgd; muon is exported to Megatron-LM or DeepSpeed",
}
_MIXED = {"fp32": "no", "fp16": "fp16", "bf16": "bf16", "fp8": "fp8"}


def _sharding(setup: TrainingSetup, recompute: str) -> dict[str, Any]:
    layout = setup.layout
    split = layout.tp * layout.cp
    if layout.zero_stage == 1 and layout.dp > 1:
        raise InputError.of(
            "layout.zero_stage",
            1,
            "FSDP shards gradients with the states (2) or weights too (3); ZeRO-1: export to DeepSpeed",
        )
    if layout.zero_stage == 0 and split > 1:
        raise InputError.of("layout.zero_stage", 0, "accelerate needs FSDP beside tp or cp: use zero_stage 2 or 3")
    if not layout.zero_stage:
        return {"distributed_type": "MULTI_GPU" if layout.dp > 1 else "NO"}
    return {
        "distributed_type": "FSDP",
        "fsdp_config": {
            "fsdp_version": 2,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_reshard_after_forward": layout.zero_stage == 3,
            "fsdp_activation_checkpointing": recompute == "full",
            "fsdp_cpu_ram_efficient_loading": True,
            "fsdp_offload_params": False,
            "fsdp_state_dict_type": "SHARDED_STATE_DICT",
        },
        "parallelism_config": {
            "parallelism_config_dp_replicate_size": 1,
            "parallelism_config_dp_shard_size": layout.dp,
            "parallelism_config_tp_size": layout.tp,
            "parallelism_config_cp_size": layout.cp,
            "parallelism_config_cp_backend": "torch",
            "parallelism_config_cp_comm_strategy": "allgather",
        },
    }


def _accelerate(setup: TrainingSetup, recompute: str) -> dict[str, Any]:
    machines, _ = nodes(setup)
    found: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        **_sharding(setup, recompute),
        "mixed_precision": _MIXED[setup.precision],
        "num_machines": machines,
        "num_processes": setup.devices,
        "machine_rank": 0,
        "main_training_function": "main",
        "rdzv_backend": "static" if machines == 1 else "c10d",
        "same_network": True,
    }
    if setup.precision == "fp8":
        found["fp8_config"] = {"backend": "AO"}
    return found


def _sft(setup: TrainingSetup, recompute: str) -> dict[str, Any]:
    tuning = setup.fine_tuning
    sharded = setup.layout.zero_stage > 0
    half = setup.precision in ("bf16", "fp8")
    found: dict[str, Any] = {
        "per_device_train_batch_size": setup.micro_batch,
        "gradient_accumulation_steps": setup.micro_batches,
        "max_length": setup.seq_tokens,
        "packing": packs(setup),
        "bf16": half,
        "fp16": setup.precision == "fp16",
        "dtype": "float32" if setup.precision == "fp32" or setup.master_weights else "bfloat16",
        "optim": _OPTIMISERS[setup.optimiser],
        "gradient_checkpointing": recompute == "full" and not sharded,
        "torch_compile": setup.software.compiled,
        "attn_implementation": _attention(setup),
    }
    if tuning.frozen:
        found |= {"use_peft": True, "lora_r": tuning.rank, "lora_target_modules": ["all-linear"]}
    if tuning.kind == "qlora":
        found |= {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "use_bnb_nested_quant": tuning.frozen_bits < _PLAIN_NF4_BITS,
        }
    return found


_PLAIN_NF4_BITS = 4.5
"""A 4-bit value and a 32-bit scale for 64 of them; fewer bits mean that scales are quantised too (QLoRA, arXiv 2305.14314, section 3)."""


_FLASH_HEAD = 256
"""The largest head that FlashAttention-2 takes (its README)."""


def packs(setup: TrainingSetup) -> bool:
    """Whether examples share a row. Only the variable-length kernels keep them apart without a mask of the whole row: 16 bits, heads that
    fit, no context parallelism (which is written for scaled_dot_product_attention)."""
    mixers = [group.mixer for group in setup.architecture.groups]
    if any(mixer is not None and not isinstance(mixer, Attention | LatentAttention) for mixer in mixers):
        return False  # a recurrence carries its state from one example into the next
    sizes = [m.head_size for m in mixers if isinstance(m, Attention)]
    sizes += [m.nope_size + m.rope_size for m in mixers if isinstance(m, LatentAttention)]
    flash = setup.software.attention == "flash" and setup.precision != "fp32" and setup.layout.cp == 1
    return flash and max(sizes, default=0) <= _FLASH_HEAD


def _attention(setup: TrainingSetup) -> str:
    if setup.software.attention != "flash":
        return "eager"
    return "flash_attention_2" if packs(setup) else "sdpa"


def _notes(setup: TrainingSetup) -> list[str]:
    notes = ["model, data, learning rate and schedule are not part of a setup: give them to trl sft"]
    if setup.layout.tp > 1 and setup.layout.sequence_parallel:
        notes.append(
            "tensor parallelism follows the plan of the model's class in transformers: its norms may not be split along the sequence"
        )
    if setup.layout.cp > 1:
        notes.append(
            "context parallelism is PyTorch's with scaled_dot_product_attention: causal masks only, so examples are not packed"
        )
    if packs(setup):
        notes.append(
            "packing keeps examples apart through FlashAttention-2: install flash-attn; a model whose class in transformers has no flash "
            "attention wants no packing, and PyTorch's own"
        )
    else:
        notes.append(
            "examples are padded, not packed: in a row without FlashAttention-2 they would see each other or need a mask of the whole row. "
            "The estimate counts full rows: train on texts of about max_length, or expect fewer tokens in a step"
        )
    if setup.devices > 1 and nodes(setup)[0] > 1:
        notes.append(
            "give --machine_rank, --main_process_ip and --main_process_port to accelerate launch on each machine"
        )
    if setup.fine_tuning.trainable_parameters is not None:
        notes.append("fine_tuning.trainable_parameters is not an option: adapters are put on all linear layers")
    return notes


def export_huggingface(setup: TrainingSetup) -> tuple[ExportedFile, ...]:
    """`accelerate.yaml` for `accelerate launch --config_file`, and `trl_sft.yaml` for `trl sft --config`."""
    refuse(setup, "accelerate", _ALLOWED, _MENDS)
    if setup.precision == "fp16" and not setup.master_weights:
        raise InputError.of(
            "master_weights", False, "the Trainer scales fp16 gradients of float32 weights: use True, or bf16"
        )
    if setup.fine_tuning.kind == "qlora" and setup.layout.zero_stage:
        raise InputError.of(
            "fine_tuning.kind", "qlora", "four-bit weights are exported without sharding: use zero_stage 0, or lora"
        )
    chosen = decided(setup)
    if chosen.recompute == "selective":
        mend = "the Trainer recomputes everything or nothing: use full or none, or export to torchtitan or Megatron-LM"
        raise InputError.of("recompute", "selective", mend)
    notes = (*_notes(setup), *chosen.notes)
    head = header(setup, TARGET, notes)
    return (
        ExportedFile(name="accelerate.yaml", text=yaml_text(head, _accelerate(setup, chosen.recompute)), notes=notes),
        ExportedFile(name="trl_sft.yaml", text=yaml_text(head, _sft(setup, chosen.recompute)), notes=notes),
    )
