"""Whole RWKV layers, not their scans alone, against the papers' equations token by token in float64 numpy: token shift, low-rank
maps, decay, group norm, gate. The order of channels and the forms that the papers leave open are those of BlinkDL/RWKV-LM
(RWKV-v5/rwkv_v6_demo.py, RWKV-v7/rwkv_v7_numpy.py), which were read for facts. transformers has RWKV-4 alone.
"""

import numpy as np
import pytest
import torch
from parts_toys import random_parts, shape

from aether.models.parts.attention import Sight
from aether.models.parts.recurrent import RecurrentMixer
from aether.models.parts.shared import Pass

torch.set_num_threads(1)
TOKENS, HIDDEN, HEAD = 70, 48, 16
HEADS = HIDDEN // HEAD


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def group_norm(y_HD, gain, bias):
    """Of each head; the references' epsilon is 64e-5 for heads of 64."""
    centred = y_HD - y_HD.mean(1, keepdims=True)
    return (centred / np.sqrt(y_HD.var(1, keepdims=True) + 1e-5 * HEAD)).ravel() * gain + bias


def weights(mixer: RecurrentMixer) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy() for name, p in mixer.named_parameters()}


def finch(mixer: RecurrentMixer, x_TC: np.ndarray, begins: set[int]) -> np.ndarray:
    """RWKV-6 (arXiv 2404.05892, section 4): data-dependent token shift, wkv with the bonus, group norm, gate, output."""
    w, rows = weights(mixer), []
    names = ("decay", "key", "value", "read", "gate")
    shares, ups = (dict(zip(names, np.split(w[n], 5), strict=True)) for n in ("mixes", "mix_high"))
    lows = dict(zip(names, np.split(w["mix_low"], 5), strict=True))
    before, state = np.zeros(HIDDEN), np.zeros((HEADS, HEAD, HEAD))
    for place, x in enumerate(x_TC):
        if place in begins:
            before, state = np.zeros(HIDDEN), np.zeros_like(state)
        first = x + (before - x) * w["first_mix"]
        mixed = {n: x + (before - x) * (shares[n] + ups[n] @ np.tanh(lows[n] @ first)) for n in names}
        decay = np.exp(-np.exp(w["decay_bias"] + w["decay_high"] @ np.tanh(w["decay_low"] @ mixed["decay"])))
        r, k, v = ((w[n] @ mixed[n]).reshape(HEADS, HEAD) for n in ("read", "key", "value"))
        written = k[:, :, None] * v[:, None]
        y = np.einsum("hk,hkv->hv", r, state + w["bonus"].reshape(HEADS, HEAD, 1) * written)
        state = decay.reshape(HEADS, HEAD, 1) * state + written
        gate = w["gate"] @ mixed["gate"]
        rows.append(w["out"] @ (group_norm(y, w["head_gain"], w["head_bias"]) * gate * sigmoid(gate)))
        before = x
    return np.stack(rows)


def goose(mixer: RecurrentMixer, x_TC: np.ndarray, begins: set[int], first_value: np.ndarray | None):
    """RWKV-7 (arXiv 2503.14456, section 4): weight preparation, the generalised delta rule, bonus, gate. (output, values)."""
    w, rows, values = weights(mixer), [], []
    before, state = np.zeros(HIDDEN), np.zeros((HEADS, HEAD, HEAD))

    def low_rank(name, mixed, inner=lambda same: same):
        return w[f"{name}_high"] @ inner(w[f"{name}_low"] @ mixed[name])

    for place, x in enumerate(x_TC):
        if place in begins:
            before, state = np.zeros(HIDDEN), np.zeros_like(state)
        mixed = {n: x + (before - x) * w[f"{n}_mix"] for n in ("read", "decay", "key", "value", "rate", "gate")}
        r, k, v = (w[n] @ mixed[n] for n in ("read", "key", "value"))
        if first_value is not None:
            v = v + (first_value[place] - v) * sigmoid(low_rank("value", mixed) + w["value_bias"])
        values.append(v)
        decay = np.exp(-np.exp(-0.5) * sigmoid(low_rank("decay", mixed, np.tanh) + w["decay_bias"]))
        rate = sigmoid(low_rank("rate", mixed) + w["rate_bias"])
        gate = low_rank("gate", mixed, sigmoid)
        removal = (k * w["removal"]).reshape(HEADS, HEAD)
        removal = removal / np.linalg.norm(removal, axis=1, keepdims=True)
        k = k * (1 + (rate - 1) * w["rate_share"])
        r, k, v, rate, decay = (part.reshape(HEADS, HEAD) for part in (r, k, v, rate, decay))
        # State of values by keys, as the paper writes it.
        gone = np.einsum("hvk,hk->hv", state, removal)
        state = state * decay[:, None] - gone[:, :, None] * (removal * rate)[:, None] + v[:, :, None] * k[:, None]
        y = group_norm(np.einsum("hvk,hk->hv", state, r), w["head_gain"], w["head_bias"])
        bonus = (r * k * w["bonus"].reshape(HEADS, HEAD)).sum(1, keepdims=True) * v
        rows.append(w["out"] @ ((y + bonus.ravel()) * gate))
        before = x
    return np.stack(rows), np.stack(values)


def mixers(form: str) -> list[RecurrentMixer]:
    model = random_parts(shape(mixer=form, recurrence={"head_size": HEAD}, layers=2, hidden_size=HIDDEN)).double()
    return [block.mixer for block in model.blocks]


def window(begins: set[int]) -> Pass:
    marks = torch.tensor([place in begins for place in range(TOKENS)])[None] if begins else None
    return Pass(Sight(torch.arange(TOKENS)[None], 0, TOKENS), None, None, None, None, begins_BT=marks)


INPUT = torch.randn(1, TOKENS, HIDDEN, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("begins", [set(), {5, 37, 64}], ids=["one document", "four documents"])
def test_a_layer_of_rwkv6_is_the_papers(begins):
    for mixer in mixers("rwkv6"):
        expected = finch(mixer, INPUT[0].numpy(), begins)
        ours = mixer(INPUT, window(begins))[0].detach().numpy()
        np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("begins", [set(), {5, 37, 64}], ids=["one document", "four documents"])
def test_layers_of_rwkv7_are_the_papers_with_the_values_of_the_first(begins):
    given, first_value = window(begins), None
    for mixer in mixers("rwkv7"):
        expected, values = goose(mixer, INPUT[0].numpy(), begins, first_value)
        ours = mixer(INPUT, given)[0].detach().numpy()
        np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-9)
        first_value = values if first_value is None else first_value
