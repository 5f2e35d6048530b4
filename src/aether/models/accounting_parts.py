"""What one part of a layer holds: the values of attention, recurrences, feed-forward parts and experts. No torch.

`Weights` splits them into matrices, which cost a token one multiply-add (two FLOPs) per value, and vectors (biases, norm
gains, convolution taps, decays). Follows the reference classes of Hugging Face transformers, and for RWKV-5 to RWKV-7 the
reference code of BlinkDL/RWKV-LM. `aether.models.accounting` adds the parts up; initialisation and arithmetic of layers are
not here.
"""

from collections.abc import Callable
from dataclasses import dataclass

from aether.spec.architecture import Attention, Experts, FeedForward, LatentAttention, Mixer, Mlp, Recurrence

STATE_FLOPS = {
    "mamba": 7,
    "mamba2": 7,
    "rwkv4": 7,
    "rwkv5": 7,
    "rwkv6": 7,
    "rwkv7": 9,
    "retnet": 5,
    "gated_delta": 7,
    "rglru": 7,
}
"""FLOPs per state value and token of the recurrent form. Mamba: published (Megatron-LM). The others are counted from
their recurrences: decay 1, outer product 2, read 2, and 2 for each further product (RWKV's bonus, the delta rule's read;
RWKV-7 applies both a read and a rank-one correction). Chunked kernels do more in exchange for matrix units."""


@dataclass(frozen=True)
class Weights:
    """Values of one part: in matrices (one multiply-add per token and value) and in vectors."""

    matrices: int = 0
    vectors: int = 0

    @property
    def total(self) -> int:
        """All values."""
        return self.matrices + self.vectors

    def __add__(self, other: "Weights") -> "Weights":
        return Weights(self.matrices + other.matrices, self.vectors + other.vectors)

    def __mul__(self, times: int) -> "Weights":
        return Weights(self.matrices * times, self.vectors * times)


def linear(inputs: int, outputs: int, bias: bool = False) -> Weights:
    """One dense layer."""
    return Weights(inputs * outputs, outputs if bias else 0)


def attention_weights(mixer: Attention, hidden: int) -> Weights:
    """Query, key, value and output projections, biases, norms of q and k, sinks, and the gate."""
    query, key = mixer.heads * mixer.head_size, mixer.kv_heads * mixer.head_size
    value_size = mixer.value_size or mixer.head_size
    inputs = query * (2 if mixer.output_gate else 1) + key + mixer.kv_heads * value_size
    gains = {"none": 0, "head": 2 * mixer.head_size, "full": query + key}[mixer.qk_norm]
    for_each_head = mixer.sinks + (mixer.segment_tokens is not None)
    small = Weights(0, gains + for_each_head * mixer.heads)
    return linear(hidden, inputs, mixer.qkv_bias) + linear(mixer.heads * value_size, hidden, mixer.out_bias) + small


def latent_weights(mixer: LatentAttention, hidden: int) -> Weights:
    """Down- and up-projections of queries and of keys-values (each with a norm of its rank), output, and the indexer."""
    query = mixer.heads * (mixer.nope_size + mixer.rope_size)
    if mixer.query_rank is None:
        weights = linear(hidden, query)
    else:
        weights = linear(hidden, mixer.query_rank) + linear(mixer.query_rank, query) + Weights(0, mixer.query_rank)
    weights += linear(hidden, mixer.kv_rank + mixer.rope_size) + Weights(0, mixer.kv_rank)
    weights += linear(mixer.kv_rank, mixer.heads * (mixer.nope_size + mixer.value_size))
    weights += linear(mixer.heads * mixer.value_size, hidden)
    if mixer.index_heads:
        assert mixer.query_rank is not None, "an indexer reads the low-rank query"
        weights += linear(mixer.query_rank, mixer.index_heads * mixer.index_size)
        weights += linear(hidden, mixer.index_size + mixer.index_heads) + Weights(0, 2 * mixer.index_size)
    return weights


def _mamba(mixer: Recurrence, hidden: int) -> Weights:
    inner, state, rank = mixer.inner_size, mixer.state_size, mixer.dt_rank
    assert rank is not None, "mamba has a dt_rank"
    taps = Weights(0, inner * mixer.conv_size + (inner if mixer.conv_bias else 0))
    selective = linear(inner, rank + 2 * state) + linear(rank, inner, bias=True) + Weights(0, inner * state + inner)
    return linear(hidden, 2 * inner, mixer.bias) + taps + selective + linear(inner, hidden, mixer.bias)


def _mamba2(mixer: Recurrence, hidden: int) -> Weights:
    inner, heads = mixer.inner_size, mixer.heads
    mixed = inner + 2 * mixer.key_heads * mixer.state_size
    taps = Weights(0, mixed * mixer.conv_size + (mixed if mixer.conv_bias else 0))
    own = Weights(0, 3 * heads + inner)
    return linear(hidden, inner + mixed + heads, mixer.bias) + taps + own + linear(inner, hidden, mixer.bias)


