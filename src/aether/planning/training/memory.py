"""What one device keeps during training, by part: a ledger, because a right total can hide two wrong parts.

Weights, gradients and states follow ZeRO (Rajbhandari et al. 2020, arXiv 1910.02054, section 3: 16 bytes a parameter with
Adam in mixed precision) and Megatron-LM's float32 gradients (18). Activations are counted tensor by tensor as in Korthikanti
et al. 2022 (arXiv 2205.05198: 34 s b h + 5 a s^2 b for a GPT layer), generalised to grouped queries, gated and expert layers,
frozen weights and unfused norms, with the micro-batches that 1F1B keeps in flight. The first stage of a pipeline is priced.
"""

from dataclasses import dataclass, fields

from aether.knowledge.library import Device
from aether.models.accounting import parameters
from aether.models.accounting_parts import conv_channels
from aether.planning.training.operators import layer_groups, layer_work, tokens_per_micro_batch
from aether.planning.training.setup import Recompute, TrainingSetup
from aether.planning.training.work import local_parameters, sharded_parameters, trainable_parameters
from aether.spec.architecture import Attention, Experts, FeedForward, LatentAttention, LayerGroup

CONTEXT_BYTES = 0.7e9
"""CUDA context, libraries and cuBLAS workspaces. Assumed: 0.5 to 1 GB are usual."""
COMMUNICATION_BYTES = 0.4e9
"""NCCL's buffers for each group of more than one device. Assumed."""
FRAGMENTATION = 0.04
"""Share of dynamic memory that the caching allocator reserves beyond what is in use. Assumed."""
LIVE_PARAMETERS, BUCKET_PARAMETERS = 1e9, 5e8
"""Of ZeRO-3: weights gathered at one time, and gradients in the bucket that is reduced. Cited: the defaults of DeepSpeed's
`stage3_max_live_parameters` and `reduce_bucket_size` (deepspeed/runtime/zero/config.py, read 2026-11-24)."""
STATE_BYTES = {"adamw": 8.0, "adamw_8bit": 2.03, "muon": 4.0, "lion": 4.0, "sgd": 4.0}
"""Float32 states of one parameter (two moments, one, or two of eight bits with a scale for each 256)."""
LOGIT_BYTES = {"fused": 8.0, "eager": 14.0}
"""Of one logit: two-byte logits and gradients and a float32 copy; without a fused loss also its log-softmax (counted)."""

QUANTISED_COPIES = 2.0
"""Two-byte copies of the largest matrix where weights are quantised: itself and its gradient. Chosen on LitGPT's tables."""
TUNED_INPUT_BYTES = 3.0
"""Of an input of low-rank updates: its dropped-out copy in two bytes and the mask."""


@dataclass(frozen=True)
class Memory:
    """Bytes on one device at the peak of a step."""

    weights_bytes: float
    gradients_bytes: float
    optimiser_bytes: float
    activations_bytes: float
    logits_bytes: float
    temporary_bytes: float
    """Gathered layers of ZeRO-3, one layer being recomputed, buckets of gradients."""
    fragmentation_bytes: float
    context_bytes: float
    """Outside the framework's allocator: the context, libraries, and NCCL's buffers."""
    recompute: Recompute
    recomputed_share: float = 1.0
    """Of the layers, when the least recomputation that fits was asked for; the others recompute what `selective` does."""

    @property
    def allocated_bytes(self) -> float:
        """What tensors take: the peak that a framework's allocator reports."""
        return self.total_bytes - self.fragmentation_bytes - self.context_bytes

    @property
    def total_bytes(self) -> float:
        """What the device must have."""
        return sum(getattr(self, f.name) for f in fields(self) if f.name.endswith("_bytes"))


def _eager(setup: TrainingSetup) -> bool:
    return setup.software.framework == "eager" and not setup.software.compiled


def _value_bytes(setup: TrainingSetup) -> float:
    """Of one activation."""
    return 4.0 if setup.precision == "fp32" else 2.0


