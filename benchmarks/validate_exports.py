"""Exported files, read by the real parser of the tool that they are written for, in an environment that has the tool.

    python -m benchmarks.validate_exports --tool vllm --python PATH_TO_ITS_PYTHON

Each run adds its tool to `records/exports.json`. What is checked: vLLM's, SGLang's and LMDeploy's option parsers, torchtitan's `ConfigManager` on the exported function, `TransformerConfig` of megatron-core and the
fields of its other configuration classes, DeepSpeed's `DeepSpeedConfig`, accelerate's `ClusterConfig`, TRL's `SFTConfig`.
Nothing is trained or served. What no package index has cannot be parsed: `--tool trtllm` and `--tool tgi` take no `--python`
and record why.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from aether.knowledge.library import device
from aether.knowledge.models_library import published_model
from aether.planning.exports.common import command_words
from aether.planning.exports.serving import ServingTool, export_serving
from aether.planning.exports.training import TrainingTool, export_training
from aether.planning.serving.setup import Precision, ServingSetup
from aether.planning.training.setup import FineTuning, Layout, Software, TrainingSetup
from aether.spec.errors import InputError
from benchmarks import records

UNPARSED = {
    "trtllm": (
        "1.2.1",
        "written, not parsed: the package on PyPI is a placeholder that fetches the wheel from the vendor's own index; keys of "
        "parallelism and cache were looked up in the repository's tensorrt_llm/llmapi/llm_args.py (2026-11-25)",
    ),
    "tgi": ("3.3", "written, not parsed: archived, its launcher is a Rust program that PyPI does not have"),
}
"""Tool -> its version, and why its parser was not asked."""

PROBES = Path(__file__).with_name("validate_exports_probes.py")


def training_setups() -> dict[str, TrainingSetup]:
    """Setups that differ in layout, precision, recomputation, optimiser and adapters."""
    dense = published_model("Llama-3.1-8B").architecture
    large = published_model("Llama-3.1-70B").architecture
    experts = published_model("Qwen3-30B-A3B").architecture
    common: dict[str, Any] = {"device": "H100-SXM-80GB", "seq_tokens": 8192, "recompute": "full"}
    return {
        "fsdp": TrainingSetup(
            architecture=dense, devices=16, global_batch=64, layout=Layout(dp=16, zero_stage=3), **common
        ),
        "zero2": TrainingSetup(
            architecture=dense, devices=8, global_batch=64, layout=Layout(dp=8, zero_stage=2), **common
        ),
        "fp8": TrainingSetup(
            architecture=dense,
            devices=8,
            global_batch=64,
            precision="fp8",
            layout=Layout(dp=8, zero_stage=3),
            software=Software(compiled=True),
            **common,
        ),
        "pipeline": TrainingSetup(
            architecture=large,
            devices=64,
            global_batch=64,
            layout=Layout(tp=4, pp=4, virtual_stages=2, dp=4, zero_stage=1),
            **common,
        ),
        "context": TrainingSetup(
            architecture=dense, devices=16, global_batch=8, layout=Layout(tp=2, cp=2, dp=4, zero_stage=3), **common
        ),
        "uneven": TrainingSetup(
            architecture=published_model("Llama-3.1-405B").architecture,
            devices=256,
            global_batch=64,
            layout=Layout(tp=8, pp=16, dp=2, zero_stage=1),
            **common,
        ),
        "latent": TrainingSetup(
            architecture=published_model("DeepSeek-V3").architecture,
            devices=1024,
            global_batch=1024,
            layout=Layout(tp=2, pp=8, virtual_stages=4, ep=64, dp=64, zero_stage=1),
            **common,
        ),
        "experts": TrainingSetup(
            architecture=experts, devices=8, global_batch=64, layout=Layout(ep=8, dp=8, zero_stage=1), **common
        ),
        "lora": TrainingSetup(
            architecture=dense, devices=1, global_batch=8, fine_tuning=FineTuning(kind="lora"), **common
        ),
        "offload": TrainingSetup(
            architecture=dense,
            devices=8,
            global_batch=64,
            layout=Layout(dp=8, zero_stage=2, offload="optimiser"),
            **common,
        ),
    }


def serving_setups() -> dict[str, ServingSetup]:
    """Setups that differ in layout, number formats, caching and compilation."""
    dense = published_model("Llama-3.1-8B").architecture
    experts = published_model("Qwen3-30B-A3B").architecture
    found = device("H100-SXM-80GB")
    low = Precision(weights="fp8", cache="fp8")
    return {
        "plain": ServingSetup(architecture=dense, device=found),
        "fp8": ServingSetup(architecture=dense, device=found, tp=2, precision=low, block_tokens=64, prefix_share=0.5),
        "int4": ServingSetup(architecture=dense, device=found, precision=Precision(weights="int4"), compiled=False),
        "stages": ServingSetup(architecture=dense, device=found, tp=2, pp=2, max_sequences=64),
        "experts": ServingSetup(architecture=experts, device=found, attn_dp=4, ep=4),
    }


def _export(tool: str, setup: Any) -> dict[str, Any]:
    """The files of one setup with the words of their commands, or the refusal."""
    try:
        made = export_serving(setup, tool) if isinstance(setup, ServingSetup) else export_training(setup, tool)
    except InputError as error:
        return {"refused": str(error)}
    words = {file.name: command_words(file.text) for file in made if file.name.endswith(".sh")}
    return {"files": {file.name: file.text for file in made}, "words": words}


def main() -> None:
    """Export, ask the probe in the tool's environment, and keep its answers beside those of the other tools."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tool", required=True, choices=[*TrainingTool, *ServingTool])
    parser.add_argument("--python", help="the interpreter of the environment that has the tool")
    given = parser.parse_args()
    setups = training_setups() if given.tool in list(TrainingTool) else serving_setups()
    asked = {name: _export(given.tool, setup) for name, setup in setups.items()}
    answer = _unparsed(given.tool, asked) if given.tool in UNPARSED else _parsed(given.tool, given.python, asked)
    path = records.FOLDER / "exports.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"tools": {}}
    words = ["--tool", given.tool, *([] if given.tool in UNPARSED else ["--python", "PYTHON"])]
    record["tools"][given.tool] = {
        **answer,
        "circumstances": records.circumstances("benchmarks.validate_exports", words=words),
    }
    records.write("exports", record, _markdown(record))
    print(json.dumps(answer))


def _unparsed(tool: str, asked: dict[str, Any]) -> dict[str, Any]:
    version, why = UNPARSED[tool]
    answers = {
        name: f"refused by Aether: {made['refused']}" if "refused" in made else why for name, made in asked.items()
    }
    return {"version": version, "setups": answers}


def _parsed(tool: str, python: str, asked: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, "-W", "ignore", str(PROBES), tool],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            timeout=240,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def _markdown(record: dict[str, Any]) -> str:
    lines = [
        "# Exported files, read by the tools' own parsers",
        "",
        "| tool | version | setup | answer |",
        "|---|---|---|---|",
    ]
    for tool, found in sorted(record["tools"].items()):
        lines += [f"| {tool} | {found['version']} | {name} | {text} |" for name, text in found["setups"].items()]
    command = "python -m benchmarks.validate_exports --tool TOOL --python PYTHON"
    return "\n".join([*lines, "", f"Written by `{command}`. No model was trained or served.", ""])


if __name__ == "__main__":
    main()