def _gated_delta(mixer: Recurrence, hidden: int) -> Weights:
    assert mixer.key_size is not None, "the gated delta rule has a key size"
    value, mixed = mixer.inner_size, mixer.inner_size + 2 * mixer.key_heads * mixer.key_size
    taps = Weights(0, mixed * mixer.conv_size + (mixed if mixer.conv_bias else 0))
    own = Weights(0, 2 * mixer.heads + value // mixer.heads)
    return linear(hidden, mixed + value + 2 * mixer.heads, mixer.bias) + taps + own + linear(value, hidden, mixer.bias)


def _retnet(mixer: Recurrence, hidden: int) -> Weights:
    assert mixer.key_size is not None, "a retention layer has a key size"
    keys = 2 * mixer.heads * mixer.key_size
    return linear(hidden, keys + 2 * mixer.inner_size, mixer.bias) + linear(mixer.inner_size, hidden, mixer.bias)


def _rglru(mixer: Recurrence, hidden: int) -> Weights:
    inner = mixer.inner_size
    taps = Weights(0, inner * mixer.conv_size + (inner if mixer.conv_bias else 0))
    gates = Weights(2 * inner * inner // mixer.heads, 3 * inner)
    return linear(hidden, 2 * inner, mixer.bias) + taps + gates + linear(inner, hidden, mixer.bias)


def _rwkv4(mixer: Recurrence, hidden: int) -> Weights:
    mixes_decay_bonus = Weights(0, 3 * hidden + 2 * mixer.inner_size)
    return linear(hidden, 3 * mixer.inner_size) + linear(mixer.inner_size, hidden) + mixes_decay_bonus


def _rwkv5(mixer: Recurrence, hidden: int) -> Weights:
    """Mixes of k, v, r, g; decay and bonus; a group norm with gain and bias."""
    own = Weights(0, 4 * hidden + 4 * mixer.inner_size)
    return linear(hidden, 4 * mixer.inner_size) + linear(mixer.inner_size, hidden) + own


def _rwkv6(mixer: Recurrence, hidden: int) -> Weights:
    """Six mixes (x, w, k, v, r, g) of which five have a low-rank part; a low-rank decay."""
    inner, mix, decay = mixer.inner_size, mixer.lora_sizes["mix"], mixer.lora_sizes["decay"]
    low_rank = Weights(2 * 5 * mix * hidden + decay * (hidden + inner))
    own = Weights(0, 6 * hidden + 4 * inner)
    return linear(hidden, 4 * inner) + linear(inner, hidden) + low_rank + own


def _rwkv7(mixer: Recurrence, hidden: int) -> Weights:
    """Six mixes (r, w, k, v, a, g); low-rank decay w, rate a, value residual v (each with a bias; the first layer has no residual) and gate g."""
    inner, ranks = mixer.inner_size, mixer.lora_sizes
    low_rank = Weights(sum(ranks.values()) * (hidden + inner))
    biases = len(ranks.keys() - {"gate"})
    own = Weights(0, (6 * hidden + biases * inner) + 3 * inner + 2 * inner)
    return linear(hidden, 3 * inner) + linear(inner, hidden) + low_rank + own


_RECURRENCES: dict[str, Callable[[Recurrence, int], Weights]] = {
    "mamba": _mamba,
    "mamba2": _mamba2,
    "rwkv4": _rwkv4,
    "rwkv5": _rwkv5,
    "rwkv6": _rwkv6,
    "rwkv7": _rwkv7,
    "retnet": _retnet,
    "gated_delta": _gated_delta,
    "rglru": _rglru,
}


def mixer_weights(mixer: Mixer, hidden: int) -> Weights:
    """The weights of an attention part or of a recurrence."""
    if isinstance(mixer, Attention):
        return attention_weights(mixer, hidden)
    if isinstance(mixer, LatentAttention):
        return latent_weights(mixer, hidden)
    return _RECURRENCES[mixer.form](mixer, hidden)


def feed_forward_weights(hidden: int, size: int, gated: bool, bias: bool) -> Weights:
    """Two matrices, or three when gated."""
    return linear(hidden, size * (2 if gated else 1), bias) + linear(size, hidden, bias)


def dense_weights(mlp: Mlp, hidden: int) -> Weights:
    """What every token passes: the dense part, or the shared experts and the projections around latent experts."""
    if isinstance(mlp, FeedForward):
        mix = Weights(hidden * hidden, mlp.mixes * hidden) if mlp.receptance else Weights(0, mlp.mixes * hidden)
        return feed_forward_weights(hidden, mlp.size, mlp.gated, mlp.bias) + mix
    shared = feed_forward_weights(hidden, mlp.shared_size, mlp.gated, mlp.bias) if mlp.shared_size else Weights()
    return shared + (linear(hidden, 2 * mlp.latent_size) if mlp.latent_size else Weights())


def expert_weights(mlp: Experts, hidden: int) -> Weights:
    """One routed expert."""
    return feed_forward_weights(mlp.latent_size or hidden, mlp.size, mlp.gated, mlp.bias)


def router_weights(mlp: Experts, hidden: int) -> Weights:
    """The router, and the gate of the shared expert."""
    return linear(hidden, mlp.count, mlp.router_bias) + (linear(hidden, 1) if mlp.shared_gate else Weights())


def state_values(mixer: Recurrence) -> int:
    """Values of the recurrent state of one layer, without the convolution's."""
    if mixer.form in ("gated_delta", "retnet"):
        assert mixer.key_size is not None
        return mixer.inner_size * mixer.key_size
    return mixer.inner_size * mixer.state_size


def conv_channels(mixer: Recurrence) -> int:
    """Channels that pass the short convolution."""
    if mixer.form == "mamba2":
        return mixer.inner_size + 2 * mixer.key_heads * mixer.state_size
    if mixer.form == "gated_delta":
        return mixer.inner_size + 2 * mixer.key_heads * (mixer.key_size or 0)
    return mixer.inner_size if mixer.conv_size else 0


def past_values(mixer: Recurrence) -> int:
    """Values of earlier inputs that a layer keeps of one sequence: the short convolution's, or the last token of RWKV."""
    if mixer.form.startswith("rwkv"):
        return mixer.inner_size
    return conv_channels(mixer) * max(0, mixer.conv_size - 1)