def _norm_values(setup: TrainingSetup) -> float:
    """Bytes kept per hidden value and norm. Fused norms keep their input; unfused RMS norms compute in float32 and keep more: 8 B
    whatever an activation takes."""
    if _eager(setup) and setup.architecture.norm == "rms":
        return 16.0 / _value_bytes(setup)
    return 2.0


def _tuning_bytes(setup: TrainingSetup, group: LayerGroup, m: float) -> float:
    """What low-rank updates and adapters keep beyond frozen layers: a dropped-out copy of the input, or scaled outputs."""
    kind, hidden = setup.fine_tuning.kind, setup.architecture.hidden_size
    if kind in ("lora", "qlora"):
        return TUNED_INPUT_BYTES * m * hidden * (group.mixer is not None)
    if kind == "adapter_v2":
        return 2.0 * sum(product.m * product.n for product in layer_work(setup, group).products)
    return 0.0


def _mixer_bytes(setup: TrainingSetup, group: LayerGroup) -> float:
    """Kept per token by the mixer, without its norm, as (split by tensor parallelism, scores): the scores stand apart."""
    mixer, frozen = group.mixer, setup.fine_tuning.frozen
    if isinstance(mixer, Attention):
        value_size = mixer.value_size or mixer.head_size
        query, cached = mixer.heads * mixer.head_size, mixer.kv_heads * (mixer.head_size + value_size)
        output = mixer.heads * value_size
        rotated = 2.0 * (query + mixer.kv_heads * mixer.head_size) if _eager(setup) else 0.0
        # Copies of rotated queries and keys in eager code; the attention output is the input of the next product.
        return 2.0 * (query + cached + output) + rotated
    if isinstance(mixer, LatentAttention):
        key = mixer.nope_size + mixer.rope_size
        ranks = 2.0 * ((mixer.query_rank or 0) + mixer.kv_rank + mixer.rope_size)
        return 2.0 * mixer.heads * (2 * key + 2 * mixer.value_size) + 2 * ranks
    if mixer is None:
        return 0.0
    return 2.0 * (3 * mixer.inner_size + 2 * conv_channels(mixer)) * (0.7 if frozen else 1.0)


def _mlp_bytes(setup: TrainingSetup, group: LayerGroup, recompute: Recompute) -> float:
    """Kept per token by the feed-forward part, without its norm and input."""
    mlp, frozen = group.mlp, setup.fine_tuning.frozen
    if mlp is None:
        return 0.0
    width = mlp.size if isinstance(mlp, FeedForward) else mlp.active * mlp.size + mlp.shared_size
    kept = 3.0 if mlp.gated else 2.0
    if recompute == "selective" and setup.software.attention == "flash":
        kept -= 1.0  # the activated product is computed again
    elif mlp.gated and _eager(setup):
        kept += 1.0  # the activated gate is a tensor of its own
    if frozen:
        kept -= 1.0  # a frozen product keeps no input
    routed = 0.0
    if isinstance(mlp, Experts):
        # Tokens in the order of their experts, before and after.
        routed = 2.0 * 2 * mlp.active * (mlp.latent_size or setup.architecture.hidden_size)
    return 2.0 * kept * width + routed


def layer_activation_bytes(setup: TrainingSetup, group: LayerGroup, recompute: Recompute) -> float:
    """Bytes that one layer keeps of one micro-batch on one device."""
    return _two_byte_activations(setup, group, recompute) * _value_bytes(setup) / 2


def _two_byte_activations(setup: TrainingSetup, group: LayerGroup, recompute: Recompute) -> float:
    """The same where a value takes two bytes."""
    hidden, layout, m = setup.architecture.hidden_size, setup.layout, tokens_per_micro_batch(setup)
    split = layout.tp if layout.sequence_parallel else 1
    if recompute == "full":
        return 2.0 * m * hidden / split
    old = setup.software.attention == "materialised"
    frozen = setup.fine_tuning.frozen
    blocks = (group.mixer is not None) + (group.mlp is not None)
    # Per block: the norm's input, the block's input, and a dropout mask where there is dropout (as before 2023).
    inputs = 0.0 if frozen else 2.0
    if recompute == "selective" and not old:
        inputs = 0.0  # the norm is computed again
    whole = m * hidden * (_norm_values(setup) * group.norms + blocks * (inputs + (1.0 if old else 0.0)))
    part = m * (_mixer_bytes(setup, group) + _mlp_bytes(setup, group, recompute))
    scores = 0.0
    if old and recompute == "none" and isinstance(group.mixer, Attention):
        scores = 5.0 * m * group.mixer.heads * setup.seq_tokens
    return whole / split + (part + scores) / layout.tp + _tuning_bytes(setup, group, m)


