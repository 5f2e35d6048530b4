"""A training setup as arguments of Megatron-LM's `pretrain_gpt.py`.

Follows `TransformerConfig`, `ModelParallelConfig` and `OptimizerConfig` of megatron-core 0.16.1, whose fields the training
script turns into flags, and for batch, distributed optimiser and FSDP the flags of Megatron-LM itself. Hybrid and recurrent
models, adapters and mixtures of attention kinds are not written.
"""

from aether.planning.exports.common import ExportedFile, Target, Value, header, script
from aether.planning.exports.facts import NOT_IN_A_SETUP, decided, feed_forwards, nodes, one_mixer, refuse
from aether.planning.training.setup import TrainingSetup
from aether.spec.architecture import Architecture, Attention, LatentAttention
from aether.spec.errors import InputError

TARGET = Target("Megatron-LM", "core 0.16.1", "2026-11-24", "the configuration classes of megatron-core")

_PRECISION: dict[str, dict[str, Value]] = {
    "fp32": {},
    "fp16": {"fp16": True},
    "bf16": {"bf16": True},
    "fp8": {"bf16": True, "fp8-format": "hybrid", "fp8-recipe": "tensorwise"},
    "mxfp8": {"bf16": True, "fp8-format": "e4m3", "fp8-recipe": "mxfp8"},
    "nvfp4": {"bf16": True, "fp4-format": "e2m1", "fp4-recipe": "nvfp4"},
}
_ALLOWED = {
    "master_weights": (True,),
    "fine_tuning.kind": ("none", "full"),
    "optimiser": ("adamw", "sgd", "muon"),
}
_MENDS = {
    "master_weights": "Megatron-LM keeps float32 weights beside 16-bit ones: set it to True",
    "fine_tuning.kind": "Megatron-LM trains all weights; for adapters export to accelerate",
    "optimiser": "Megatron-LM has adamw, sgd and muon",
}


def _attention(arch: Architecture) -> dict[str, Value]:
    mixer = one_mixer(arch, TARGET.title)
    if isinstance(mixer, LatentAttention):
        if mixer.index_heads:
            raise InputError.of("architecture", arch.name, "sparse-attention indexers are not exported")
        return {
            "multi-latent-attention": True,
            "num-attention-heads": mixer.heads,
            "q-lora-rank": mixer.query_rank,
            "kv-lora-rank": mixer.kv_rank,
            "qk-head-dim": mixer.nope_size,
            "qk-pos-emb-head-dim": mixer.rope_size,
            "v-head-dim": mixer.value_size,
            "qk-layernorm": True,
        }
    if mixer.sinks or mixer.output_gate or mixer.value_size or mixer.qk_norm == "full" or mixer.out_bias:
        raise InputError.of("architecture", arch.name, "sinks, output gates and unequal heads are not exported")
    grouped = mixer.kv_heads != mixer.heads
    return {
        "num-attention-heads": mixer.heads,
        "kv-channels": mixer.head_size,
        "group-query-attention": grouped,
        "num-query-groups": mixer.kv_heads if grouped else None,
        "window-size": f"{mixer.window - 1},0" if mixer.window else None,
        "add-qkv-bias": mixer.qkv_bias,
        "qk-layernorm": mixer.qk_norm == "head",
    }


