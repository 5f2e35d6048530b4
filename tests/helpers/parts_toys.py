"""Toy decoders from exchangeable parts, with weights that show every part."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from aether.models.cache import KVCache
from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder
from aether.models.parts.decoder import PartsDecoder, decoder


def shape(**changes) -> DecoderConfig:
    """Three layers of width 48."""
    given = {
        "vocab_size": 61, "hidden_size": 48, "layers": 3, "heads": 4, "kv_heads": 2, "head_size": 12,
        "mlp_size": 80, "context_tokens": 64,
    }  # fmt: skip
    return DecoderConfig(**(given | changes))


def random_parts(config: DecoderConfig, seed: int = 1) -> PartsDecoder:
    """Its decoder; no gain is one and no bias zero, so that a wrong one shows."""
    model = decoder(config)
    assert isinstance(model, PartsDecoder)
    model.initialise(seed, embedding_std=0.5)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def tokens_of(config: DecoderConfig, batch: int = 2, tokens: int = 40, seed: int = 0) -> torch.Tensor:
    """Random tokens [B, T]."""
    return torch.randint(0, config.vocab_size, (batch, tokens), generator=torch.Generator().manual_seed(seed))


def read_in_parts(config: DecoderConfig, lengths: tuple[int, int], tokens: int, tolerance: float):
    """Two sequences over one cache, in passes of different lengths and one ragged pass: each time the logits are those of the whole pass.

    Returns (model, tokens [2, T], logits of the whole pass [2, T, V], the cache of three slots).
    """
    model = random_parts(config).double()
    tokens_2T = tokens_of(config, batch=2, tokens=tokens)
    whole = model(tokens_2T)
    cache = KVCache.allocate(config, slots=3, dtype=torch.float64)
    for row, length in enumerate(lengths):
        model.extend(tokens_2T[row : row + 1, :3], cache, first=row)
        last = model.extend(tokens_2T[row : row + 1, 3:length], cache, first=row)
        torch.testing.assert_close(last[0], whole[row, length - 1], rtol=tolerance, atol=tolerance)
    ragged, counts, here = torch.zeros(2, 5, dtype=torch.long), [5, 2], list(cache.lengths)
    for row, count in enumerate(counts):
        ragged[row, :count] = tokens_2T[row, here[row] : here[row] + count]
    logits = model.extend(ragged, cache, counts=counts)
    for row, count in enumerate(counts):
        torch.testing.assert_close(logits[row], whole[row, here[row] + count - 1], rtol=tolerance, atol=tolerance)
    return model, tokens_2T, whole, cache


def counted_flops_per_token(model: Decoder, tokens: int) -> float:
    """What torch counts in a forward pass over windows of `tokens`, per token.

    By SDPA's plain form: the counter does not know its CPU kernel.
    """
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(tokens_of(model.config, batch=2, tokens=tokens))
    return counter.get_total_flops() / (2 * tokens)
