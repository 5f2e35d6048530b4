"""A training setup as a configuration function of torchtitan, which reads Python and no longer TOML.

Follows torchtitan 0.3.0: `Trainer.Config` and its sections, the registries of its models, and the rules of their
`__post_init__`. A model must be one of the flavours that torchtitan itself ships; other sizes need a model of their own there.
"""

from dataclasses import dataclass

from aether.planning.exports.common import ExportedFile, Target, header, script
from aether.planning.exports.facts import decided, nodes, refuse
from aether.planning.training.setup import TrainingSetup
from aether.spec.architecture import Architecture, Experts
from aether.spec.errors import InputError

TARGET = Target("torchtitan", "0.3.0", "2026-11-24", "its wheel")


@dataclass(frozen=True)
class _Flavour:
    """A model of torchtitan's registries by the numbers that tell it from the others."""

    module: str
    name: str
    hidden_size: int
    layers: int
    vocab_size: int
    experts: int = 0


FLAVOURS = (
    _Flavour("llama3", "1B", 2048, 16, 128256),
    _Flavour("llama3", "3B", 3072, 28, 128256),
    _Flavour("llama3", "8B", 4096, 32, 128256),
    _Flavour("llama3", "70B", 8192, 80, 128256),
    _Flavour("llama3", "405B", 16384, 126, 128256),
    _Flavour("qwen3", "0.6B", 1024, 28, 151936),
    _Flavour("qwen3", "1.7B", 2048, 28, 151936),
    _Flavour("qwen3", "4B", 2560, 36, 151936),
    _Flavour("qwen3", "8B", 4096, 36, 151936),
    _Flavour("qwen3", "14B", 5120, 40, 151936),
    _Flavour("qwen3", "32B", 5120, 64, 151936),
    _Flavour("qwen3", "30B-A3B", 2048, 48, 151936, 128),
    _Flavour("qwen3", "235B-A22B", 4096, 94, 151936, 128),
    _Flavour("deepseek_v3", "16B", 2048, 27, 102400, 64),
    _Flavour("deepseek_v3", "236B", 5120, 60, 102400, 160),
    _Flavour("deepseek_v3", "671B", 7168, 61, 129280, 256),
    _Flavour("gpt_oss", "20b", 2880, 24, 201088, 32),
    _Flavour("gpt_oss", "120b", 2880, 36, 201088, 128),
)
"""Cited: torchtitan 0.3.0, the registries of `torchtitan/models/*/__init__.py`."""

_CONVERTERS = {"fp8": "Float8LinearConverter", "mxfp8": "MXFP8LinearConverter", "nvfp4": "NVFP4LinearConverter"}
_ALLOWED = {
    "precision": ("fp32", "bf16", "fp8", "mxfp8", "nvfp4"),
    "optimiser": ("adamw",),
    "fine_tuning.kind": ("none", "full", "lora"),
    "layout.offload": ("none",),
    "software.attention": ("flash",),
}
_MENDS = {
    "precision": "torchtitan trains in bfloat16 or float32: use bf16",
    "fine_tuning.kind": "torchtitan has no four-bit frozen weights: use lora, or export to accelerate",
    "layout.offload": "torchtitan offloads weights, gradients and states together or nothing: use none",
    "optimiser": "only adamw is exported to torchtitan",
    "software.attention": "torchtitan's attention kernels never store scores: use flash",
}


def _flavour(arch: Architecture) -> _Flavour:
    experts = max((g.mlp.count for g in arch.groups if isinstance(g.mlp, Experts)), default=0)
    for one in FLAVOURS:
        if (one.hidden_size, one.layers, one.vocab_size, one.experts) == (
            arch.hidden_size,
            arch.layers,
            arch.vocab_size,
            experts,
        ):
            return one
    known = ", ".join(f"{one.module} {one.name}" for one in FLAVOURS)
    raise InputError.of(
        "architecture", arch.name, f"torchtitan {TARGET.version} ships {known}; add the model to it first"
    )


