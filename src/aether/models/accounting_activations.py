"""What a training pass keeps for its backward pass, by part, for decoders from exchangeable parts. No torch.

Counted: the coefficients are those of a least-squares fit, exact in whole numbers, to the storages that autograd saves of one layer more
(`torch.autograd.graph.saved_tensors_hooks`, torch 2.13, float32 and bfloat16, random sizes); the tests count again. Casts of weights, the
embedding and the loss are not here. Data decide two things, which are taken at their most: rows that experts drop, and the chunks of RWKV-6
where decay is strong.

Values are narrow (in the type of the stream) or wide (float32). A difference of the two can be negative: a copy that only a narrow stream needs.
"""

from dataclasses import dataclass

from aether.models.config import DecoderConfig
from aether.models.config_memory import Memory
from aether.models.config_parts import Latent, Mixture
from aether.spec.architecture import Recurrence

_CHUNK = 32
"""Tokens of a chunk of recurrent mixers (`models/parts/recurrent.py`, `rwkv6.py`, `rwkv7.py`)."""
_QUERIES = 1024
"""Queries whose mask exists at a time (`models/parts/attention.py`)."""
_CAPPED_QUERIES = 256
"""Queries whose capped scores exist at a time (`models/parts/attention.py`)."""
_SPARE = 8
"""Values that sink logits and ALiBi add to a head, padding included, where the head is a multiple of 8."""


_OF_ACTIVATION = {"swiglu": 4, "geglu": 4, "swiglu_clamped": 7}
"""Values of each inner one; 2 of an activation without a gate."""


@dataclass(frozen=True)
class Kept:
    """Values per token."""

    narrow: float = 0.0
    wide: float = 0.0

    def __add__(self, other: "Kept") -> "Kept":
        return Kept(self.narrow + other.narrow, self.wide + other.wide)

    def bytes(self, width: int) -> float:
        """With `width` bytes for a narrow value."""
        return width * self.narrow + 4.0 * self.wide


def activation_bytes(config: DecoderConfig, tokens: float, value_bytes: int) -> float:
    """Bytes that the layers keep of `tokens` tokens in windows of the whole context; packed windows have masks of their own."""
    total = capped = 0.0
    for layer in range(config.layers):
        total += layer_kept(config, layer).bytes(value_bytes) + _mask_bytes(config, layer, value_bytes)
        capped = max(capped, _capped_bytes(config, layer, value_bytes))
    return tokens * (total + capped)


def plain_kept(config: DecoderConfig, scores: bool = True) -> float:
    """Values per token that a layer of the default decoder keeps, with its own kernels; `scores`: every weight of attention among them, as up
    to `kernel_choice.PRODUCTS_TOKENS` tokens on a CPU."""
    heads, keys, size = config.heads, config.kv_heads, config.head_size
    kept = 4 * config.hidden_size + 3 * size * (heads + keys) + 4 * config.mlp_size + heads + keys + 2
    return kept + (heads * config.context_tokens if scores else 0)


def layer_kept(config: DecoderConfig, layer: int) -> Kept:
    """One layer without its masks: norms, the input of each part, mixer and feed-forward part."""
    feeds = config.mlp_size > 0
    parts, norms = 1 + feeds, (1 + feeds) * (2 if config.norm_place == "sandwich" else 1)
    size = config.hidden_size
    kept = Kept(parts * size + norms * {"rms": size + 1, "layer": size + 2, "dyt": 2 * size}[config.norm])
    recurrence = config.recurrence_at(layer)
    if recurrence is not None:
        kept += _recurrent(recurrence, size)
    else:
        kept += _attention(config) if config.latent is None else _latent(config, config.latent)
    if not feeds:
        return kept
    inner = _OF_ACTIVATION.get(config.activation, 2)
    if config.experts is None:
        return kept + Kept(inner * config.mlp_size)
    return kept + _experts(config.experts, size, inner, inner * config.mlp_size)


def _attention(config: DecoderConfig) -> Kept:
    heads, keys, size = config.heads, config.kv_heads, config.head_size
    query, key = heads * size, keys * size
    if config.memory is not None:
        return _compressive(config, config.memory)
    narrow = 2 * query + 2 * key
    if config.positions == "alibi" or config.sink_logits:
        narrow = 3 * query + 2 * key + 2 * _SPARE * (heads + keys)
    elif config.positions == "rope":
        narrow += query + key + (query if config.rope_fraction < 1 else 0)
    if config.qk_norm == "head":
        narrow += query + key + heads + keys
    elif config.qk_norm == "full":
        narrow += query + key + 2
    return Kept(narrow, 0 if config.attention_softcap is not None else heads)


