"""Latent attention against the paper's equations in float64, its two forms against each other, and its counts."""

import pytest
import torch
from parts_toys import counted_flops_per_token, random_parts, shape, tokens_of

from aether.models import accounting
from aether.models.cache import KVCache
from aether.models.parts.latent import NORM_EPS, LatentAttention
from aether.spec.errors import InputError

torch.set_num_threads(1)
LATENT = {"kv_rank": 20, "query_rank": 16, "rope_size": 4, "value_size": 10}
PARTS = {"latent": LATENT, "kv_heads": 4, "qk_norm": "none"}
EVERY = {
    "compressed queries": PARTS,
    "plain queries": PARTS | {"latent": LATENT | {"query_rank": None}},
    "yarn": PARTS | {"rope_scaling": {"kind": "yarn", "factor": 4, "original_context_tokens": 16}},
    "experts": PARTS | {"experts": {"count": 4, "active": 2}},
    "softcap": PARTS | {"attention_softcap": 2.0},
    "hybrid": PARTS | {"mixer_pattern": ("mamba2", "attention"), "hidden_size": 48, "recurrence": {"head_size": 12, "state_size": 8}},
}  # fmt: skip


def normed(x, gain):
    return x / (x.square().mean(-1, keepdim=True) + NORM_EPS).sqrt() * gain


def by_the_equations(layer: LatentAttention, x_BTC: torch.Tensor) -> torch.Tensor:
    """Equations 9 to 19 of arXiv 2405.04434, one head and one query at a time."""
    heads, latent, size = layer.config.heads, layer.latent, layer.config.head_size
    nope, rope = size - latent.rope_size, latent.rope_size
    rates = layer.config.rope_theta ** -(torch.arange(0, rope, 2).double() / rope)

    def turn(row, position):
        first, second = row[: rope // 2], row[rope // 2 :]
        angle = position * rates
        return torch.cat((first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()))

    out = torch.zeros_like(x_BTC)
    for window, x_TC in enumerate(x_BTC):
        q = normed(x_TC @ layer.query_down.T, layer.query_norm.gain) @ layer.query_up.T
        c = normed(x_TC @ layer.latent_down[: latent.kv_rank].T, layer.latent_norm.gain)
        rotary_key = [turn(row, place) for place, row in enumerate(x_TC @ layer.latent_down[latent.kv_rank :].T)]
        for place in range(x_TC.shape[0]):
            parts = []
            for head in range(heads):
                one = q[place, head * size : (head + 1) * size]
                query = torch.cat((one[:nope], turn(one[nope:], place)))
                up = layer.latent_up[head * nope : (head + 1) * nope]
                begin = heads * nope + head * latent.value_size
                value = layer.latent_up[begin : begin + latent.value_size]
                keys = [torch.cat((up @ c[t], rotary_key[t])) for t in range(place + 1)]
                weights = (torch.stack(keys) @ query / size**0.5).softmax(0)
                parts.append(sum(weight * (value @ c[t]) for t, weight in enumerate(weights)))
            out[window, place] = layer.out @ torch.cat(parts)
    return out


def test_a_layer_and_its_gradients_are_those_of_the_equations():
    model = random_parts(shape(**PARTS)).double()
    layer = model.blocks[1].mixer
    assert isinstance(layer, LatentAttention)
    taken = {}
    layer.register_forward_hook(lambda module, args, result: taken.update(x=args[0], out=result))
    model(tokens_of(model.config, tokens=9))
    expected = by_the_equations(layer, taken["x"])
    # Rotary tables are of float32.
    torch.testing.assert_close(taken["out"], expected, rtol=1e-5, atol=1e-6)
    probe = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    ours = torch.autograd.grad((taken["out"] * probe).sum(), weights, retain_graph=True)
    for one, two in zip(ours, torch.autograd.grad((expected * probe).sum(), weights), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_it_counts_itself_and_agrees_with_its_cache(name):
    config = shape(**EVERY[name])
    model = random_parts(config)
    assert sum(p.numel() for p in model.parameters()) == config.parameters()
    matrices = sum(p.numel() for n, p in model.named_parameters() if p.ndim > 1 and n != "embedding")
    assert matrices == config.matrix_parameters()
    tokens = tokens_of(config, tokens=20)
    whole, cache = model(tokens), KVCache.allocate(config, slots=2)
    recurrent = config.state_bytes(4) * 2
    assert cache.bytes - recurrent == config.kv_bytes_per_token(4) * 2 * config.context_tokens
    if not recurrent:
        assert config.kv_bytes_per_token(4) == accounting.cache_bytes(config.architecture(), 1, 4)
    torch.testing.assert_close(model.extend(tokens[:, :15], cache), whole[:, 14], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.extend(tokens[:, 15:17], cache), whole[:, 16], rtol=1e-4, atol=1e-4)
    for place in (17, 18, 19):
        step = model.extend(tokens[:, place : place + 1], cache)
        torch.testing.assert_close(step, whole[:, place], rtol=1e-4, atol=1e-4)


def test_flops_are_what_torch_counts_and_the_form_with_the_fewer_is_taken():
    config = shape(**PARTS | {"latent": LATENT | {"value_size": 12}})
    model = random_parts(config)
    assert counted_flops_per_token(model, 16) == config.flops_per_token(16)
    layer = model.blocks[0].mixer
    assert isinstance(layer, LatentAttention)
    assert layer.absorbs(1, 64) and not layer.absorbs(64, 64)


def test_the_cache_holds_the_compressed_vector_alone():
    latent, heads = (shape(**PARTS | changes) for changes in ({}, {"latent": None}))
    assert latent.kv_bytes_per_token(2) == 3 * (20 + 4) * 2
    assert heads.kv_bytes_per_token(2) == 3 * 2 * 4 * 12 * 2
    cache = KVCache.allocate(latent, slots=1)
    assert cache.keys.shape[-1] == 24 and cache.values.numel() == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kv_heads": 2}, "kv_heads"),
        ({"latent": LATENT | {"rope_size": 12}}, r"latent\.rope_size"),
        ({"latent": LATENT | {"value_size": 14}}, r"latent\.value_size"),
        ({"qk_norm": "head"}, "qk_norm"),
        ({"positions": "alibi"}, "positions"),
        ({"window": 4}, "window"),
        ({"sink_logits": True}, "sink_logits"),
    ],
)
def test_what_latent_attention_has_not_is_refused_by_name(change, field):
    with pytest.raises(InputError, match=field):
        shape(**PARTS | change)