def _feed_forward(arch: Architecture) -> dict[str, Value]:
    dense, experts, dense_layers = feed_forwards(arch, TARGET.title)
    gated = {part.gated for part in (dense, experts) if part}
    biased = any(part.bias for part in (dense, experts) if part)
    if len(gated) > 1 or biased or (experts and (experts.latent_size or experts.shared_gate)):
        raise InputError.of(
            "architecture", arch.name, "biases, latent experts and gates of shared experts are not exported"
        )
    found: dict[str, Value] = {
        "ffn-hidden-size": dense.size if dense else experts.size if experts else None,
        "swiglu": True in gated,
        "disable-bias-linear": True,
    }
    if experts:
        found |= {
            "num-experts": experts.count,
            "moe-router-topk": experts.active,
            "moe-ffn-hidden-size": experts.size,
            "moe-shared-expert-intermediate-size": experts.shared_size or None,
            "moe-layer-freq": f"([0]*{dense_layers}+[1]*{arch.layers - dense_layers})" if dense_layers else None,
            "moe-grouped-gemm": True,
            "moe-token-dispatcher-type": "alltoall",
            # A bias of the router beside experts without one balances the load instead of a loss (arXiv 2408.15664).
            "moe-router-enable-expert-bias": experts.router_bias,
            "moe-router-score-function": "sigmoid" if experts.router_bias else None,
        }
    return found


def _model(setup: TrainingSetup) -> dict[str, Value]:
    arch = setup.architecture
    if arch.norm == "none" or any(g.norms != 2 for g in arch.groups) or arch.extra_parameters or arch.head_bias:
        raise InputError.of(
            "architecture", arch.name, "Megatron-LM is exported for two norms with a gain in each layer"
        )
    positions = max(arch.context_tokens or 0, setup.seq_tokens)
    return {
        "num-layers": arch.layers,
        "hidden-size": arch.hidden_size,
        **_attention(arch),
        **_feed_forward(arch),
        "seq-length": setup.seq_tokens,
        "max-position-embeddings": arch.positions or positions,
        "position-embedding-type": "learned_absolute" if arch.positions else "rope",
        "normalization": "RMSNorm" if arch.norm == "rms" else "LayerNorm",
        "untie-embeddings-and-output-weights": not arch.tied,
        "vocab-size": arch.vocab_size,
        "mtp-num-layers": arch.multi_token_layers or None,
        "attention-dropout": 0.0,
        "hidden-dropout": 0.0,
    }


def _layout(setup: TrainingSetup) -> dict[str, Value]:
    layout = setup.layout
    chunks = layout.pp * layout.virtual_stages
    uneven = setup.architecture.layers % chunks != 0
    if layout.zero_stage >= 2 and (layout.pp > 1 or layout.tp > 1):
        raise InputError.of(
            "layout.zero_stage", layout.zero_stage, "with tp or pp > 1 export Megatron-LM with zero_stage 0 or 1"
        )
    sharded = {2: "optim_grads", 3: "optim_grads_params"}.get(layout.zero_stage)
    return {
        "tensor-model-parallel-size": layout.tp,
        "sequence-parallel": layout.tp > 1 and layout.sequence_parallel,
        "pipeline-model-parallel-size": layout.pp,
        "pipeline-model-parallel-layout": _stages(setup) if uneven else None,
        "num-virtual-stages-per-pipeline-rank": layout.virtual_stages
        if layout.virtual_stages > 1 and not uneven
        else None,
        "context-parallel-size": layout.cp,
        "expert-model-parallel-size": layout.ep if layout.ep > 1 else None,
        "expert-tensor-parallel-size": 1 if layout.ep > 1 else None,
        "use-distributed-optimizer": layout.zero_stage >= 1,
        "use-megatron-fsdp": sharded is not None,
        "data-parallel-sharding-strategy": sharded,
        "ckpt-format": "fsdp_dtensor" if sharded else None,
        "no-gradient-accumulation-fusion": sharded is not None,
        "optimizer-cpu-offload": layout.offload == "optimiser",
        "use-precision-aware-optimizer": layout.offload == "optimiser",
    }


