"""A decoder from exchangeable parts as the server's rows: one step over a ragged batch of tokens against a slotted cache.

What `aether.models.packed` is for the default decoder, without its packing: decoding rows are one pass over the cache, each prompt chunk is
another. A row that sits a step out is a row none of whose tokens count, so that a recurrent state stays what it was. The cache is the
model's own: keys and values, latent vectors, states; where every layer has a window, only what the windows see. Not here: prefix sharing,
which a state does not allow.

Shapes: R cache rows in use, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from aether.models.cache import KVCache
from aether.models.compression import SinkCache
from aether.models.decoder import Decoder
from aether.models.packed import Chunk
from aether.spec.errors import InputError

PASS_TOKENS = 128
"""Most prompt tokens of one pass over a cache that forgets (assumed)."""


class PartsRows:
    """Weights and cache. Not thread-safe: one engine thread owns it."""

    def __init__(
        self, model: Decoder, slots: int, dtype: torch.dtype = torch.float32, pass_tokens: int = PASS_TOKENS
    ) -> None:
        """The cache has `slots` rows of the model's context. Raises InputError for dynamic NTK, whose kept keys would have to turn again."""
        config = model.config
        if config.rope_scaling is not None and config.rope_scaling.kind == "dynamic" and config.rope_scaling.factor > 1:
            mend = "a server reads over a cache, whose keys dynamic scaling would have to turn again; use yarn or ntk"
            raise InputError.of("model.rope_scaling.kind", "dynamic", mend)
        self.config, self.dtype, self.slots = config, dtype, slots
        self.spare_position = config.context_tokens
        self._model = model.to(dtype).eval()
        rolling = SinkCache.rolling(config, slots, pass_tokens, dtype)
        self._pass_tokens = config.context_tokens if rolling is None else pass_tokens
        self._cache = rolling or KVCache.allocate(config, slots, dtype=dtype)

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys, values and states."""
        return self._cache.bytes

    def move_row(self, source: int, target: int, length: int) -> None:
        """Make cache row `target` what `source` is."""
        self._cache.move(source, target)

    def step(
        self,
        tokens_N: Sequence[int],
        positions_N: Sequence[int],
        rows: int,
        chunks: Sequence[Chunk],
        heads: Sequence[int],
    ) -> Tensor:
        """As `PackedDecoder.step`."""
        found: dict[int, Tensor] = {}
        if rows:
            sits_out = [position == self.spare_position for position in positions_N[:rows]]
            counts = [1 - out for out in sits_out] if any(sits_out) else None
            logits_RV = self._model.extend(torch.tensor(tokens_N[:rows])[:, None], self._cache, counts=counts)
            found = dict(enumerate(logits_RV))
        for chunk in chunks:
            found[chunk.first + chunk.count - 1] = self._read(chunk, tokens_N)
        return torch.stack([found[head] for head in heads]) if heads else torch.empty(0, self.config.vocab_size)

    def _read(self, chunk: Chunk, tokens_N: Sequence[int]) -> Tensor:
        """Logits [V] of the chunk's last token."""
        if chunk.start == 0:
            self._cache.free(chunk.row)
        tokens_1T = torch.tensor(tokens_N[chunk.first : chunk.first + chunk.count])[None]
        parts = tokens_1T.split(self._pass_tokens, dim=1)
        return [self._model.extend(part, self._cache, first=chunk.row)[0] for part in parts][-1]
