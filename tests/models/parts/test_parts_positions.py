"""Positions against transformers' initialisers and classes, the papers' formulas, the cache, and the flop counter."""

import pytest
import torch
from parts_toys import counted_flops_per_token, random_parts, shape, tokens_of
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXConfig, GPTNeoXRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding

from aether.models.cache import KVCache
from aether.models.config import DecoderConfig
from aether.models.parts.attention import Scores, Sight, attend
from aether.models.parts.block import turned
from aether.models.parts.decoder import PartsDecoder, decoder
from aether.models.parts.positions import alibi_slopes, frequencies, rotary_tables, sine_waves
from aether.spec.errors import InputError

torch.set_num_threads(1)


def theirs(kind: str, tokens: int, **said) -> tuple[torch.Tensor, float]:
    rope = {"rope_type": kind, "rope_theta": 5000.0} | said
    config = LlamaConfig(
        hidden_size=64,
        num_attention_heads=2,
        max_position_embeddings=said["original_max_position_embeddings"],
        rope_parameters=rope,
    )
    return ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len=tokens)


def scaled(**changes) -> DecoderConfig:
    given = {"factor": 4.0, "original_context_tokens": 64}
    return shape(head_size=32, context_tokens=256, rope_theta=5000.0, rope_scaling=given | changes)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("linear", {}),
        ("dynamic", {}),
        ("yarn", {}),
        ("yarn", {"beta_fast": 16.0, "beta_slow": 2.0}),
        ("yarn", {"attention_factor": 1.3}),
    ],
)
@pytest.mark.parametrize("tokens", [40, 256])
def test_scaled_frequencies_are_those_of_transformers(kind, more, tokens):
    ours, factor = frequencies(scaled(kind=kind, **more), tokens)
    expected, their_factor = theirs(kind, tokens, factor=4.0, original_max_position_embeddings=64, **more)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=0)
    assert factor == pytest.approx(their_factor, rel=1e-12)
    cos, _ = rotary_tables(scaled(kind=kind, **more), tokens)
    torch.testing.assert_close(cos[:, :16], torch.outer(torch.arange(tokens).float(), expected).cos() * their_factor)


def test_ntk_aware_is_dynamic_ntk_of_factor_one_at_the_stretched_length():
    ours, factor = frequencies(scaled(kind="ntk"), 17)
    expected, _ = theirs("dynamic", 256, factor=1.0, original_max_position_embeddings=64)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=0)
    assert factor == 1.0


def test_partial_rotation_is_that_of_gpt_neox():
    config = shape(head_size=16, rope_fraction=0.25)
    their = GPTNeoXConfig(
        hidden_size=64,
        num_attention_heads=4,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
    )
    q, k = torch.randn(2, 2, 4, 30, 16, generator=torch.Generator().manual_seed(0))
    cos, sin = GPTNeoXRotaryEmbedding(their)(q, torch.arange(30)[None])
    assert cos.shape[-1] == 4
    tables = rotary_tables(config, 30)
    for ours, expected in zip((q, k), apply_rotary_pos_emb(q, k, cos, sin), strict=True):
        torch.testing.assert_close(turned(ours, tables), expected)


