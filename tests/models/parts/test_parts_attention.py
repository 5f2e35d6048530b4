"""Attention from parts against a naive float64 form, for every option, in training, over chunks and over a cache."""

import pytest
import torch
from parts_toys import counted_flops_per_token, random_parts, shape, tokens_of

from aether.models.cache import KVCache
from aether.models.config import DecoderConfig
from aether.models.parts.attention import Scores, Sight, attend
from aether.spec.errors import InputError

torch.set_num_threads(1)


def naive(q, k, v, seen_BTP, scale, softcap=None, sink_H=None):
    """The formula with the whole square, in float64."""
    heads, kv_heads = q.shape[1], k.shape[1]
    q, k, v = (t.double().repeat_interleave(heads // t.shape[1], dim=1) for t in (q, k, v))
    assert kv_heads <= heads
    scores = q @ k.mT * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~seen_BTP[:, None], float("-inf"))
    if sink_H is not None:
        sinks = sink_H.double().view(1, -1, 1, 1).expand(*scores.shape[:3], 1)
        weights = torch.cat((scores, sinks), dim=-1).softmax(-1)[..., :-1]
    else:
        weights = scores.softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


OPTIONS = {
    "mha": {"kv": 4},
    "gqa": {},
    "mqa": {"kv": 1},
    "window": {"window": 7},
    "window of one": {"window": 1},
    "sink tokens": {"window": 7, "sink_tokens": 3},
    "documents": {"documents": True},
    "documents, window, sink tokens": {"documents": True, "window": 7, "sink_tokens": 3},
    "softcap": {"softcap": 3.0},
    "softcap, window, documents": {"softcap": 3.0, "window": 7, "documents": True},
    "sink logits": {"sink": True},
    "sink logits, window": {"sink": True, "window": 7, "documents": True},
    "scale": {"scale": 0.1},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("chunk", [None, 16])
def test_attention_and_its_gradients_are_those_of_the_naive_form(name, chunk):
    option, tokens = OPTIONS[name], 50
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(2, heads, tokens, 12, generator=generator)
        for heads in (4, option.get("kv", 2), option.get("kv", 2))
    )
    sink_H = torch.randn(4, generator=generator) if option.get("sink") else None
    inputs = [t for t in (q, k, v, sink_H) if t is not None]
    for one in inputs:
        one.requires_grad_(True)
    distance = torch.arange(tokens)[:, None] - torch.arange(tokens)
    window, first = option.get("window"), option.get("sink_tokens", 0)
    ids, places = None, None
    seen = (distance >= 0).expand(2, -1, -1)
    where = torch.arange(tokens).expand(2, -1)
    if option.get("documents"):
        ids = torch.tensor([[0] * 20 + [1] * 30, [5] * 9 + [6] * 41])
        where = places = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in ((20, 30), (9, 41))])
        seen = seen & (ids[:, :, None] == ids[:, None])
    if window is not None:
        seen = seen & ((distance < window) | (where[:, None] < first))
    sight = Sight(torch.arange(tokens)[None], 0, tokens, ids, places, window, first)
    scale, cap = option.get("scale", 12**-0.5), option.get("softcap")
    ours = attend(q, k, v, sight, Scores(scale, cap, None, sink_H), chunk)
    expected = naive(q, k, v, seen, scale, cap, sink_H)
    torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-5)
    probe = torch.randn(expected.shape, generator=generator)
    grads = torch.autograd.grad((ours * probe).sum(), inputs)
    wanted = torch.autograd.grad((expected * probe).sum(), inputs)
    for one, two in zip(grads, wanted, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_a_window_of_a_long_input_reads_only_the_keys_that_it_reaches():
    sight = Sight(torch.arange(8192)[None], 0, 8192, window=256, sink_tokens=4)
    keys, mask = sight.chunk(4096, 5120)
    assert mask.shape == (1, 1, 1024, 1024 + 255 + 4)
    assert keys[:5].tolist() == [0, 1, 2, 3, 4096 - 255] and keys[-1] == 5119


EVERY = {
    "mha": {"kv_heads": 4, "window": 64},
    "mqa, no norm of q and k": {"kv_heads": 1, "qk_norm": "none"},
    "window": {"window": 5},
    "every second layer full": {"window": 5, "full_attention_every": 2},
    "sink tokens": {"window": 5, "sink_tokens": 2},
    "sink logits": {"sink_logits": True, "window": 5, "full_attention_every": 3},
    "softcaps": {"attention_softcap": 2.0, "logit_softcap": 3.0, "query_scale": 20},
    "own base of windows": {"window": 5, "full_attention_every": 2, "local_rope_theta": 100.0},
    "alibi and sinks": {"positions": "alibi", "sink_logits": True},
}


@pytest.mark.parametrize("kind", EVERY)
def test_every_kind_counts_itself_and_agrees_with_its_cache(kind):
    config = shape(**EVERY[kind])
    model = random_parts(config)
    assert sum(p.numel() for p in model.parameters()) == config.parameters()
    tokens = tokens_of(config, batch=2, tokens=24)
    whole = model(tokens)
    loss = model.loss(tokens[:, :-1], tokens[:, 1:])
    expected = torch.nn.functional.cross_entropy(whole[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    cache = KVCache.allocate(config, slots=3)
    for row, length in ((0, 9), (1, 13)):
        model.extend(tokens[row : row + 1, :4], cache, first=row)
        last = model.extend(tokens[row : row + 1, 4:length], cache, first=row)
        torch.testing.assert_close(last[0], whole[row, length - 1], rtol=3e-5, atol=3e-5)
    ragged = torch.zeros(2, 5, dtype=torch.long)
    counts, here = [5, 2], list(cache.lengths)
    for row, count in enumerate(counts):
        ragged[row, :count] = tokens[row, here[row] : here[row] + count]
    logits = model.extend(ragged, cache, counts=counts)
    for row, count in enumerate(counts):
        torch.testing.assert_close(logits[row], whole[row, here[row] + count - 1], rtol=3e-5, atol=3e-5)


@pytest.mark.parametrize("kind", ["mqa, no norm of q and k", "softcaps"])
def test_flops_are_those_of_a_counted_forward(kind):
    config = shape(**EVERY[kind])
    assert counted_flops_per_token(random_parts(config), 16) == config.flops_per_token(16)


def test_a_window_is_counted_by_what_it_sees():
    near, far = (DecoderConfig(**shape(**more).model_dump()) for more in ({"window": 8}, {"window": 64}))
    saved = 4 * near.layers * near.heads * near.head_size * (32 - 8)
    assert far.flops_per_token(32) - near.flops_per_token(32) == saved


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sink_tokens": 4}, "sink_tokens"),
        ({"full_attention_every": 2}, "full_attention_every"),
        ({"local_rope_theta": 100.0}, "local_rope_theta"),
        ({"positions": "none", "window": 4, "local_rope_theta": 100.0}, "local_rope_theta"),
        ({"positions": "alibi", "attention_softcap": 50.0}, "positions"),
        ({"sink_logits": True, "attention_softcap": 50.0}, "sink_logits"),
    ],
)
def test_what_excludes_another_is_refused_by_name(change, field):
    with pytest.raises(InputError, match=field):
        shape(**change)
