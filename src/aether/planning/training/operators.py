"""The matrix products and element-wise passes of one layer on one device: sizes, FLOPs and bytes, before any efficiency.

Counted per micro-batch as Megatron-LM splits them (arXiv 1909.08053, section 3): tensor parallelism divides the output of the
first and the input of the second product, context parallelism divides tokens, expert parallelism divides experts. FLOPs agree
with `aether.models.accounting`. Experts are counted as balanced; the padding of tiles and vocabularies is not counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from aether.models.accounting import attention_flops, multi_token_layer
from aether.models.accounting_parts import STATE_FLOPS, conv_channels, mixer_weights, state_values
from aether.planning.training.setup import TrainingSetup
from aether.spec.architecture import Attention, Experts, FeedForward, LatentAttention, LayerGroup, Recurrence

CHUNKS = {"mamba2": 128, "gated_delta": 64}
"""Tokens that a chunked kernel takes before it writes its state (Mamba-2: arXiv 2405.21060, section 6; the lengths are assumed, those of
the usual kernels)."""
STATE_PASSES = 4
"""Times that a float32 state of each chunk is moved, forward: written, read and written by the pass over chunks, read for the output."""


Part = Literal["mixer", "attention", "recurrence_out", "mlp", "latent", "experts"]
"""What a product belongs to, where recipes tell parts apart: projections of attention, of latent experts, and the last of a recurrence."""


@dataclass(frozen=True)
class Product:
    """`count` matrix products of m x k by k x n."""

    m: float
    n: float
    k: float
    count: float = 1.0
    part: Part = "mixer"

    @property
    def flops(self) -> float:
        """Two per multiply-add."""
        return 2 * self.m * self.n * self.k * self.count

    def moved_bytes(self, input_bytes: float, output_bytes: float = 2.0) -> float:
        """Each operand once."""
        inputs = self.m * self.k + self.k * self.n
        return self.count * (inputs * input_bytes + self.m * self.n * output_bytes)


@dataclass(frozen=True)
class LayerWork:
    """One layer, one micro-batch, forward only, on one device."""

    products: tuple[Product, ...]
    """Those of the compute precision."""
    expert_products: tuple[Product, ...]
    attention_flops: float
    head_size: float
    score_bytes: float
    """Scores of attention written once, in two-byte values, if a kernel does not keep them on chip."""
    element_bytes: float
    scan_flops: float
    scan_bytes: float
    routed_bytes: float
    """Hidden vectors that leave for their experts: what dispatch moves, once."""


def tokens_per_micro_batch(setup: TrainingSetup) -> float:
    """Tokens of a micro-batch that one device works on."""
    return setup.micro_batch * setup.seq_tokens / setup.layout.cp


def layer_groups(setup: TrainingSetup) -> tuple[LayerGroup, ...]:
    """The groups of the model, extra prediction layers included."""
    arch = setup.architecture
    if not arch.multi_token_layers:
        return arch.groups
    return (*arch.groups, multi_token_layer(arch).model_copy(update={"count": arch.multi_token_layers}))


def _mixer_products(setup: TrainingSetup, group: LayerGroup, m: float) -> Iterator[Product]:
    hidden, tp, mixer = setup.architecture.hidden_size, setup.layout.tp, group.mixer
    if isinstance(mixer, Attention):
        value_size = mixer.value_size or mixer.head_size
        query = mixer.heads * mixer.head_size * (2 if mixer.output_gate else 1)
        yield Product(m, (query + mixer.kv_heads * (mixer.head_size + value_size)) / tp, hidden, part="attention")
        yield Product(m, hidden, mixer.heads * value_size / tp, part="attention")
    elif isinstance(mixer, LatentAttention):
        key = mixer.nope_size + mixer.rope_size
        if mixer.query_rank:
            yield Product(m, mixer.query_rank, hidden)
        yield Product(m, mixer.heads * key / tp, mixer.query_rank or hidden)
        yield Product(m, mixer.kv_rank + mixer.rope_size, hidden)
        yield Product(m, mixer.heads * (mixer.nope_size + mixer.value_size) / tp, mixer.kv_rank)
        yield Product(m, hidden, mixer.heads * mixer.value_size / tp)
    elif mixer is not None:
        output = mixer.inner_size * hidden
        yield Product(m, (mixer_weights(mixer, hidden).matrices - output) / hidden / tp, hidden)
        yield Product(m, hidden, mixer.inner_size / tp, part="recurrence_out")


def _mlp_products(setup: TrainingSetup, group: LayerGroup, m: float) -> Iterator[Product]:
    hidden, tp, mlp = setup.architecture.hidden_size, setup.layout.tp, group.mlp
    if mlp is None:
        return
    size = mlp.size if isinstance(mlp, FeedForward) else mlp.shared_size
    if size:
        yield Product(m, size * (2 if mlp.gated else 1) / tp, hidden, part="mlp")
        yield Product(m, hidden, size / tp, part="mlp")
    if isinstance(mlp, Experts) and mlp.latent_size:
        # Copies on each rank, of the tokens that are its own.
        yield Product(m / tp, mlp.latent_size, hidden, part="latent")
        yield Product(m / tp, hidden, mlp.latent_size, part="latent")


def _expert_products(setup: TrainingSetup, mlp: Experts, m: float) -> Iterator[Product]:
    hidden, layout = mlp.latent_size or setup.architecture.hidden_size, setup.layout
    tokens = m / layout.tp * mlp.active
    local = mlp.count / layout.ep
    yield Product(tokens / local, mlp.size * (2 if mlp.gated else 1), hidden, local, "experts")
    yield Product(tokens / local, hidden, mlp.size, local, "experts")


def _element_values(setup: TrainingSetup, group: LayerGroup) -> float:
    """Values read and written per token by norms, residuals, rotary embeddings and activations, forward."""
    hidden, layout = setup.architecture.hidden_size, setup.layout
    # A norm reads and writes once, a residual sum reads twice and writes once: five passes for each norm of the layer.
    values = 5.0 * group.norms * hidden / (layout.tp if layout.sequence_parallel else 1)
    mixer, mlp = group.mixer, group.mlp
    if isinstance(mixer, Attention):
        values += 2 * (mixer.heads + mixer.kv_heads) * mixer.head_size / layout.tp
    elif isinstance(mixer, LatentAttention):
        values += 4 * mixer.heads * (mixer.nope_size + mixer.rope_size) / layout.tp
    elif mixer is not None:
        values += 4 * (mixer.inner_size + conv_channels(mixer)) / layout.tp
    if isinstance(mlp, FeedForward):
        values += (3 if mlp.gated else 2) * mlp.size / layout.tp
    elif mlp is not None:
        values += (3 if mlp.gated else 2) * (mlp.active * mlp.size + mlp.shared_size) / layout.tp
    return values


def layer_work(setup: TrainingSetup, group: LayerGroup) -> LayerWork:
    """One layer of a group."""
    m, layout, mixer = tokens_per_micro_batch(setup), setup.layout, group.mixer
    flops, head, scores, scan_flops, scan_bytes = 0.0, 128.0, 0.0, 0.0, 0.0
    if isinstance(mixer, Attention | LatentAttention):
        materialised = setup.software.attention == "materialised"
        flops = m * attention_flops(mixer, setup.seq_tokens, causal=not materialised, absorbed=False) / layout.tp
        head = mixer.head_size if isinstance(mixer, Attention) else (mixer.nope_size + mixer.rope_size)
        scores = 2.0 * m * setup.seq_tokens * mixer.heads / layout.tp
    elif isinstance(mixer, Recurrence):
        scan_flops = m * STATE_FLOPS[mixer.form] * state_values(mixer) / layout.tp
        scan_bytes = 2.0 * m * 4 * (mixer.inner_size + conv_channels(mixer)) / layout.tp
        if chunk := CHUNKS.get(mixer.form):
            scan_bytes += m * 4 * STATE_PASSES * state_values(mixer) / chunk / layout.tp
    routed = 0.0
    experts: tuple[Product, ...] = ()
    if isinstance(group.mlp, Experts):
        experts = tuple(_expert_products(setup, group.mlp, m))
        routed = 2.0 * m / layout.tp * group.mlp.active * (group.mlp.latent_size or setup.architecture.hidden_size)
    return LayerWork(
        products=(*_mixer_products(setup, group, m), *_mlp_products(setup, group, m)),
        expert_products=experts,
        attention_flops=flops,
        head_size=head,
        score_bytes=scores,
        element_bytes=2.0 * m * _element_values(setup, group),
        scan_flops=scan_flops,
        scan_bytes=scan_bytes,
        routed_bytes=routed,
    )