def test_sine_waves_are_those_of_the_paper():
    expected = MarianSinusoidalPositionalEmbedding(50, 24).create_weight()
    ours = sine_waves(50, 24)
    torch.testing.assert_close(torch.cat((ours[:, 0::2], ours[:, 1::2]), dim=1), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("heads", [1, 4, 6, 8, 12])
def test_alibi_slopes_are_those_of_bloom(heads):
    bias = build_alibi_tensor(torch.ones(1, 5), heads, torch.float32).view(heads, 5)
    torch.testing.assert_close(alibi_slopes(heads)[:, None] * torch.arange(5), bias)


EVERY = {
    "partial": {"rope_fraction": 0.5},
    "learned": {"positions": "learned"},
    "sinusoidal": {"positions": "sinusoidal", "scale_embedding": True},
    "alibi": {"positions": "alibi"},
    "none": {"positions": "none"},
    "linear": {"rope_scaling": {"kind": "linear", "factor": 4, "original_context_tokens": 16}},
    "ntk": {"rope_scaling": {"kind": "ntk", "factor": 4, "original_context_tokens": 16}},
    "yarn": {"rope_scaling": {"kind": "yarn", "factor": 4, "original_context_tokens": 16}},
}


@pytest.mark.parametrize("kind", EVERY)
def test_every_kind_counts_itself_and_agrees_with_its_cache_and_with_documents_apart(kind):
    config = shape(**EVERY[kind])
    model = random_parts(config)
    assert sum(p.numel() for p in model.parameters()) == config.parameters()
    # ALiBi's two values and padding to 16 are what its kernel does, not what the model is.
    spare = 4 * (16 - 12) * 16 * config.heads * config.layers if kind == "alibi" else 0
    assert counted_flops_per_token(model, 16) == config.flops_per_token(16) + spare
    tokens = tokens_of(config, batch=2, tokens=24)
    whole = model(tokens)
    ids = torch.tensor([[0] * 10 + [1] * 14, [3] * 24])
    packed = model(tokens, ids)
    for row, start, end in ((0, 0, 10), (0, 10, 24), (1, 0, 24)):
        alone = model(tokens[row : row + 1, start:end])[0]
        torch.testing.assert_close(packed[row, start:end], alone, rtol=2e-5, atol=2e-5)
    cache = KVCache.allocate(config, slots=2)
    for row, length in ((0, 7), (1, 12)):
        last = model.extend(tokens[row : row + 1, :length], cache, first=row)
        torch.testing.assert_close(last[0], whole[row, length - 1], rtol=2e-5, atol=2e-5)
    for _ in range(3):
        here = list(cache.lengths)
        step = torch.stack([tokens[row, here[row]] for row in range(2)])[:, None]
        logits = model.extend(step, cache)
        for row in range(2):
            torch.testing.assert_close(logits[row], whole[row, here[row]], rtol=2e-5, atol=2e-5)


def test_alibi_in_bfloat16_is_the_bias_of_far_positions():
    """The split of a position into two exact numbers: the mean distance that a uniform head looks back on, far beyond 256."""
    config = shape(positions="alibi", heads=4, kv_heads=2, layers=1, context_tokens=700)
    model, exact = random_parts(config), random_parts(config)
    model.compute_dtype = torch.bfloat16
    tokens = tokens_of(config, batch=1, tokens=700)
    near = torch.nn.functional.cosine_similarity(model(tokens)[0, 600:], exact(tokens)[0, 600:], dim=-1)
    assert near.min() > 0.999


def test_alibi_is_the_bias_of_its_paper():
    q, k, v = torch.randn(3, 1, 6, 300, 8, generator=torch.Generator().manual_seed(1))
    sight = Sight(torch.arange(300)[None], 0, 300)
    ours = attend(q, k[:, :3], v[:, :3], sight, Scores(8**-0.5, slopes_H=alibi_slopes(6)))
    distance = torch.arange(300)[:, None] - torch.arange(300)
    keys, values = (t[:, :3].repeat_interleave(2, dim=1).double() for t in (k, v))
    scores = q.double() @ keys.mT * 8**-0.5 - alibi_slopes(6).double()[:, None, None] * distance
    weights = scores.masked_fill(distance < 0, float("-inf")).softmax(-1)
    torch.testing.assert_close(ours.double(), (weights @ values).transpose(1, 2).flatten(2), rtol=1e-4, atol=1e-4)


def test_dynamic_ntk_is_plain_within_its_context_and_refused_over_a_cache_beyond_it():
    config = shape(rope_scaling={"kind": "dynamic", "factor": 4, "original_context_tokens": 16})
    model, plain = (
        random_parts(config),
        random_parts(shape(rope_scaling={"kind": "linear", "factor": 1, "original_context_tokens": 64})),
    )
    plain.load_state_dict(model.state_dict())
    tokens = tokens_of(config, batch=1, tokens=40)
    torch.testing.assert_close(model(tokens[:, :16]), plain(tokens[:, :16]))
    assert not torch.allclose(model(tokens)[:, :16], plain(tokens)[:, :16], atol=1e-3)
    cache = KVCache.allocate(config, slots=1)
    torch.testing.assert_close(
        model.extend(tokens[:, :16], cache)[0], plain(tokens[:, :16])[0, -1], rtol=2e-5, atol=2e-5
    )
    with pytest.raises(InputError, match="original_context_tokens = 16"):
        model.extend(tokens[:, 16:17], cache)


def test_a_decoder_that_exchanges_nothing_is_the_default_one():
    assert type(decoder(shape())) is not PartsDecoder and shape().plain
    assert "positions" not in shape().model_dump() and shape(positions="none").model_dump()["positions"] == "none"
    assert shape(positions="rope") == shape()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"positions": "alibi", "rope_fraction": 0.5}, "rope_fraction"),
        (
            {"positions": "none", "rope_scaling": {"kind": "yarn", "factor": 4, "original_context_tokens": 16}},
            "rope_scaling",
        ),
        ({"rope_fraction": 0.2}, "rope_fraction"),
        ({"rope_scaling": {"kind": "yarn", "factor": 2, "original_context_tokens": 16}}, "context_tokens"),
        ({"rope_scaling": {"kind": "dynamic", "factor": 8, "original_context_tokens": 16}}, "factor"),
        (
            {"rope_scaling": {"kind": "linear", "factor": 4, "original_context_tokens": 16, "attention_factor": 2}},
            "attention_factor",
        ),
        ({"rope_scaling": {"kind": "yarn", "factor": 4, "original_context_tokens": 16, "beta_fast": 0.5}}, "beta_fast"),
        ({"rope_scaling": {"kind": "ntk", "factor": 4, "original_context_tokens": 16}, "rope_fraction": 1 / 6}, "kind"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(change, field):
    with pytest.raises(InputError, match=field):
        shape(**change)
