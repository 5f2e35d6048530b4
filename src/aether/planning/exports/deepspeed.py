"""A training setup as DeepSpeed's `ds_config.json`.

Follows DeepSpeed 0.19.8: batch sizes, precision, ZeRO, optimiser, tensor parallelism by AutoTP, activation checkpointing. What
DeepSpeed does in a program and not in its configuration (pipelines, experts, sequence parallelism) is an error here.
"""

import json
from typing import Any

from aether.planning.exports.common import ExportedFile, Target, header
from aether.planning.exports.facts import decided, refuse
from aether.planning.training.setup import TrainingSetup
from aether.spec.errors import InputError

TARGET = Target("DeepSpeed", "0.19.8", "2026-11-24", "its source package")

_ALLOWED = {
    "layout.pp": (1,),
    "layout.cp": (1,),
    "layout.ep": (1,),
    "precision": ("fp32", "fp16", "bf16"),
    "optimiser": ("adamw", "muon", "lion"),
}
_MENDS = {
    "layout.pp": "DeepSpeed's pipelines are written in the program (PipelineModule): use pp 1, or export to Megatron-LM",
    "layout.cp": "ds_config.json has no context parallelism: use cp 1, or export to accelerate, torchtitan or Megatron-LM",
    "layout.ep": "DeepSpeed's experts are written in the program (MoE layers): use ep 1, or export to Megatron-LM",
    "precision": "DeepSpeed computes in bf16, fp16 or fp32: use bf16, or export to torchtitan or Megatron-LM",
    "optimiser": "ds_config.json names adamw, muon and lion",
}
_OPTIMISERS = {"adamw": "AdamW", "muon": "Muon", "lion": "Lion"}


def _zero(setup: TrainingSetup) -> dict[str, Any]:
    stage = setup.layout.zero_stage
    if setup.layout.tp > 1 and stage == 3:
        raise InputError.of("layout.zero_stage", 3, "DeepSpeed's AutoTP trains with ZeRO 0 to 2: use 2, or tp 1")
    zero: dict[str, Any] = {"stage": stage}
    if stage:
        zero |= {"overlap_comm": True, "contiguous_gradients": True}
    if stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    if setup.layout.offload == "optimiser":
        if not stage:
            raise InputError.of(
                "layout.offload", "optimiser", "DeepSpeed offloads states that ZeRO shards: use zero_stage 1 to 3"
            )
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    return zero


def _precision(setup: TrainingSetup) -> dict[str, Any]:
    if setup.precision == "fp32":
        return {}
    if setup.precision == "fp16":
        if not setup.master_weights:
            raise InputError.of(
                "master_weights", False, "DeepSpeed keeps float32 weights beside fp16: use bf16 or True"
            )
        return {"fp16": {"enabled": True}}
    found: dict[str, Any] = {"enabled": True}
    if not setup.master_weights:
        found |= {"bf16_master_weights_and_grads": True, "bf16_optimizer_states": True}
    return {"bf16": found}


def export_deepspeed(setup: TrainingSetup) -> tuple[ExportedFile, ...]:
    """`ds_config.json`. JSON has no comments: the head is the first of its notes."""
    refuse(setup, TARGET.title, _ALLOWED, _MENDS)
    chosen = decided(setup)
    config: dict[str, Any] = {
        "train_batch_size": setup.global_batch,
        "train_micro_batch_size_per_gpu": setup.micro_batch,
        "gradient_accumulation_steps": setup.micro_batches,
        "zero_optimization": _zero(setup),
        **_precision(setup),
        "optimizer": {"type": _OPTIMISERS[setup.optimiser], "params": {}},
        "gradient_clipping": 1.0,
    }
    notes = [
        header(setup, TARGET).replace("# ", "").strip().replace("\n", " "),
        f"seq_tokens = {setup.seq_tokens} is the data loader's: pack sequences to it",
        "learning rate and weight decay are not part of a setup: without optimizer.params DeepSpeed's defaults hold",
        "gradients are clipped at norm 1.0, the usual value of pre-training reports (assumed)",
        *chosen.notes,
    ]
    if setup.layout.tp > 1:
        config["tensor_parallel"] = {"autotp_size": setup.layout.tp}
        if setup.layout.sequence_parallel:
            notes.append(
                "AutoTP does not split norms along the sequence: activations take more memory than was estimated"
            )
    if chosen.recompute != "none":
        config["activation_checkpointing"] = {"partition_activations": False, "cpu_checkpointing": False}
        what = "gradient_checkpointing_enable()" if chosen.recompute == "full" else "its own selective checkpointing"
        notes.append(f"recompute = {chosen.recompute!r} happens in the model: call {what}")
    if setup.software.compiled:
        notes.append("software.compiled: call engine.compile() in the program")
    if setup.fine_tuning.frozen:
        notes.append(
            f"fine_tuning = {setup.fine_tuning.kind!r} (rank {setup.fine_tuning.rank}) is the program's: wrap the model with PEFT"
        )
    return (ExportedFile(name="ds_config.json", text=json.dumps(config, indent=2) + "\n", notes=tuple(notes)),)
