"""Recurrent mixers: chunked and recurrent forms are one, documents stay apart, each counts itself, and what does not fit is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parts_toys import random_parts, read_in_parts, shape, tokens_of
from pydantic import ValidationError
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from aether.models.accounting import cache_bytes, flops_per_token
from aether.models.accounting_parts import mixer_weights
from aether.models.cache import KVCache
from aether.models.config_mixers import matrices
from aether.models.parts.attention import Sight
from aether.models.parts.recurrent import RecurrentMixer
from aether.models.parts.shared import Pass
from aether.spec.errors import InputError

torch.set_num_threads(1)
EVERY = {
    "mamba2": {"mixer": "mamba2", "recurrence": {"state_size": 8}},
    "mamba2, groups, no feed-forward part": {
        "mixer": "mamba2", "mlp_size": 0, "recurrence": {"state_size": 5, "key_heads": 4, "head_size": 6, "conv_size": 3},
    },
    "retnet": {"mixer": "retnet"},
    "retnet, sizes": {"mixer": "retnet", "recurrence": {"inner_size": 64, "head_size": 16, "key_size": 6}},
    "gated_delta": {"mixer": "gated_delta"},
    "gated_delta, sizes": {
        "mixer": "gated_delta", "mlp_size": 0, "recurrence": {"inner_size": 40, "head_size": 10, "key_size": 6, "key_heads": 1},
    },
    "rwkv7": {"mixer": "rwkv7"},
    "rwkv6": {"mixer": "rwkv6", "recurrence": {"head_size": 16}},
    "mamba": {"mixer": "mamba", "recurrence": {"state_size": 4}},
    "hybrid of all": {"mixer_pattern": ("rwkv7", "mamba", "rwkv7"), "norm": "layer"},
    "hybrid": {"mixer_pattern": ("mamba2", "attention"), "recurrence": {"state_size": 8}, "norm_place": "sandwich"},
}  # fmt: skip
SLOW = settings(max_examples=4, deadline=None, derandomize=True)


def one_mixer(kind: str) -> RecurrentMixer:
    """The first layer's, in float64."""
    mixer = random_parts(shape(**EVERY[kind], layers=3)).blocks[0].mixer
    assert isinstance(mixer, RecurrentMixer)
    return mixer.double()


def plain_pass(tokens: int, begins: torch.Tensor | None = None) -> Pass:
    return Pass(Sight(torch.arange(tokens)[None], 0, tokens), None, None, None, None, begins_BT=begins)


def with_gradients(mixer: RecurrentMixer, x: torch.Tensor, mixed: torch.Tensor) -> list[torch.Tensor]:
    """What it gives, and the gradients of a probe in the input and in every parameter but the output's."""
    probe = torch.randn(mixed.shape, generator=torch.Generator().manual_seed(2), dtype=mixed.dtype)
    inputs = [x] + [p for name, p in mixer.named_parameters() if name != "out"]
    return [mixed, *torch.autograd.grad((mixed * probe).sum(), inputs, materialize_grads=True)]


def assert_alike(ours: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for one, two in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-8 * max(1.0, float(two.detach().abs().max())))


