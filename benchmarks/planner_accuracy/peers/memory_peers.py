"""Memory calculators asked about rows on stdin: peak bytes, in the row's own unit. `python memory_peers.py NAME`.

Runs in the environment of the package NAME and imports nothing of ours. Each gets what the row states beside two fields that a
person would look up: `config` (the model's published sizes under Hugging Face's names, with its parameters) and `recompute`.
What a package has no argument for stays at its default; a method or format that it does not have is a reason.
"""

import contextlib
import json
import logging
import sys
import tempfile
from pathlib import Path

UNITS = {"GB": 1e9, "GiB": 2.0**30, "MB": 1e6, "MiB": 2.0**20, "bytes": 1.0}


def task_of(row: dict) -> str:
    """inference, full, lora or qlora. Raises LookupError for other adapters."""
    words = f"{row.get('task')} {row.get('precision')}".lower()
    if "adapter" in words:
        raise LookupError("no such method: LLaMA-Adapter")
    if "inference" in words:
        return "inference"
    if "lora" in words:
        return "qlora" if "nf4" in words or "qlora" in words else "lora"
    return "full"


def four_bit(row: dict) -> bool:
    """Whether weights are stored in four bits."""
    words = f"{row.get('task')} {row.get('precision')}".lower()
    return any(word in words for word in ("int4", "nf4", "awq", "gptq", "qlora"))


def sequences(row: dict) -> int:
    """Sequences of a forward pass."""
    return int(row.get("micro_batch") or row.get("batch_size") or 1)


def tokens(row: dict) -> int | None:
    """Tokens of a sequence, where the row says: of inference, prompt and answer."""
    both = (row.get("isl") or 0) + (row.get("osl") or 0)
    return int(row.get("seq_len") or row.get("seq_len_max") or both) or None


def wide(row: dict) -> bool:
    """Whether weights are stored in float32."""
    return "32" in str(row.get("precision")) and "bf16" not in str(row.get("precision"))


def accelerate(row: dict) -> float:
    """`accelerate estimate-memory`: total size of an empty model by dtype, its training figure for full fine-tuning."""
    from accelerate import init_empty_weights
    from accelerate.commands.estimate import estimate_training_usage
    from accelerate.utils import calculate_maximum_sizes
    from transformers import AutoConfig, AutoModel

    task, given = task_of(row), dict(row["config"])
    if "lora" in task:
        raise LookupError("no such method: adapters")
    given.pop("parameters")
    with init_empty_weights():
        model = AutoModel.from_config(AutoConfig.for_model(given.pop("model_type"), **given))
    total, _ = calculate_maximum_sizes(model)
    total *= 4 / next(model.parameters()).element_size()  # its command builds the model in float32
    if task == "full":
        return float(max(estimate_training_usage(total, "float32" if wide(row) else "float16").values()))
    return total / 8 if four_bit(row) else total / 2


