"""Files to run for what Aether does not run itself: llm-compressor, TRL, mergekit and lm-eval, in versions that were read.

Options were read in the wheels of llmcompressor 0.14.0.1, trl 1.16.0, mergekit 0.1.5 and lm_eval 0.4.13; tests hold each key to the
lists that were read there (`tests/counsel/test_answer_files.py`). Nothing here runs.
"""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from aether.knowledge.practice import choice
from aether.spec.architecture import Architecture, Experts

HEAD = "# Written by Aether; options read in {tool} on 2026-11-25.\n"


def yaml_of(tool: str, content: dict[str, Any]) -> str:
    """A YAML file with its head, keys in the order given."""
    import yaml

    return HEAD.format(tool=tool) + yaml.safe_dump(content, sort_keys=False, default_flow_style=False)


def calibration_recipe(method: str, scheme: str, architecture: Architecture) -> str:
    """`recipe.yaml` of llm-compressor: the method's modifiers before the one that rounds to a preset scheme.

    Routers of experts stay as they are: few weights, and every token passes them.
    """
    experts = any(isinstance(group.mlp, Experts) for group in architecture.groups)
    ignore = ["lm_head", *(("re:.*mlp.gate$", "re:.*shared_expert_gate$") if experts else ())]
    rows: dict[str, Any] = {"targets": ["Linear"], "ignore": ignore, "scheme": scheme}
    modifiers: dict[str, Any] = {}
    if method == "awq":
        modifiers = {"AWQModifier": {}, "QuantizationModifier": rows | {"scheme": f"{scheme}_ASYM"}}
    elif method == "smoothquant":
        modifiers = {"SmoothQuantModifier": {"smoothing_strength": 0.8}, "GPTQModifier": rows}
    elif scheme in ("FP8_DYNAMIC", "NVFP4"):
        modifiers = {"QuantizationModifier": rows}
    else:
        modifiers = {"GPTQModifier": rows}
    return yaml_of("llmcompressor 0.14.0.1", {"quant_stage": {"quant_modifiers": modifiers}})


_COMPRESS = '''\
"""Compress a model by recipe.yaml with llm-compressor: python compress.py MODEL OUTPUT{usage}"""

import argparse
import logging
import sys
import time
from pathlib import Path

{imports}from llmcompressor import oneshot

log = logging.getLogger("compress")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a folder or a repository")
    parser.add_argument("output", type=Path)
{argument}    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if given.output.exists() and any(given.output.iterdir()):
        log.error("%s is not empty: nothing is overwritten", given.output)
        return 2
    began = time.perf_counter()
    try:
        oneshot(
            model=given.model,
            recipe="recipe.yaml",
            output_dir=str(given.output),{calls}
        )
    except (OSError, ValueError, RuntimeError):
        log.exception("compression failed")
        return 1
    size = sum(file.stat().st_size for file in given.output.rglob("*") if file.is_file())
    log.info("wrote %s: %.2f GB in %.0f s", given.output, size / 1e9, time.perf_counter() - began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
'''


def compress_program(calibrated: bool) -> str:
    """`compress.py`: one-shot compression, with calibration text from a JSONL file where the method needs it."""
    if not calibrated:
        return HEAD.format(tool="llmcompressor 0.14.0.1") + _COMPRESS.format(
            usage="", imports="", argument="", calls=""
        )
    return HEAD.format(tool="llmcompressor 0.14.0.1") + _COMPRESS.format(
        usage=" calibration.jsonl",
        imports="from datasets import load_dataset\n",
        argument='    parser.add_argument("calibration", help="JSON lines with a field `text`, like the traffic that is served")\n',
        calls="""
            # Samples like the served traffic: what they hold is what the rounding keeps.
            dataset=load_dataset("json", data_files=given.calibration, split="train"),
            text_column="text",
            num_calibration_samples=512,
            max_seq_length=2048,""",
    )


