"""Norms, where they stand, and activations: against torch's own formulas, counted, and trained."""

import pytest
import torch
import torch.nn.functional as F
from parts_toys import counted_flops_per_token, random_parts, shape, tokens_of
from transformers.activations import ACT2FN
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from aether.models.cache import KVCache
from aether.models.parts.activations import activate
from aether.models.parts.norms import Norm

torch.set_num_threads(1)


@pytest.mark.parametrize("kind", ["rms", "layer", "dyt"])
def test_norms_and_their_gradients_are_those_of_the_formula(kind):
    generator = torch.Generator().manual_seed(0)
    norm = Norm(kind, 24, 1e-5)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    x = torch.randn(3, 5, 24, generator=generator, requires_grad=True)
    if kind == "rms":
        their = LlamaRMSNorm(24, eps=1e-5)
        their.weight.data.copy_(norm.gain.data)
        expected = their(x)
    elif kind == "layer":
        expected = F.layer_norm(x, (24,), norm.gain, norm.bias, 1e-5)
    else:
        expected = norm.gain * torch.tanh(norm.alpha * x) + norm.bias
    ours = norm(x)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
    probe = torch.randn(ours.shape, generator=generator)
    one, two = (torch.autograd.grad((y * probe).sum(), x, retain_graph=True)[0] for y in (ours, expected))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
    assert norm(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("kind", "name", "gated"),
    [
        ("swiglu", "silu", True),
        ("geglu", "gelu_pytorch_tanh", True),
        ("silu", "silu", False),
        ("gelu", "gelu_new", False),
        ("relu2", "relu2", False),
    ],
)
def test_activations_are_those_of_transformers(kind, name, gated):
    x = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    expected = ACT2FN[name](x[:, :16]) * x[:, 16:] if gated else ACT2FN[name](x)
    torch.testing.assert_close(activate(kind, x), expected, rtol=1e-5, atol=1e-6)


EVERY = {
    "layer norm": {"norm": "layer", "bias": True},
    "dyt": {"norm": "dyt"},
    "post": {"norm_place": "post", "qk_norm": "full"},
    "sandwich": {"norm_place": "sandwich", "norm": "layer"},
    "no norm of q and k": {"qk_norm": "none"},
    "geglu": {"activation": "geglu", "bias": True},
    "silu": {"activation": "silu"},
    "gelu": {"activation": "gelu", "bias": True},
    "relu2": {"activation": "relu2"},
    "scaled embedding": {"scale_embedding": True},
}


@pytest.mark.parametrize("kind", EVERY)
def test_every_kind_counts_itself_agrees_with_its_cache_and_gives_every_parameter_a_gradient(kind):
    config = shape(**EVERY[kind])
    model = random_parts(config)
    assert sum(p.numel() for p in model.parameters()) == config.parameters()
    assert counted_flops_per_token(model, 16) == config.flops_per_token(16)
    tokens = tokens_of(config, batch=1, tokens=20)
    whole, cache = model(tokens), KVCache.allocate(config, slots=1)
    torch.testing.assert_close(model.extend(tokens[:, :19], cache), whole[:, 18], rtol=3e-5, atol=3e-5)
    torch.testing.assert_close(model.extend(tokens[:, 19:], cache), whole[:, 19], rtol=3e-5, atol=3e-5)
    model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())
    matrices = sum(p.numel() for n, p in model.named_parameters() if p.ndim > 1 and not n.endswith("embedding"))
    assert matrices == config.matrix_parameters()
