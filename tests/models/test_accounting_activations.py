"""What a training pass keeps, against the storages that autograd saves."""

import itertools

import pytest
import torch
from parts_toys import shape, tokens_of
from torch.profiler import ProfilerActivity, profile

from aether.models.accounting_activations import _capped_bytes, activation_bytes, layer_kept, plain_kept
from aether.models.parts.attention import Scores, Sight, attend
from aether.models.parts.decoder import decoder

torch.set_num_threads(1)
BASE = {"hidden_size": 64, "head_size": 16, "mlp_size": 96, "context_tokens": 128, "qk_norm": "head"}
LATENT = {
    "kv_heads": 4,
    "qk_norm": "none",
    "latent": {"kv_rank": 24, "rope_size": 8, "value_size": 12, "query_rank": 16},
}
KINDS = {
    "window, qk norm": {"window": 128, "qk_norm": "head"},
    "full qk norm, post": {"qk_norm": "full", "norm_place": "post"},
    "sandwich, layer norm, bias": {"qk_norm": "none", "norm_place": "sandwich", "norm": "layer", "bias": True},
    "dyt, no positions": {"qk_norm": "none", "norm": "dyt", "positions": "none"},
    "gelu, learned, mqa": {"qk_norm": "none", "activation": "gelu", "positions": "learned", "kv_heads": 1},
    "partial rope": {"qk_norm": "none", "rope_fraction": 0.5},
    "alibi": {"qk_norm": "none", "positions": "alibi"},
    "softcap": {"qk_norm": "none", "attention_softcap": 20.0},
    "latent": LATENT,
    "experts": {"qk_norm": "none", "experts": {"count": 8, "active": 2, "shared_size": 32}},
    "expert choice": {
        "qk_norm": "none",
        "experts": {"count": 4, "active": 1, "router": "expert_choice", "normalise": False},
    },
    "memory": {"qk_norm": "none", "memory": {"segment_tokens": 16}},
    "memory, delta": {"memory": {"segment_tokens": 32, "update": "delta"}},
    "clamped": {"activation": "swiglu_clamped", "bias": True},
    "mamba": {"mixer": "mamba", "mlp_size": 0, "recurrence": {"state_size": 8}},
    "mamba2": {"mixer": "mamba2", "recurrence": {"state_size": 16, "key_heads": 2}},
    "retnet": {"mixer": "retnet"},
    "gated delta": {"mixer": "gated_delta", "recurrence": {"key_size": 8}},
    "rwkv6": {"mixer": "rwkv6"},
    "rwkv7": {"mixer": "rwkv7"},
}


def saved_bytes(config, tokens, dtype, documents=None) -> int:
    """Bytes of the storages that a training pass saves, those of parameters left out."""
    model = decoder(config, dtype)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    seen: dict[int, torch.Tensor] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = tensor
        return tensor

    given = tokens_of(config, batch=1, tokens=tokens)
    # Every one is held here, so that no storage is given out twice.
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model.loss(given, given, documents)
    assert loss.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in seen.values())


def of_one_layer(parts, dtype, tokens, packed=False):
    """Bytes that the third layer adds."""
    documents = (torch.arange(tokens) >= tokens // 2).long()[None] if packed else None
    three, two = (saved_bytes(shape(**(BASE | parts), layers=n), tokens, dtype, documents) for n in (3, 2))
    return three - two


NARROW = ("window, qk norm", "latent", "experts", "memory", "mamba", "gated delta", "rwkv6")
"""Also in bfloat16: where parts hold float32 beside it."""


@pytest.mark.parametrize(
    ("name", "dtype"), [(name, torch.float32) for name in KINDS] + [(name, torch.bfloat16) for name in NARROW]
)
def test_a_layer_keeps_what_it_states(name, dtype):
    config = shape(**(BASE | KINDS[name]), layers=3)
    stated = layer_kept(config, 2).bytes(dtype.itemsize)
    # By difference, so that casts of weights, which no token adds to, are left out.
    kept = (of_one_layer(KINDS[name], dtype, 128) - of_one_layer(KINDS[name], dtype, 64)) / 64
    # Capped scores keep a byte for each pair; bfloat16 experts are padded by the grouped product.
    slack = 192 if "attention_softcap" in KINDS[name] else 0
    assert kept == pytest.approx(stated + slack, rel=0.06 if "experts" in KINDS[name] else 0.002)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_default_decoder_keeps_what_it_states(dtype):
    own = [saved_bytes(shape(**BASE | {"layers": 3}), tokens, dtype) for tokens in (64, 128)]
    own = [
        one - saved_bytes(shape(**BASE | {"layers": 2}), tokens, dtype)
        for one, tokens in zip(own, (64, 128), strict=True)
    ]
    config = shape(**BASE)
    # The scores grow with the square of the tokens.
    kept = (own[1] - own[0]) / dtype.itemsize
    scores = config.heads * (128**2 - 64**2)
    assert kept == 64 * plain_kept(config, scores=False) + scores


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_capped_scores_are_counted_as_the_backward_pass_makes_them_again(dtype):
    """A block of 128 queries here; beside it stand the gradients of queries, keys and values."""
    heads, tokens = 4, BASE["context_tokens"]
    config = shape(**(BASE | KINDS["softcap"]))
    q, k, v = (torch.randn(2, heads, tokens, 8, dtype=dtype, requires_grad=True) for _ in range(3))
    out = attend(q, k, v, Sight(torch.arange(tokens)[None], 0, tokens), Scores(1.0, 20.0))
    grad = torch.ones_like(out)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
        out.backward(grad)
    events = prof.profiler.kineto_results.events()  # pyright: ignore[reportOptionalMemberAccess]
    changes = [event.nbytes() for event in events if event.name() == "[memory]"]
    peak = max(itertools.accumulate(changes))
    assert peak == pytest.approx(2 * tokens * _capped_bytes(config, 0, dtype.itemsize), rel=0.2)


def test_masks_of_packed_windows_are_counted():
    parts = {"qk_norm": "head", "window": 16, "sink_tokens": 2}
    three, two = (activation_bytes(shape(**(BASE | parts), layers=n), 128, 4) for n in (3, 2))
    assert of_one_layer(parts, torch.float32, 128, packed=True) == pytest.approx(three - two, rel=0.01)