def complete_sft(text: str, rates: dict[str, Any]) -> str:
    """TRL's SFT file of an export with the hyperparameters, model and data that a setup does not have.

    Examples in one row must not see each other: with packing, attention is FlashAttention's, which is told their ends.
    """
    import yaml

    head = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    chosen = rates | yaml.safe_load(text)
    if chosen.get("packing"):
        chosen["attn_implementation"] = "flash_attention_2"
    return head + commented(yaml.safe_dump(chosen, sort_keys=False, default_flow_style=False))


def complete_torchtitan(text: str, learning_rate: float, steps: int, warmup_steps: int) -> str:
    """torchtitan's file of an export with steps, learning rate and schedule (fields read in torchtitan 0.3.0's wheel)."""
    schedule = f"LRSchedulersContainer.Config(warmup_steps={warmup_steps}, decay_type='cosine', min_lr_factor=0.1)"
    lines = []
    for line in text.splitlines():
        if line.startswith("# Note: learning rate"):
            line = "# Note: give data and tokenizer on the command line: --hf_assets_path, --dataloader.dataset"
        line = line.replace("import default_adamw", "import LRSchedulersContainer, default_adamw")
        if "optimizer=default_adamw()" in line:
            lines += [
                line.replace("default_adamw()", f"default_adamw(lr={learning_rate:g})"),
                f"        lr_scheduler={schedule},",
            ]
            continue
        lines.append(line)
        if "training=TrainingConfig(" in line:
            lines.append(f"            steps={steps},")
    return "\n".join(lines) + "\n"


_BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv", ".txt": "text"}
"""Suffix of a file -> the builder of `datasets` that reads it."""


def dataset_of(source: str) -> dict[str, str]:
    """A source of the brief as TRL's `datasets` names it: a repository, a file, or a folder."""
    if source.startswith("hf:"):
        return {"path": source.removeprefix("hf:"), "split": "train"}
    builder = _BUILDERS.get(PurePath(source).suffix)
    return (
        {"path": source, "split": "train"}
        if builder is None
        else {"path": builder, "data_files": source, "split": "train"}
    )


_WHY = {
    "gradient_accumulation_steps": "examples of a step = processes * per-device batch * this: change it with the devices",
    "warmup_steps": "below one: a share of the steps",
    "eval_strategy": "held-out loss while it trains; needs a test split of the data",
    "test_split_size": "a hundredth is held out, by row: hold out by source where rows are alike",
    "logging_steps": "loss, gradient norm and rewards of each step: the first minutes tell most",
    "reward_funcs": "checks a final answer; put your own here as a dotted path",
    "loss_type": "normalised by length, so that long answers gain nothing by length alone",
    "cpo_alpha": "zero: SimPO alone, without CPO's likelihood term",
    "attn_implementation": "packed examples must not see each other: FlashAttention is told where each ends",
    "save_total_limit": "checkpoints hold optimiser states too: without a limit the disk fills",
    "max_steps": "tokens of the brief / tokens of a step",
}
"""Why a choice is what it is, for choices that do not speak for themselves."""


def commented(text: str) -> str:
    """YAML with a comment behind the keys of `_WHY`."""
    lines = []
    for line in text.splitlines():
        why = _WHY.get(line.split(":", 1)[0])
        lines.append(f"{line}  # {why}" if why and (why != _WHY["loss_type"] or line.endswith(":")) else line)
    return "\n".join(lines) + "\n"


TRAINERS = {"sft": "sft", "dpo": "dpo", "kto": "kto", "grpo": "grpo"}
"""Method -> the subcommand of `trl` that trains by it. SimPO's trainer is experimental and has no subcommand."""


def sharded_launch(devices: int) -> str:
    """`accelerate.yaml` of one machine that shards all of a model's states (FSDP, as the exports of fine-tunings write it)."""
    content: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "FSDP",
        "fsdp_config": {
            "fsdp_version": 2,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_reshard_after_forward": True,
            "fsdp_cpu_ram_efficient_loading": True,
            "fsdp_offload_params": False,
            "fsdp_state_dict_type": "SHARDED_STATE_DICT",
        },
        "mixed_precision": "bf16",
        "num_machines": 1,
        "num_processes": devices,
        "machine_rank": 0,
        "main_training_function": "main",
    }
    return yaml_of("accelerate 1.15.0", content)


