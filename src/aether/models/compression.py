"""Caches that hold less than every key and value: sinks with a window, and packed integers.

`SinkCache` forgets the middle: the first tokens and the latest ones stay (StreamingLLM, arXiv 2309.17453, section 3.2). Keys keep the
rotary positions of their sequence, so it reads no further than the model's context; the paper's positions within the cache would.
Where every layer has a window, `rolling` forgets what no layer sees: nothing changes but the bytes.
`QuantisedCache` keeps keys by channel and values by token as integers of 8 or 4 bits with a scale and a lowest value for each group,
the newest tokens as they are (KIVI, arXiv 2402.02750, section 3). Dropping by accumulated attention (H2O, arXiv 2306.14048) needs weights that
fused attention does not give. What each costs is measured by `benchmarks/memory_compression.py`.

Shapes: L layers, S slots, K key-value heads, P positions, D head size, G tokens of a group.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from aether.models.cache import Cache, KVCache
from aether.models.config import DecoderConfig
from aether.spec.errors import InputError

GROUP = 32
"""Tokens whose keys share a scale for each channel (arXiv 2402.02750, section 4.1: 32)."""


def _every_key(config: DecoderConfig) -> bool:
    """Whether every layer keeps keys and values of every token."""
    return config.mixers == {"attention"} and config.memory is None


def _other(config: DecoderConfig) -> str:
    return "memory" if config.memory is not None else "mixer"


@dataclass
class SinkCache(KVCache):
    """The first `sinks` tokens and the latest; a slot has room for all that is held and the next `spare` tokens."""

    sinks: int = 4
    spare: int = 1
    kept: int = 0
    """Positions of a slot after something went."""

    @classmethod
    def of(
        cls, config: DecoderConfig, slots: int, sinks: int, window: int, dtype: torch.dtype = torch.float32
    ) -> "SinkCache":
        """An empty cache of `sinks` + `window` positions. Raises InputError for layers that would read what is gone."""
        parts = (
            ("positions", config.positions == "alibi"),
            ("window", config.window is not None),
            (_other(config), not _every_key(config)),
        )
        name = next((part for part, reads_what_is_gone in parts if reads_what_is_gone), None)
        if name is not None:
            raise InputError.of(
                f"model.{name}", str(getattr(config, name)), "forgetting the middle needs full attention without ALiBi"
            )
        if sinks < 0 or window < 2:
            raise InputError.of("window", (sinks, window), "sinks from 0 up, and a window of two tokens or more")
        held = KVCache.allocate(config, slots, sinks + window, dtype)
        return cls(held.lengths, held.keys, held.values, sinks=sinks, kept=sinks + window - 1)

    @classmethod
    def rolling(
        cls, config: DecoderConfig, slots: int, spare: int, dtype: torch.dtype = torch.float32
    ) -> "SinkCache | None":
        """An empty cache of what windows and their sink tokens see, for passes of at most `spare` tokens; None where some layer
        sees more, or nothing is saved."""
        kept = config.sink_tokens + (config.window or config.context_tokens) - 1
        # Room for two passes: what went is moved over once for each `spare` tokens.
        room = kept + 2 * spare
        if config.full_attention_every is not None or not _every_key(config) or room >= config.context_tokens:
            return None
        held = KVCache.allocate(config, slots, room, dtype)
        return cls(held.lengths, held.keys, held.values, sinks=config.sink_tokens, spare=spare, kept=kept)

    def grow(self, slot: int, tokens: int) -> None:
        """As `Cache.grow`; then what must go for the next tokens goes."""
        super().grow(slot, tokens)
        length = self.lengths[slot]
        if length + self.spare <= self.context_tokens:
            return
        latest = self.kept - self.sinks
        for block in (self.keys, self.values):
            block[:, slot, :, self.sinks : self.kept] = block[:, slot, :, length - latest : length].clone()
        self.lengths[slot], self.gone[slot] = self.kept, self.gone[slot] + length - self.kept


@dataclass
class Packed:
    """Integers of 8 bits, or two of 4 in a byte along the last axis, with a scale and a lowest value for each group."""

    codes: Tensor
    scale: Tensor
    low: Tensor

    @classmethod
    def of(cls, x: Tensor, bits: int, axis: int) -> "Packed":
        """`x` in steps of (highest - lowest) / (2^bits - 1) along `axis`."""
        low, high = x.amin(axis, keepdim=True), x.amax(axis, keepdim=True)
        scale = ((high - low) / (2**bits - 1)).to(torch.float16)
        low = low.to(torch.float16)
        steps = (x - low.to(x.dtype)) / scale.to(x.dtype).clamp_min(1e-7)
        codes = steps.round().clamp(0, 2**bits - 1).to(torch.uint8)
        return cls(codes if bits == 8 else codes[..., ::2] | codes[..., 1::2] << 4, scale, low)

    def values(self, bits: int, dtype: torch.dtype) -> Tensor:
        """What the integers stand for."""
        codes = self.codes
        if bits == 4:
            codes = torch.stack((codes & 15, codes >> 4), dim=-1).flatten(-2)
        return codes.to(dtype) * self.scale.to(dtype) + self.low.to(dtype)

    @property
    def bytes(self) -> int:
        """Bytes of all three."""
        return sum(t.numel() * t.element_size() for t in (self.codes, self.scale, self.low))


@dataclass
class QuantisedCache(Cache):
    """Groups of `GROUP` tokens as integers, the newest `GROUP` to 2 `GROUP` - 1 as they are. All slots grow together."""

    bits: int
    room: int
    groups: list[list[tuple[Packed, Packed]]]
    """For each layer its groups, oldest first: keys [S, K, G, D] by channel, values by token."""
    recent: list[tuple[Tensor, Tensor]]
    """For each layer the newest keys and values, [S, K, at most 2 G - 1, D]."""

    @classmethod
    def of(
        cls, config: DecoderConfig, slots: int, bits: int, context_tokens: int | None = None, dtype: torch.dtype = torch.float32
    ) -> "QuantisedCache":  # fmt: skip
        """An empty cache. Raises InputError for widths other than 8 and 4, and for caches of latent vectors or states."""
        if bits not in (4, 8):
            raise InputError.of("bits", bits, "8 or 4")
        if config.latent is not None or not _every_key(config):
            name = "latent" if config.latent is not None else _other(config)
            raise InputError.of(f"model.{name}", str(getattr(config, name)), "only heads of keys and values are packed")
        empty = torch.zeros(config.layers, slots, config.kv_heads, 0, config.head_size, dtype=dtype)
        recent = [(empty[layer], empty[layer]) for layer in range(config.layers)]
        room = context_tokens or config.context_tokens
        groups: list[list[tuple[Packed, Packed]]] = [[] for _ in range(config.layers)]
        return cls([0] * slots, bits, room, groups, recent)

    @property
    def context_tokens(self) -> int:
        """How many positions a slot has."""
        return self.room

    @property
    def bytes(self) -> int:
        """Bytes of integers, scales, lowest values and newest tokens."""
        packed = sum(one.bytes for layer in self.groups for pair in layer for one in pair)
        return packed + sum(t.numel() * t.element_size() for pair in self.recent for t in pair)

    def store(
        self, layer: int, first: int, where_BT: Tensor | None, end: int, new: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """As `Cache.store`, for all slots at once; what is returned is made from the integers."""
        assert first == 0 and new[0].shape[0] == self.slots and len(set(self.lengths)) == 1, "slots grow together"
        k, v = (torch.cat((held, one), dim=2) for held, one in zip(self.recent[layer], new, strict=True))
        groups, dtype = self.groups[layer], k.dtype
        whole = [torch.cat((*(pair[i].values(self.bits, dtype) for pair in groups), (k, v)[i]), dim=2) for i in (0, 1)]
        while k.shape[2] >= 2 * GROUP:
            groups.append((Packed.of(k[:, :, :GROUP], self.bits, 2), Packed.of(v[:, :, :GROUP], self.bits, 3)))
            k, v = k[:, :, GROUP:], v[:, :, GROUP:]
        self.recent[layer] = (k.clone(), v.clone())
        return whole[0], whole[1]