@pytest.mark.parametrize("kind", EVERY)
@SLOW
@given(tokens=st.integers(1, 150), cut=st.integers(0, 150))
def test_the_chunked_form_and_its_gradients_are_those_of_the_recurrent_form(kind, tokens, cut):
    """Token by token; and in two pieces of any length, the state handed on."""
    mixer = one_mixer(kind)
    x = torch.randn(1, tokens, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    whole = with_gradients(mixer, x, mixer.mix(x, {}, plain_pass(tokens))[0])
    for pieces in (x.split(1, dim=1), x.split([min(cut, tokens), tokens - min(cut, tokens)], dim=1)):
        held, rows, place = {}, [], 0
        for piece in pieces:
            if piece.shape[1]:
                mixed, held = mixer.mix(piece, held, placed_pass(place, piece.shape[1]))
                rows.append(mixed)
                place += piece.shape[1]
        assert_alike(with_gradients(mixer, x, torch.cat(rows, dim=1)), whole)


def placed_pass(first: int, tokens: int) -> Pass:
    return Pass(Sight(torch.arange(first, first + tokens)[None], first, first + tokens), None, None, None, None)


@pytest.mark.parametrize("kind", EVERY)
@SLOW
@given(lengths=st.lists(st.integers(1, 70), min_size=2, max_size=4))
def test_packed_documents_and_their_gradients_are_those_of_documents_alone(kind, lengths):
    mixer, tokens = one_mixer(kind), sum(lengths)
    x = torch.randn(1, tokens, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    starts = torch.tensor([sum(lengths[:place]) for place in range(1, len(lengths))])
    begins = torch.zeros(1, tokens, dtype=torch.bool).index_fill(1, starts, True)
    packed = mixer.mix(x, {}, plain_pass(tokens, begins))[0]
    alone = [mixer.mix(piece, {}, plain_pass(piece.shape[1]))[0] for piece in x.split(lengths, dim=1)]
    assert_alike(with_gradients(mixer, x, packed), with_gradients(mixer, x, torch.cat(alone, dim=1)))


@pytest.mark.parametrize("kind", EVERY)
def test_every_mixer_counts_itself_and_gives_every_parameter_a_gradient(kind):
    config = shape(**EVERY[kind])
    model = random_parts(config)
    assert sum(p.numel() for p in model.parameters()) == config.parameters()
    own = [p.numel() for name, p in model.named_parameters() if p.ndim > 1 and not name.endswith("embedding")]
    assert sum(own) == config.matrix_parameters()
    for layer in range(config.layers):
        sizes = config.recurrence_at(layer)
        if sizes is not None:
            values = sum(sum(rows) * columns for rows, columns in matrices(sizes, 48).values())
            assert values == mixer_weights(sizes, 48).matrices
    tokens = tokens_of(config)
    model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())
    rows = model.fused_rows()
    for name, parameter in model.named_parameters():
        assert sum(rows.get(name.rsplit(".", 1)[-1], [parameter.shape[0]])) == parameter.shape[0]


@pytest.mark.parametrize("kind", EVERY)
def test_products_of_a_decoding_step_and_bytes_of_its_cache_are_those_that_the_config_states(kind):
    """The scan itself has no matrix product in its recurrent form: what the counter sees is all the rest."""
    config = shape(**EVERY[kind])
    model, cache = random_parts(config), KVCache.allocate(config, slots=1)
    stated = flops_per_token(config.architecture(), 1, causal=False)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.extend(tokens_of(config, batch=1, tokens=1), cache)
    assert counter.get_total_flops() == stated.total - stated.recurrence
    assert config.flops_per_token(1) == stated.total and stated.recurrence > 0
    assert cache.bytes == cache_bytes(config.architecture(), config.context_tokens, 4)
    assert cache.bytes == config.state_bytes(4) + config.context_tokens * config.kv_bytes_per_token(4)


@pytest.mark.parametrize("kind", EVERY)
def test_generation_through_the_cache_is_the_whole_pass(kind):
    model, tokens, whole, cache = read_in_parts(shape(**EVERY[kind]), (9, 13), tokens=24, tolerance=1e-5)
    cache.move(1, 2)
    torch.testing.assert_close(model.extend(tokens[1:, 15:16], cache, first=2)[0], whole[1, 15], rtol=1e-5, atol=1e-5)
    cache.free(0)
    torch.testing.assert_close(model.extend(tokens[:1, :3], cache)[0], whole[0, 2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", EVERY)
def test_a_model_keeps_packed_documents_apart(kind):
    config = shape(**EVERY[kind])
    model = random_parts(config)
    tokens = tokens_of(config, batch=2, tokens=24)
    packed = model(tokens, torch.tensor([[0] * 10 + [1] * 14, [3] * 24]))
    for row, start, end in ((0, 0, 10), (0, 10, 24), (1, 0, 24)):
        alone = model(tokens[row : row + 1, start:end])[0]
        torch.testing.assert_close(packed[row, start:end], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"mixer": "mamba3"}, "mixer"),
        ({"mixer": "mamba2", "mixer_pattern": ("mamba2", "attention")}, "mixer"),
        ({"mixer_pattern": ("mamba2", "mamba2")}, "mixer_pattern"),
        ({"mixer_pattern": ("mamba2", "attention", "attention", "attention")}, "mixer_pattern"),
        ({"recurrence": {"state_size": 8}}, "recurrence.state_size"),
        ({"mixer": "mamba2", "recurrence": {"key_size": 8}}, "recurrence.key_size"),
        ({"mixer": "mamba2", "recurrence": {"head_size": 7}}, "recurrence.head_size"),
        ({"mixer": "mamba2", "recurrence": {"key_heads": 3}}, "recurrence.key_heads"),
        ({"mixer": "mamba2", "window": 8}, "window"),
        ({"mixer": "mamba2", "positions": "alibi"}, "positions"),
        ({"mixer": "mamba2", "bias": True}, "bias"),
        ({"mlp_size": 0}, "mlp_size"),
        ({"mixer": "mamba2", "mlp_size": 0, "activation": "gelu"}, "activation"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(change, field):
    with pytest.raises((InputError, ValidationError), match=field):
        shape(**change)