def alignment_config(
    method: str, parameters: float, seed: int, lora: bool, sources: Sequence[str], devices: int = 8
) -> str:
    """`trl_METHOD.yaml` for so many devices: every hyperparameter of an alignment by DPO, KTO, SimPO or GRPO. The model is to be filled in, and data
    where no source is given."""
    shared: dict[str, Any] = {
        "model_name_or_path": "MODEL",
        "datasets": [dataset_of(source) for source in sources or ("DATA",)],
        "test_split_size": 0.01,
        "output_dir": f"{method}-aligned",
        "learning_rate": _value(method, "learning_rate", parameters),
        "lr_scheduler_type": "linear",
        # Below one it is a share of the steps (transformers 5).
        "warmup_steps": _value("dpo", "warmup", parameters),
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "num_train_epochs": int(_value("dpo", "epochs", parameters)),
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": max(1, round(_value("dpo", "batch_sequences", parameters) / devices)),
        "bf16": True,
        "gradient_checkpointing": True,
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 100,
        "save_steps": 500,
        "save_total_limit": 3,
        "seed": seed,
    }
    length = int(_value("dpo", "sequence_tokens", parameters))
    own: dict[str, dict[str, Any]] = {
        "dpo": {"beta": _value("dpo", "beta", parameters), "loss_type": ["sigmoid_norm"], "max_length": length},
        "kto": {"beta": _value("kto", "beta", parameters), "loss_type": "kto", "max_length": length},
        "simpo": {
            "beta": _value("simpo", "beta", parameters),
            "simpo_gamma": _value("simpo", "simpo_gamma", parameters),
            "loss_type": "simpo",
            "cpo_alpha": 0.0,
            "max_length": length,
        },
        "grpo": {
            "beta": _value("grpo", "beta", parameters),
            "num_generations": int(_value("grpo", "num_generations", parameters)),
            "max_completion_length": int(_value("grpo", "max_completion_length", parameters)),
            "reward_funcs": ["accuracy_reward"],
            "use_vllm": True,
        },
    }
    adapters = {"use_peft": True, "lora_r": 16, "lora_alpha": 32, "lora_target_modules": ["all-linear"]} if lora else {}
    return commented(yaml_of("trl 1.16.0", shared | own[method] | adapters))


def _value(task: Any, field: str, parameters: float) -> float:
    value = choice(task, field, parameters).value
    assert value is not None
    return value


def merge_config(method: str, models: Sequence[str], base: str | None) -> str:
    """`merge.yaml` of mergekit: two ends for slerp, weights for linear, a strength or densities over a base for the rest."""
    share = round(1 / len(models), 4)
    rows: list[dict[str, Any]] = []
    for model in models:
        row: dict[str, Any] = {"model": model}
        if method in ("ties", "dare_ties"):
            row["parameters"] = {"weight": share, "density": 0.5}
        elif method == "linear":
            row["parameters"] = {"weight": share}
        elif method == "task_arithmetic":
            row["parameters"] = {"weight": 1.0}
        rows.append(row)
    content: dict[str, Any] = {"merge_method": method, "models": rows}
    if method == "slerp":
        content |= {"base_model": models[0], "parameters": {"t": 0.5}}
    elif method == "task_arithmetic":
        content |= {"base_model": base, "parameters": {"normalize": False, "lambda": share}}
    elif base is not None:
        content |= {"base_model": base, "parameters": {"normalize": True}}
    return yaml_of(
        "mergekit 0.1.5",
        content | {"dtype": "bfloat16", "tokenizer_source": "base" if base or method == "slerp" else "union"},
    )


def evaluation_command(tasks: Sequence[str], model: str = "$MODEL", limit: int | None = None) -> str:
    """`lm_eval run` with kept samples, so that two models can be compared item by item."""
    lines = [
        f"lm_eval run --model hf --model_args pretrained={model},dtype=bfloat16 \\",
        f"  --tasks {','.join(tasks)} --batch_size auto --seed 0 \\",
        "  --apply_chat_template --log_samples --output_path results/",
    ]
    if limit is not None:
        lines[-1] += f" --limit {limit}"
    return "\n".join(lines) + "\n"