def _in_flight(setup: TrainingSetup) -> float:
    """Micro-batches whose activations the first stage keeps, in units of its layers (1F1B, interleaved: Korthikanti, 4.2.3)."""
    layout = setup.layout
    kept = float(min(layout.pp, setup.micro_batches))
    if layout.virtual_stages > 1:
        kept *= 1 + (layout.pp - 1) / (layout.pp * layout.virtual_stages)
    return kept


def _frozen_weights_bytes(setup: TrainingSetup, local: float, learning: float) -> float:
    """Frozen weights in their own width, beside float32 weights that learn."""
    counts, layout = parameters(setup.architecture), setup.layout
    # Quantisers leave the embedding and the head alone.
    kept = (counts.embedding + counts.head) / (layout.tp * layout.pp)
    bits = setup.fine_tuning.frozen_bits
    return (local - kept) * bits / 8 + kept * max(bits, 16.0) / 8 + learning * 4.0


def _stored(setup: TrainingSetup) -> tuple[float, float, float]:
    """Bytes of weights, gradients and optimiser states on one device."""
    layout, tuned, zero = setup.layout, setup.fine_tuning, setup.layout.zero_stage
    local, sharded = sum(local_parameters(setup)), sharded_parameters(setup)
    learning, learning_sharded = local, sharded
    if tuned.frozen:
        learning = trainable_parameters(setup) / (layout.tp * layout.pp)
        learning_sharded = learning / (layout.dp * layout.cp)
    whole_gradients = zero < 2 or (setup.software.accumulates_whole and setup.micro_batches > 1)
    gradients = learning if whole_gradients else learning_sharded
    updated = learning_sharded if zero >= 1 else learning
    mixed = setup.master_weights and setup.precision != "fp32"
    value = _value_bytes(setup)
    states = STATE_BYTES[setup.optimiser] * (1.0 if mixed or value == 4.0 else 0.5)
    if tuned.frozen:
        weights = _frozen_weights_bytes(setup, local, learning) * (sharded / local if zero == 3 else 1.0)
        return weights, gradients * value, updated * states
    gradient = {"megatron": 4.0}.get(setup.software.framework, 2.0) if mixed else value
    copies = 4.0 if mixed else 0.0
    if mixed and setup.software.framework in ("fsdp", "torchtitan"):
        value, gradient, copies = 4.0, 4.0, 0.0  # the sharded weights are the float32 ones
    if layout.offload == "optimiser":
        states, copies = 0.0, 0.0
    return (sharded if zero == 3 else local) * value, gradients * gradient, updated * (states + copies)


def _gathered_bytes(setup: TrainingSetup, activations: float) -> float:
    """What ZeRO-3 gathers of weights, and makes of whole gradients, beyond what is stored; `activations` with logits."""
    layout, counts = setup.layout, parameters(setup.architecture)
    if layout.zero_stage < 3 or layout.dp == 1:
        return 0.0
    value = _value_bytes(setup)
    layer = value * (counts.total - counts.embedding - counts.head) / setup.architecture.layers / layout.tp
    if setup.software.framework != "eager":
        embedding = value * max(counts.embedding, counts.head) / layout.tp
        # Two layers gathered for forward, one with its whole gradient on top; or the embedding with its gradient.
        return max(4 * layer, 2 * embedding)
    # FSDP with one unit per block: the root unit is the embedding and the head, gathered from forward to the end of
    # backward. There, activations are gone, but both gradients are made and copied into the flat gradient of the unit.
    root = value * (counts.embedding + counts.head) / layout.tp
    return max(root + 4 * layer, 3 * root - activations)


