"""Each recurrent mixer's chunked scan against its paper's recurrence, token by token in float64, and transformers' layers on the same weights."""

import pytest
import torch
from parts_toys import random_parts, shape
from transformers import Qwen3NextConfig
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

from aether.models.parts import rwkv6
from aether.models.parts.attention import Sight
from aether.models.parts.retnet import log_decays
from aether.models.parts.rwkv6 import bonus_attention
from aether.models.parts.rwkv7 import vector_delta_rule
from aether.models.parts.shared import Pass

torch.set_num_threads(1)
TOKENS, HEADS, SIZE = 75, 2, 6


def drawn(count: int, size: int = SIZE, heads: int = HEADS) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, TOKENS, heads, size, generator=generator, dtype=torch.float64) for _ in range(count)]


def whole_window(tokens: int = TOKENS) -> Pass:
    return Pass(Sight(torch.arange(tokens)[None], 0, tokens), None, None, None, None)


def test_retention_is_the_papers_recurrence_with_complex_rotations():
    """RetNet, section 2.1: S_n = g S_{n-1} + K_n^T V_n with K_n = k e^{-in theta}, o_n = Re(Q_n S_n), normalised by head and gated."""
    mixer = (
        random_parts(shape(mixer="retnet", recurrence={"inner_size": 32, "head_size": 16, "key_size": 6}))
        .blocks[0]
        .mixer
    )
    mixer = mixer.double()
    x = drawn(1, 48, 1)[0][:, :, 0]
    q, k, v, gate = (x @ mixer.retnet_in.T)[0].split((12, 12, 32, 32), dim=-1)
    gammas = 1 - 2.0 ** (-5 - torch.arange(2, dtype=torch.float64))
    torch.testing.assert_close(log_decays(2, gammas).exp(), gammas)
    theta = 10000.0 ** -(torch.arange(3, dtype=torch.float64) / 3)
    rows = []
    for head in range(2):
        state = torch.zeros(3, 16, dtype=torch.complex128)
        for place in range(TOKENS):
            turn = torch.exp(1j * place * theta)
            one, two = (part[place].view(2, 2, 3)[head] for part in (q, k))
            state = (
                gammas[head] * state
                + ((two[0] + 1j * two[1]) * turn).conj()[:, None] * v[place].view(2, 16)[head] * 6**-0.5
            )
            y = (((one[0] + 1j * one[1]) * turn)[:, None] * state).sum(0).real
            rows.append((y - y.mean()) / (y.var(unbiased=False) + 1e-6).sqrt())
    expected = torch.stack(rows).view(2, TOKENS, 16).transpose(0, 1).flatten(1) * torch.nn.functional.silu(gate)
    torch.testing.assert_close(mixer.mix(x, {}, whole_window())[0][0], expected, rtol=1e-9, atol=1e-9)


def test_rwkv7_is_its_recurrence():
    r, k, v, h, a, w = drawn(6)
    h, a, log_decay = (
        torch.nn.functional.normalize(h, dim=-1),
        a.sigmoid(),
        -(-0.5 * torch.ones(())).exp() * (5 * w).sigmoid(),
    )
    ours, last = vector_delta_rule(
        (r, -h), (h * a, k, v), log_decay, torch.zeros(1, HEADS, SIZE, SIZE, dtype=torch.float64)
    )
    for head in range(HEADS):
        state = torch.zeros(SIZE, SIZE, dtype=torch.float64)
        for place in range(TOKENS):
            rt, kt, vt, ht, at, wt = (part[0, place, head] for part in (r, k, v, h, a, log_decay.exp()))
            state = state @ (torch.diag(wt) - torch.outer(ht, at * ht)) + torch.outer(vt, kt)
            torch.testing.assert_close(ours[0, place, head], state @ rt, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(last[0, head], state.T, rtol=1e-9, atol=1e-9)


def test_rwkv7_stays_exact_in_float32_where_decay_is_strongest():
    r, k, v, h, a, _ = drawn(6)
    h, log_decay = torch.nn.functional.normalize(h, dim=-1), torch.full_like(r, -0.6065)
    zero = torch.zeros(1, HEADS, SIZE, SIZE, dtype=torch.float64)
    exact, _ = vector_delta_rule((r, -h), (h * a.sigmoid(), k, v), log_decay, zero)
    parts = [part.float() for part in (r, -h, h * a.sigmoid(), k, v, log_decay, zero)]
    ours, _ = vector_delta_rule((parts[0], parts[1]), (parts[2], parts[3], parts[4]), parts[5], parts[6])
    torch.testing.assert_close(ours.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_the_gated_delta_rule_is_the_layer_of_transformers(key_heads):
    sizes = {"inner_size": 40, "head_size": 10, "key_size": 6, "key_heads": key_heads}
    mixer = random_parts(shape(mixer="gated_delta", recurrence=sizes)).blocks[0].mixer
    config = Qwen3NextConfig(
        hidden_size=48, num_hidden_layers=1, linear_num_value_heads=4, linear_num_key_heads=key_heads, linear_key_head_dim=6,
        linear_value_head_dim=10, linear_conv_kernel_dim=4, layer_types=["linear_attention"],
    )  # fmt: skip
    theirs = Qwen3NextGatedDeltaNet(config, 0)
    keys = key_heads * 6
    q, k, v, z, b, a = mixer.delta_in.detach().split((keys, keys, 40, 40, 4, 4))
    grouped = [part.view(key_heads, -1, 48) for part in (q, k, v, z, b, a)]
    with torch.no_grad():
        theirs.in_proj_qkvz.weight.copy_(torch.cat(grouped[:4], dim=1).flatten(0, 1))
        theirs.in_proj_ba.weight.copy_(torch.cat(grouped[4:], dim=1).flatten(0, 1))
        theirs.conv1d.weight.copy_(mixer.taps.view(-1, 1, 4))
        theirs.dt_bias.copy_(mixer.step_bias)
        theirs.A_log.copy_(mixer.decay_log)
        theirs.norm.weight.copy_(mixer.norm.gain)
        theirs.out_proj.weight.copy_(mixer.out)
    x = torch.randn(2, TOKENS, 48, generator=torch.Generator().manual_seed(1), requires_grad=True)
    ours, expected = mixer(x, whole_window()), theirs(x)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=2e-5)
    probe = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2))
    one, two = (torch.autograd.grad((y * probe).sum(), x)[0] for y in (ours, expected))
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("strength", [0.3, 3])
def test_rwkv6_is_its_recurrence_where_decay_is_weak_and_where_it_is_strong(strength):
    r, k, v, w = drawn(4)
    bonus, log_decay = drawn(1)[0][0, 0], -(strength * w).exp()
    assert strength < 1 or (float(log_decay.min()) < -100 and float(log_decay.max()) > -0.01)
    if strength < 1:
        assert float(log_decay.abs().mean()) * rwkv6.CHUNK < 60
    ours, last = bonus_attention((r, k, v), log_decay, bonus, torch.zeros(1, HEADS, SIZE, SIZE, dtype=torch.float64))
    for head in range(HEADS):
        state = torch.zeros(SIZE, SIZE, dtype=torch.float64)
        for place in range(TOKENS):
            rt, kt, vt, wt = (part[0, place, head] for part in (r, k, v, log_decay.exp()))
            expected = rt @ (torch.diag(bonus[head]) @ torch.outer(kt, vt) + state)
            torch.testing.assert_close(ours[0, place, head], expected, rtol=1e-9, atol=1e-9)
            state = torch.outer(kt, vt) + torch.diag(wt) @ state
        torch.testing.assert_close(last[0, head], state, rtol=1e-9, atol=1e-9)