def _stages(setup: TrainingSetup) -> str:
    """Layers of each stage where they do not divide: the head, the embedding and the prediction layer take places of their own.

    In megatron-core's letters: E embedding, t layer, m prediction layer, L loss; `|` between stages.
    """
    arch, chunks = setup.architecture, setup.layout.pp * setup.layout.virtual_stages
    counts = [-(-arch.layers // chunks)] * chunks
    missing = counts[0] * chunks - arch.layers
    for place in (-1, 0, -1)[:missing]:
        counts[place] -= 1
    if missing > 3 or min(counts[0], counts[-1]) < 0:
        raise InputError.of(
            "layout.pp", setup.layout.pp, f"{arch.layers} layers leave {missing} places of {chunks} stages empty"
        )
    stages = ["t" * count for count in counts]
    stages[0] = f"E{stages[0]}"
    stages[-1] += "m" * arch.multi_token_layers + "L"
    return "|".join(stages)


def _recompute(setup: TrainingSetup, kind: str) -> dict[str, Value]:
    if kind == "none":
        return {}
    if kind == "full":
        return {"recompute-granularity": "full", "recompute-method": "uniform", "recompute-num-layers": 1}
    if setup.software.attention == "materialised":
        return {"recompute-granularity": "selective", "recompute-modules": "core_attn"}
    experts = feed_forwards(setup.architecture, TARGET.title)[1] is not None
    latent = isinstance(one_mixer(setup.architecture, TARGET.title), LatentAttention)
    modules = ["layernorm", *(["moe_act"] if experts else []), *(["mla_up_proj"] if latent else [])]
    return {"recompute-granularity": "selective", "recompute-modules": " ".join(modules)}


def _notes(setup: TrainingSetup, found: tuple[str, ...]) -> tuple[str, ...]:
    notes = [NOT_IN_A_SETUP + " after the script's name", *found]
    _, experts, dense_layers = feed_forwards(setup.architecture, TARGET.title)
    if experts and dense_layers:
        notes.append("a setup does not order layers: dense layers are written before those with experts")
    if isinstance(one_mixer(setup.architecture, TARGET.title), Attention):
        notes.append("the base of rotary embeddings is not part of a setup: give --rotary-base where it is not 10000")
    if experts:
        notes.append("scores and balance of the router are not part of a setup: Megatron-LM's defaults hold")
    if setup.software.compiled:
        notes.append("software.compiled has no flag: Megatron-LM fuses with Transformer Engine's own kernels")
    return tuple(notes)


def export_megatron(setup: TrainingSetup) -> tuple[ExportedFile, ...]:
    """`megatron.sh`: torchrun of `pretrain_gpt.py` with every argument that the setup decides."""
    refuse(setup, TARGET.title, _ALLOWED, _MENDS)
    chosen = decided(setup)
    machines, per_node = nodes(setup)
    options: dict[str, Value] = {
        **_model(setup),
        "micro-batch-size": setup.micro_batch,
        "global-batch-size": setup.global_batch,
        **_layout(setup),
        **_PRECISION[setup.precision],
        **_recompute(setup, chosen.recompute),
        "optimizer": {"adamw": "adam"}.get(setup.optimiser, setup.optimiser),
        "attention-backend": "flash" if setup.software.attention == "flash" else "unfused",
        "transformer-impl": "transformer_engine",
    }
    notes = _notes(setup, chosen.notes)
    fsdp = setup.layout.zero_stage >= 2
    start = [
        "# $1: pretrain_gpt.py of a Megatron-LM checkout; the rest goes to it.",
        "unset CUDA_DEVICE_MAX_CONNECTIONS" if fsdp else "export CUDA_DEVICE_MAX_CONNECTIONS=1",
        f'exec torchrun --nnodes {machines} --nproc-per-node {per_node} --node-rank "${{NODE_RANK:-0}}" '
        '--master-addr "${MASTER_ADDR:-localhost}" --master-port "${MASTER_PORT:-29500}" "$1"',
    ]
    text = script(header(setup, TARGET, notes), start, options)
    return (ExportedFile(name="megatron.sh", text=_lists(text), notes=notes),)


def _lists(text: str) -> str:
    """Modules of recomputation are several words of one option: unquote them."""
    for line in text.splitlines():
        if line.strip().startswith("--recompute-modules '"):
            text = text.replace(line, line.replace("'", ""))
    return text