def _temporary(setup: TrainingSetup, recompute: Recompute, activations: float) -> float:
    """Temporary bytes: gathered layers, a layer that is computed again, whole copies of quantised weights."""
    arch = setup.architecture
    largest = max(layer_activation_bytes(setup, group, "none") for group in layer_groups(setup))
    found = _gathered_bytes(setup, activations) + (largest if recompute == "full" else 0.0)
    if setup.fine_tuning.frozen_bits < 16:
        found += QUANTISED_COPIES * 2.0 * arch.vocab_size * arch.hidden_size / setup.layout.tp
    return found


def _live_bytes(setup: TrainingSetup) -> float:
    """Of weights kept by the host and fetched by ZeRO-3: those that stay live, the largest on its way twice (as a flat buffer and
    as a tensor), and the bucket of gradients."""
    counts = parameters(setup.architecture)
    largest = max(counts.embedding, counts.head)
    live = min(float(counts.total), LIVE_PARAMETERS) + 2 * largest + BUCKET_PARAMETERS
    return live * _value_bytes(setup)


def ledger(setup: TrainingSetup, recompute: Recompute, *, weights_on_host: bool = False) -> Memory:
    """The parts with that recomputation. `weights_on_host`: weights, gradients and states in the host's memory and fetched when
    used (ZeRO-3's `offload_param`); how long that takes is not priced, so it is no choice of a layout."""
    layout, arch, m = setup.layout, setup.architecture, tokens_per_micro_batch(setup)
    weights, gradients, states = (0.0, 0.0, 0.0) if weights_on_host else _stored(setup)
    kept = _in_flight(setup) / layout.pp
    activations = kept * sum(g.count * layer_activation_bytes(setup, g, recompute) for g in layer_groups(setup))
    fused = setup.software.framework in ("megatron", "maxtext") or setup.software.compiled
    logit_bytes = LOGIT_BYTES["fused" if fused else "eager"]
    logits = 0.0 if layout.pp > 1 else logit_bytes * m * arch.vocab_size / layout.tp
    temporary = _temporary(setup, recompute, activations + logits) + (_live_bytes(setup) if weights_on_host else 0.0)
    dynamic = gradients + activations + logits + temporary
    groups = sum(degree > 1 for degree in (layout.tp, layout.pp, layout.cp, layout.ep, layout.dp))
    return Memory(
        weights_bytes=weights,
        gradients_bytes=gradients,
        optimiser_bytes=states,
        activations_bytes=activations,
        logits_bytes=logits,
        temporary_bytes=temporary,
        fragmentation_bytes=FRAGMENTATION * dynamic,
        context_bytes=CONTEXT_BYTES + groups * COMMUNICATION_BYTES,
        recompute=recompute,
    )


def _mixed(least: Memory, most: Memory, share: float) -> Memory:
    """Both ledgers mixed: `share` of the layers as in `most`."""
    parts = {
        f.name: getattr(least, f.name) * (1 - share) + getattr(most, f.name) * share
        for f in fields(Memory)
        if f.name.endswith("_bytes")
    }
    return Memory(**parts, recompute=most.recompute, recomputed_share=share)


def training_memory(setup: TrainingSetup, device: Device) -> Memory:
    """The ledger of one device; with `recompute` None, that of the least recomputation that fits (or of `full`)."""
    if setup.recompute is not None:
        return ledger(setup, setup.recompute)
    for recompute in ("none", "selective"):
        found = ledger(setup, recompute)
        if found.total_bytes <= device.memory_bytes:
            return found
    least, most = ledger(setup, "selective"), ledger(setup, "full")
    excess_bytes, saved_bytes = least.total_bytes - device.memory_bytes, least.total_bytes - most.total_bytes
    if saved_bytes <= 0 or excess_bytes >= saved_bytes:
        return most
    return _mixed(least, most, excess_bytes / saved_bytes)