def _compressive(config: DecoderConfig, memory: Memory) -> Kept:
    heads, keys, size = config.heads, config.kv_heads, config.head_size
    delta = memory.update == "delta"
    found = keys * size * (size + 1) / memory.segment_tokens
    narrow = heads * size + 2 * keys * size
    if config.qk_norm == "head":
        narrow += (heads + keys) * (size + 1)
    wide = 6 * heads * size + (4 if delta else 3) * keys * size + 3.25 * heads + (3.25 if delta else 1) * keys
    return Kept(narrow, wide + (2 if delta else 1) * found + 4)


def _latent(config: DecoderConfig, latent: Latent) -> Kept:
    narrow = config.heads * (4 * config.head_size + latent.value_size) + 2 * latent.kv_rank + latent.rope_size + 1
    if latent.query_rank is not None:
        narrow += 2 * latent.query_rank + 1
    return Kept(narrow, config.heads)


def _experts(mixture: Mixture, hidden: int, inner: int, expert: int) -> Kept:
    """`inner` x `expert` values of a routed expert; a float32 copy of the input for the router where the stream is narrow."""
    shared, active = inner * mixture.shared_size, mixture.active
    copies = 3 if mixture.router == "expert_choice" else 2
    indices = 3 if mixture.router == "expert_choice" else 8
    return Kept(
        active * (copies * hidden + expert) + shared - 2 * hidden, mixture.count + indices * active + 2 * hidden
    )


def _recurrent(mixer: Recurrence, hidden: int) -> Kept:
    inner, heads, groups = mixer.inner_size, mixer.heads, mixer.key_heads
    size, keys = mixer.state_size, mixer.key_size or 0
    states = inner / _CHUNK
    pairs = heads * _CHUNK
    if mixer.form == "mamba":
        rank = mixer.dt_rank or 0
        return Kept(2 * inner - 2 * size + rank, 9 * inner + 2 * inner * size + 4 * size)
    if mixer.form == "mamba2":
        within = 2 * pairs + 6 * heads + groups * _CHUNK
        return Kept(
            3 * inner + heads + 10 * groups * size, 10 * inner + 2 * groups * size + within + 2 * states * size + 1
        )
    if mixer.form == "retnet":
        return Kept(
            3 * inner + 4 * heads * keys, 5 * inner + (2 * heads + 4) * keys + 2 * pairs + 4 * heads + states * keys
        )
    if mixer.form == "gated_delta":
        within = 5 * pairs + 8 * heads + 2 * groups
        narrow = 3 * inner + 6 * groups * keys + 2 * heads
        return Kept(narrow, 8 * inner + (10 * heads + 2 * groups) * keys + within + states * keys)
    head, ranks = inner // heads, mixer.lora_sizes
    if mixer.form == "rwkv6":
        narrow = 12 * hidden + 5 * ranks["mix"] + ranks["decay"]
        return Kept(narrow, 19 * hidden + pairs + 3 * heads + 2 * states * head)
    return Kept(7 * hidden + sum(ranks.values()), 40 * hidden + 4 * pairs + 5 * heads + states * head)


def _capped_bytes(config: DecoderConfig, layer: int, value_bytes: int) -> float:
    """Bytes per token of what one layer's backward pass makes again of capped scores, for a block of queries; then the next layer takes the place.

    Counted (allocations of the backward pass, torch 2.13): 14 bytes a score where values have 2, 16 where they have 4."""
    if config.attention_softcap is None or config.recurrence_at(layer) is not None:
        return 0.0
    tokens, window = config.context_tokens, config.layer_window(layer)
    block = min(tokens, _CAPPED_QUERIES)
    keys = tokens if window is None else min(tokens, window + block + config.sink_tokens)
    bytes_of_score = 16 if value_bytes == 4 else 14
    return config.heads * block * keys * bytes_of_score / tokens


def _mask_bytes(config: DecoderConfig, layer: int, value_bytes: int) -> float:
    """Bytes per token of the mask that attention keeps for packed windows, made for some queries at a time."""
    if config.recurrence_at(layer) is not None or config.memory is not None:
        return 0.0
    tokens, window = config.context_tokens, config.layer_window(layer)
    chunk = min(tokens, _QUERIES)
    keys = (tokens + chunk) / 2
    if window is not None:
        keys = min(keys, window + chunk + config.sink_tokens)
    # Capped scores are made again in the backward pass: their mask stays one of single bytes.
    return keys if config.attention_softcap is not None else keys * value_bytes
