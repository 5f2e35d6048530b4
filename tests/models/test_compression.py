"""Smaller caches against a mask over the whole pass, against plain arithmetic of integers, and in the bytes that they hold."""

import pytest
import torch
from parts_toys import random_parts, shape, tokens_of

from aether.models.cache import Cache
from aether.models.compression import GROUP, Packed, QuantisedCache, SinkCache
from aether.models.decoder import Decoder
from aether.spec.errors import InputError

torch.set_num_threads(1)


def read(model: Decoder, tokens: torch.Tensor, cache: Cache, step: int = 1) -> torch.Tensor:
    """Logits of every token, read `step` at a time."""
    parts = [model.extend(tokens[:, at : at + step], cache, every=True) for at in range(0, tokens.shape[1], step)]
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("parts", [{}, {"qk_norm": "none", "activation": "geglu"}])
@pytest.mark.parametrize("sinks", [0, 3])
def test_forgetting_the_middle_is_a_window_with_sinks_over_the_whole_pass(parts, sinks):
    config = shape(**parts)
    model = Decoder(config) if config.plain else random_parts(config)
    model.initialise(3, embedding_std=0.5)
    tokens = tokens_of(config, tokens=50)
    cache = SinkCache.of(config, slots=2, sinks=sinks, window=8)
    got = read(model, tokens, cache)
    assert cache.lengths == [sinks + 7] * 2 and cache.gone == [50 - sinks - 7] * 2
    assert cache.bytes == 2 * (sinks + 8) * config.kv_bytes_per_token(4)
    masked = random_parts(shape(**parts, window=8, sink_tokens=sinks))
    with torch.no_grad():
        named = dict(model.named_parameters())
        if config.plain:
            named = {_parts_name(name): parameter for name, parameter in named.items()}
        for name, parameter in masked.named_parameters():
            parameter.copy_(named[name])
    torch.testing.assert_close(got, masked(tokens), rtol=1e-4, atol=1e-4)


def _parts_name(name: str) -> str:
    name = name.replace("final_gain", "final_norm.gain").replace("_gain", "_norm.gain")
    return name.replace(".gate_up", ".mlp.gate_up").replace(".down", ".mlp.down")


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("axis", [2, 3])
def test_integers_are_within_half_a_step_of_what_they_stand_for(bits, axis):
    x = torch.randn(2, 2, GROUP, 12, generator=torch.Generator().manual_seed(0)).double()
    packed = Packed.of(x, bits, axis)
    steps = (x.amax(axis, keepdim=True) - x.amin(axis, keepdim=True)) / (2**bits - 1)
    # The scale and the lowest value are float16: up to 2^-11 of themselves more.
    slack = (x.abs().amax(axis, keepdim=True) * 4) * 2**-11
    assert bool(((packed.values(bits, x.dtype) - x).abs() <= steps / 2 + slack).all())
    assert packed.codes.numel() == x.numel() * bits // 8
    constant = torch.full((1, 1, GROUP, 4), 0.5)
    assert torch.equal(Packed.of(constant, bits, axis).values(bits, torch.float32), constant)


def test_a_quantised_cache_reads_nearly_what_the_whole_one_reads():
    config = shape(context_tokens=256)
    model = Decoder(config)
    model.initialise(3, embedding_std=0.05)
    tokens = tokens_of(config, tokens=200)
    with torch.no_grad():
        whole = model(tokens)
    errors = {}
    for bits in (8, 4):
        cache = QuantisedCache.of(config, slots=2, bits=bits)
        got = read(model, tokens, cache)
        # Until the first group is packed nothing differs.
        torch.testing.assert_close(got[:, : 2 * GROUP], whole[:, : 2 * GROUP], rtol=1e-4, atol=1e-4)
        errors[bits] = float((got - whole)[:, 2 * GROUP :].std() / whole.std())
        newest = 200 % GROUP + GROUP
        packed = 200 - newest
        values = 2 * 2 * config.layers * config.kv_heads * config.head_size
        scales = 2 * config.layers * config.kv_heads * (config.head_size * packed // GROUP + packed) * 2 * 2
        assert cache.bytes == values * newest * 4 + values * packed * bits // 8 + scales
        again = QuantisedCache.of(config, slots=2, bits=bits)
        torch.testing.assert_close(read(model, tokens[:, :64], again, step=16), got[:, :64], rtol=1e-4, atol=1e-4)
    # A step of 4 bits is 17 of 8 bits.
    assert errors[8] < 0.02 and 8 < errors[4] / errors[8] < 34


def test_what_cannot_be_compressed_is_refused_by_name():
    latent = {"latent": {"kv_rank": 8, "rope_size": 4, "value_size": 8}, "kv_heads": 4, "qk_norm": "none"}
    for config, field in (
        (shape(positions="alibi"), "positions"),
        (shape(window=4), "window"),
        (shape(mixer="mamba2"), "mixer"),
    ):
        with pytest.raises(InputError, match=rf"model\.{field}"):
            SinkCache.of(config, 1, 1, 4)
    with pytest.raises(InputError, match=r"model\.latent"):
        QuantisedCache.of(shape(**latent), 1, 4)
    with pytest.raises(InputError, match="bits"):
        QuantisedCache.of(shape(), 1, 3)
    with pytest.raises(InputError, match="window"):
        SinkCache.of(shape(), 1, 4, 1)