def deepspeed(row: dict) -> float:
    """DeepSpeed's model states of ZeRO-3 where the row shards, else ZeRO-2 on one device; no activations."""
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

    if task_of(row) != "full":
        raise LookupError("no such question: model states of full training only")
    count, given = row["config"]["parameters"], row["config"]
    devices = int(row.get("gpus") or 1)
    if devices == 1:
        return float(estimate_zero2_model_states_mem_needs(count, 1, 1, False, 1.5)[1])
    layer = given["vocab_size"] * given["hidden_size"]
    return float(
        estimate_zero3_model_states_mem_needs(count, layer, min(8, devices), -(-devices // 8), False, False, True, 1.5)[
            1
        ]
    )


def hf_vram_calc(row: dict) -> float:
    """hf-vram-calc: weights by dtype, and its factors for inference, training and LoRA."""
    from hf_vram_calc.calculator import VRAMCalculator
    from hf_vram_calc.config import ConfigManager

    task, found = task_of(row), VRAMCalculator(ConfigManager())
    count = row["config"]["parameters"]
    weights = found.calculate_model_memory(count, "int4" if four_bit(row) else "fp32" if wide(row) else "bf16")
    if task == "inference":
        return 2.0**30 * found.calculate_inference_memory(weights)
    if task == "full":
        return 2.0**30 * found.calculate_training_memory(weights)
    return 2.0**30 * found.calculate_lora_memory(weights, count)


def sizes(given: dict) -> dict:
    """A model's dimensions under the names that two of the peers share."""
    return {
        "hidden_size": given["hidden_size"],
        "num_layers": given["num_hidden_layers"],
        "num_attention_heads": given["num_attention_heads"],
        "num_kv_heads": given["num_key_value_heads"],
        "intermediate_size": given["intermediate_size"],
        "vocab_size": given["vocab_size"],
    }


def fitcheck_llm(row: dict) -> float:
    """fitcheck-llm: its ledger of one device."""
    from fitcheck import ModelConfig, ServingConfig, TrainingConfig, estimate, estimate_inference, get_gpu

    if int(row.get("gpus") or 1) > 1:
        raise LookupError("no such question: one device only")
    task, given, gpu = task_of(row), row["config"], get_gpu(vram_mib=81_920)
    model = ModelConfig(
        name="row",
        num_params=given["parameters"],
        **sizes(given),
        head_dim=given["head_dim"],
        tie_word_embeddings=given["tie_word_embeddings"],
    )
    common = {
        "precision": "fp32" if wide(row) else "bf16",
        "quantization": "nf4" if four_bit(row) else "none",
        "double_quant": "dq" in str(row.get("precision")),
    }
    if tokens(row):
        common["seq_len"] = tokens(row)
    if task == "inference":
        return (
            2.0**20 * estimate_inference(model, ServingConfig(num_concurrent=sequences(row), **common), gpu).total_mib
        )
    if task == "full":
        common["lora_rank"] = None
    training = TrainingConfig(batch_size=sequences(row), grad_checkpoint=row["recompute"] == "full", **common)
    return 2.0**20 * estimate(model, training, gpu).total_mib


def qmemcalc(row: dict) -> float:
    """qmemcalc: its one formula, with the row's trainable parameters where it states them."""
    from qmemcalc.memory import estimate_memory

    task = task_of(row)
    if task == "inference" or not tokens(row):
        raise LookupError("no such question: training with a length only")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(row["config"]), encoding="utf-8")
        found = estimate_memory(
            folder,
            sequences(row),
            tokens(row),
            lora_r=0 if task == "full" else 8,
            precision="fp32" if wide(row) else "bf16",
            quantization="4bit" if four_bit(row) else "none",
            num_trainable_params=row.get("trainable_params")
            or (row["config"]["parameters"] if task == "full" else None),
            gradient_checkpointing=row["recompute"] == "full",
        )
    return 1e6 * float(found["total_MB"])


def gpu_estimator(row: dict) -> float:
    """gpu-estimator: total memory of full training; it divides by as many devices as it finds needed, so the row's count is used."""
    from gpu_estimator import GPUEstimator

    if task_of(row) != "full":
        raise LookupError("no such question: full training only")
    found = GPUEstimator().estimate(
        row["config"]["parameters"],
        sequences(row),
        tokens(row) or 2048,
        "fp32" if wide(row) else "bf16",
        "adamw",
        gradient_checkpointing=row["recompute"] == "full",
    )
    return 2.0**30 * found.total_memory_gb / int(row.get("gpus") or 1)


def ftuneai(row: dict) -> float:
    """ftuneai: its ledger with the row's method; FSDP where several devices train all weights."""
    from ftuneai.core.memory import MemoryEstimator
    from ftuneai.core.models import FineTuneMethod, ModelSpec, Quantization, ShardingStrategy, TrainingConfig

    task, given, devices = task_of(row), row["config"], int(row.get("gpus") or 1)
    if task == "inference":
        raise LookupError("no such question: fine-tuning only")
    spec = ModelSpec(
        name="row",
        parameters=given["parameters"],
        **sizes(given),
        max_seq_length=1 << 20,
        default_dtype="float32" if wide(row) else "bfloat16",
    )
    sharded = ShardingStrategy.ZERO_3 if devices > 1 and task == "full" else ShardingStrategy.NONE
    config = TrainingConfig(
        model="row",
        method=FineTuneMethod(task),
        quantization=Quantization.INT4 if four_bit(row) else Quantization.NONE,
        batch_size=sequences(row),
        seq_length=tokens(row) or 2048,
        gradient_checkpointing=row["recompute"] == "full",
        sharding=sharded,
        num_gpus=devices,
    )
    return 2.0**30 * MemoryEstimator(spec, config).estimate().total_gb


def main() -> None:
    """One JSON line in, one out: {"id", "value"} or {"id", "reason"}."""
    logging.disable(logging.CRITICAL)
    peer = globals()[sys.argv[1].replace("-", "_")]
    for line in sys.stdin:
        row = json.loads(line)
        answer = {"id": row["id"]}
        with contextlib.redirect_stdout(sys.stderr):
            try:
                if row["unit"] not in UNITS or "config" not in row:
                    raise LookupError("no published configuration of the model, or a share")
                answer["value"] = peer(row) / UNITS[row["unit"]]
            except Exception as error:  # noqa: BLE001 - a peer's own errors of any kind are its answer
                answer["reason"] = f"{type(error).__name__}: {str(error)[:120]}"
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
