"""What a replica's devices hold: weights, the cache of each sequence in blocks, and the rest; so how many sequences fit.

Counts as the engines do: a share of the device's memory, less weights, less activations of the largest chunk, less what the
runtime itself takes; the rest is cache (PagedAttention, arXiv 2309.06180, section 4). TensorRT-LLM takes its share of what is
free beside the model (its option free_gpu_memory_fraction). Not here: fragmentation inside kernels,
copy-on-write of shared prefixes.
"""

import math
from dataclasses import dataclass

from aether.models.accounting import parameters
from aether.planning.serving.operators import operators
from aether.planning.serving.setup import STORED_BYTES, ServingSetup
from aether.spec.architecture import Attention, LatentAttention

_RUNTIME_BYTES = 1.5e9
"""Context, libraries, graphs (assumed: one to two GB is what the engines log on recent devices)."""
_COMMUNICATION_BYTES = 0.5e9
"""Buffers of collectives for each device, when there is more than one (assumed)."""
_ACTIVATION_VALUES = 6.0
"""Vectors of the larger of hidden and inner size that are alive at once for each token of a chunk (assumed)."""


@dataclass(frozen=True)
class ServingMemory:
    """Bytes of the fullest device."""

    weights_bytes: float
    activations_bytes: float
    runtime_bytes: float
    usable_bytes: float
    """The share of the device's memory that the engine may fill."""
    sequence_bytes: float
    """Cache of one sequence of the stated length, blocks rounded up."""
    sequences: int
    """Sequences of that length that fit at once, over the whole replica."""

    @property
    def fixed_bytes(self) -> float:
        """Everything but the cache."""
        return self.weights_bytes + self.activations_bytes + self.runtime_bytes

    @property
    def cache_bytes(self) -> float:
        """What is left for the cache; negative when the model itself does not fit."""
        return self.usable_bytes - self.fixed_bytes


def weights_bytes_per_device(setup: ServingSetup) -> float:
    """Weights on one device, copies included."""
    found, arch = operators(setup), setup.architecture
    layers = sum(m.weight_bytes for m in found.matrices)
    layers += sum(p.count * p.local * p.expert_bytes for p in found.experts)
    counts = parameters(arch)
    layers += 2.0 * (counts.norms + counts.extra)
    embedding = counts.embedding * STORED_BYTES[setup.precision.head] / setup.tp
    head = 0.0 if arch.tied else found.head.weight_bytes
    return layers / setup.pp + max(embedding, head) if setup.pp > 1 else layers + embedding + head


def sequence_bytes_per_device(setup: ServingSetup, tokens: float) -> float:
    """Cache of one sequence of `tokens` on one device of its attention group, in whole blocks; states are in 32 bits."""
    blocks = math.ceil(max(1.0, tokens) / setup.block_tokens) * setup.block_tokens
    total = 0.0
    for group, mixing in zip((g for g in setup.architecture.groups if g.mixer), operators(setup).mixing, strict=True):
        kept = blocks
        if isinstance(group.mixer, Attention) and group.mixer.window:
            kept = min(blocks, group.mixer.window + setup.block_tokens)
        per_token = mixing.cache_bytes_per_token
        if isinstance(group.mixer, LatentAttention):
            per_token += mixing.index_bytes_per_token
        total += mixing.count * (per_token * kept + mixing.state_bytes / 2)
    return total / setup.pp


def serving_memory(setup: ServingSetup, tokens: float) -> ServingMemory:
    """The ledger of the fullest device, for sequences of `tokens` (prompt and output together)."""
    weights = weights_bytes_per_device(setup)
    widest = max([setup.architecture.hidden_size, *(m.outputs for m in operators(setup).matrices)])
    activations = _ACTIVATION_VALUES * 2.0 * setup.chunk_tokens * widest
    activations += 4.0 * min(setup.max_sequences, 1024) * setup.architecture.vocab_size / setup.tp
    runtime = _RUNTIME_BYTES + (_COMMUNICATION_BYTES if setup.devices > 1 else 0.0)
    usable = setup.memory_share * setup.device.memory_bytes
    if setup.engine == "trtllm":
        fixed = weights + activations + runtime
        usable = fixed + setup.memory_share * (setup.device.memory_bytes - fixed)
    each = sequence_bytes_per_device(setup, tokens)
    free = usable - weights - activations - runtime
    fit = int(free // each) * setup.attn_dp if free > 0 and each > 0 else 0
    if each == 0 and free > 0:
        fit = setup.max_sequences
    return ServingMemory(weights, activations, runtime, usable, each, min(fit, setup.max_sequences))