def _parallelism(setup: TrainingSetup) -> dict[str, object]:
    layout = setup.layout
    if layout.zero_stage == 1 and layout.dp > 1:
        raise InputError.of(
            "layout.zero_stage", 1, "torchtitan shards gradients with the states (2), weights too (3), or nothing (0)"
        )
    if layout.zero_stage == 0 and layout.dp > 1 and layout.tp * layout.cp > 1:
        raise InputError.of(
            "layout.zero_stage", 0, "torchtitan replicates beside tp or cp only what it also shards: use 2 or 3"
        )
    sharded = layout.zero_stage > 0
    found: dict[str, object] = {
        "data_parallel_replicate_degree": 1 if sharded else layout.dp,
        "data_parallel_shard_degree": layout.dp if sharded else 1,
        "fsdp_reshard_after_forward": "always" if layout.zero_stage == 3 else "never",
        "tensor_parallel_degree": layout.tp,
        "enable_sequence_parallel": layout.sequence_parallel,
        "context_parallel_degree": layout.cp,
        "expert_parallel_degree": layout.ep,
        "pipeline_parallel_degree": layout.pp,
    }
    if layout.pp > 1:
        found |= {
            "pipeline_parallel_schedule": "Interleaved1F1B" if layout.virtual_stages > 1 else "1F1B",
            "pipeline_parallel_layers_per_stage": -(-setup.architecture.layers // (layout.pp * layout.virtual_stages)),
            "pipeline_parallel_first_stage_less_layers": 0,
            "pipeline_parallel_last_stage_less_layers": 0,
            "pipeline_parallel_microbatch_size": setup.micro_batch,
        }
    return found


def _training(setup: TrainingSetup) -> dict[str, object]:
    pipelined = setup.layout.pp > 1
    whole = setup.precision == "fp32" or setup.master_weights
    return {
        "local_batch_size": setup.micro_batch * (setup.micro_batches if pipelined else 1),
        "global_batch_size": setup.global_batch,
        "seq_len": setup.seq_tokens,
        "dtype": "float32" if whole else "bfloat16",
        "mixed_precision_param": "float32" if setup.precision == "fp32" else "bfloat16",
        "disable_cuda_graphs": True,
    }


def _converters(setup: TrainingSetup) -> tuple[list[str], list[str]]:
    """Import lines and expressions of what changes the model's layers."""
    imports, made = [], []
    if setup.precision in _CONVERTERS:
        name = _CONVERTERS[setup.precision]
        imports.append(f"from torchtitan.components.quantization import {name}")
        fqns = 'fqns=["layers"], ' if setup.precision == "nvfp4" else ""
        made.append(f"{name}.Config({fqns}model_compile_enabled={setup.software.compiled})")
    if setup.fine_tuning.kind == "lora":
        imports.append("from torchtitan.components.lora import LoRAConverter")
        made.append(f"LoRAConverter.Config(rank={setup.fine_tuning.rank})")
    return imports, made


def _call(name: str, fields: dict[str, object]) -> str:
    return f"{name}(\n" + "".join(f"            {key}={value!r},\n" for key, value in fields.items()) + "        )"


def _text(setup: TrainingSetup, head: str, recompute: str) -> str:
    flavour = _flavour(setup.architecture)
    imports, converters = _converters(setup)
    policy = {"none": "None", "selective": "SelectiveAC.Config()", "full": "FullAC.Config()"}[recompute]
    if recompute != "none":
        name = policy.split(".")[0]
        imports.append(f"from torchtitan.distributed.activation_checkpoint import {name}")
    given = f", converters=[{', '.join(converters)}]" if converters else ""
    lines = [
        "from torchtitan.components.loss import ChunkedLossWrapper, CrossEntropyLoss",
        "from torchtitan.components.optimizer import default_adamw",
        "from torchtitan.config import CompileConfig, ParallelismConfig, TrainingConfig",
        *imports,
        "from torchtitan.models.common.config_utils import decoder_vocab_size",
        f"from torchtitan.models.{flavour.module} import model_registry",
        "from torchtitan.trainer import Trainer",
    ]
    return (
        f"{head}\n"
        + "\n".join(lines)
        + f"""


def aether() -> Trainer.Config:
    model_spec = model_registry("{flavour.name}"{given})
    return Trainer.Config(
        model_spec=model_spec,
        loss=ChunkedLossWrapper.Config(
            loss_fn=CrossEntropyLoss.Config(global_vocab_size=decoder_vocab_size(model_spec)),
        ),
        optimizer=default_adamw(),
        training={_call("TrainingConfig", _training(setup))},
        parallelism={_call("ParallelismConfig", _parallelism(setup))},
        activation_checkpoint={policy},
        compile=CompileConfig(enable={setup.software.compiled}),
    )
"""
    )


def export_torchtitan(setup: TrainingSetup) -> tuple[ExportedFile, ...]:
    """`aether_torchtitan.py` with a configuration function, and `torchtitan.sh` that runs it."""
    refuse(setup, TARGET.title, _ALLOWED, _MENDS)
    if setup.precision in ("mxfp8", "nvfp4") and not setup.software.compiled:
        raise InputError.of(
            "software.compiled", False, f"torchtitan's {setup.precision} layers need compilation: set it to True"
        )
    chosen = decided(setup)
    notes = (
        "learning rate, schedule, steps, data and tokenizer are torchtitan's defaults until you set them on the command line",
        "CUDA graphs are off: torchtitan refuses them with pipelines and most expert dispatchers",
        *chosen.notes,
    )
    machines, per_node = nodes(setup)
    text = _text(setup, header(setup, TARGET, notes), chosen.recompute)
    start = [
        "# Run it in the folder of aether_torchtitan.py; arguments after the first go to torchtitan. $1 is the folder of outputs.",
        f'exec torchrun --nnodes {machines} --nproc-per-node {per_node} --node-rank "${{NODE_RANK:-0}}" '
        '--master-addr "${MASTER_ADDR:-localhost}" --master-port "${MASTER_PORT:-29500}" '
        '-m torchtitan.train --dump_folder "$1"',
    ]
    launch = script(header(setup, TARGET), start, {"module": "aether_torchtitan", "config": "aether"})
    return (
        ExportedFile(name="aether_torchtitan.py", text=text, notes=notes),
        ExportedFile(name="torchtitan.sh", text=launch),
    )
