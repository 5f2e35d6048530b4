"""Compressive memory against the paper's equations token by token in float64, packed documents, and the recurrent form over a cache."""

import pytest
import torch
from parts_toys import random_parts, read_in_parts, shape, tokens_of
from torch.nn.functional import elu
from torch.utils.flop_counter import FlopCounterMode

from aether.models.accounting import cache_bytes
from aether.models.cache import KVCache
from aether.models.compression import QuantisedCache, SinkCache
from aether.models.parts.attention import Sight
from aether.models.parts.compressive import CompressiveAttention
from aether.models.parts.positions import rotary_tables
from aether.models.parts.shared import Pass, turned
from aether.spec.errors import InputError

torch.set_num_threads(1)
KINDS = {
    "linear": {"memory": {"segment_tokens": 8}},
    "delta": {"memory": {"segment_tokens": 7, "update": "delta"}},
    "plain queries, no positions": {"memory": {"segment_tokens": 5}, "qk_norm": "none", "positions": "none"},
    "hybrid": {"memory": {"segment_tokens": 6}, "mixer_pattern": ("attention", "retnet")},
}


def plain_pass(tokens):
    return Pass(Sight(torch.arange(tokens)[None], 0, tokens), None, None, None, None)


def equations(layer: CompressiveAttention, x_TC: torch.Tensor) -> torch.Tensor:
    """Equations 1 to 9 for one sequence, head by head and segment by segment."""
    config, size = layer.config, layer.memory.segment_tokens
    tokens, repeat = x_TC.shape[0], config.heads // config.kv_heads
    q, k, v = (
        (x_TC @ layer.qkv.mT)
        .view(tokens, -1, config.head_size)
        .split((config.heads, config.kv_heads, config.kv_heads), dim=1)
    )
    if layer.q_norm is not None and layer.k_norm is not None:
        q, k = layer.q_norm(q), layer.k_norm(k)
    tables = [table.double() for table in rotary_tables(config, tokens)] if config.positions == "rope" else None
    rows = []
    for head in range(config.heads):
        memory, norm = torch.zeros(config.head_size, config.head_size).double(), torch.zeros(config.head_size).double()
        parts = []
        for first in range(0, tokens, size):
            here = slice(first, min(first + size, tokens))
            q_s, k_s, v_s = q[here, head], k[here, head // repeat], v[here, head // repeat]
            turn = None if tables is None else tuple(table[here] for table in tables)
            scores = turned(q_s, turn) @ turned(k_s, turn).mT / config.head_size**0.5
            scores = scores.masked_fill(~torch.ones_like(scores, dtype=torch.bool).tril(), float("-inf"))
            dot = scores.softmax(-1) @ v_s
            features = elu(q_s) + 1
            read = torch.zeros_like(dot) if first == 0 else features @ memory / (features @ norm)[:, None]
            gate = torch.sigmoid(layer.memory_gate[head])
            parts.append(gate * read + (1 - gate) * dot)
            keys = elu(k_s) + 1
            told = 0.0
            if layer.memory.update == "delta" and first > 0:
                told = keys @ memory / (keys @ norm)[:, None]
            memory, norm = memory + keys.mT @ (v_s - told), norm + keys.sum(0)
        rows.append(torch.cat(parts))
    return torch.cat(rows, dim=-1) @ layer.out.mT


@pytest.mark.parametrize("kind", ["linear", "delta", "plain queries, no positions"])
def test_the_parallel_form_and_its_gradients_are_those_of_the_equations(kind):
    layer = random_parts(shape(**KINDS[kind])).blocks[0].mixer.double()
    assert isinstance(layer, CompressiveAttention)
    x = torch.randn(2, 29, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    ours = layer(x, plain_pass(29))
    expected = torch.stack([equations(layer, row) for row in x])
    # Rotary tables are in float32; only the equations turn by the place in the sequence.
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)
    inputs = [x, *layer.parameters()]
    for one, two in zip(
        torch.autograd.grad(ours.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_recurrent_form_over_a_cache_is_the_whole_pass(kind):
    model, tokens, whole, cache = read_in_parts(shape(**KINDS[kind]), (4, 13), tokens=31, tolerance=1e-6)
    for place in range(10):
        at = [9 + place, 15 + place]
        step = torch.stack([tokens[0, at[0]], tokens[1, at[1]]])[:, None]
        logits = model.extend(step, cache)
        for row in range(2):
            torch.testing.assert_close(logits[row], whole[row, at[row]], rtol=1e-6, atol=1e-6)
    cache.move(1, 2)
    torch.testing.assert_close(model.extend(tokens[1:, 25:26], cache, first=2)[0], whole[1, 25], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_documents_stay_apart_and_begin_with_an_empty_memory(kind):
    config = shape(**KINDS[kind])
    model = random_parts(config)
    tokens = tokens_of(config, batch=2, tokens=30)
    packed = model(tokens, torch.tensor([[0] * 11 + [1] * 19, [3] * 30]))
    for row, start, end in ((0, 0, 11), (0, 11, 30), (1, 0, 30)):
        alone = model(tokens[row : row + 1, start:end])[0]
        torch.testing.assert_close(packed[row, start:end], alone, rtol=1e-4, atol=1e-4)


def test_parameters_products_and_bytes_are_those_that_the_config_states():
    config = shape(memory={"segment_tokens": 8, "update": "delta"})
    model, cache = random_parts(config), KVCache.allocate(config, slots=2)
    assert sum(p.numel() for p in model.parameters()) == config.parameters()
    assert cache.bytes == 2 * config.state_bytes(4) == 2 * cache_bytes(config.architecture(), config.context_tokens, 4)
    tokens = tokens_of(config, batch=2, tokens=32)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(tokens)
    # The CPU's fused kernel is not in the counter: attention within segments of 8 is added.
    near = 4 * config.layers * config.heads * config.head_size * 8
    assert counter.get_total_flops() / 64 + near == config.flops_per_token(32)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"window": 4}, "window"),
        ({"positions": "alibi"}, "positions"),
        ({"mixer": "retnet", "qk_norm": "head"}, "memory"),
        ({"context_tokens": 4}, r"memory\.segment_tokens"),
    ],
)
def test_what_does_not_go_with_a_memory_is_refused_by_name(change, field):
    with pytest.raises(InputError, match=field):
        shape(**{"memory": {"segment_tokens": 8}} | change)


def test_other_caches_refuse_it():
    config = shape(memory={"segment_tokens": 8})
    for make in (lambda: SinkCache.of(config, 1, 1, 4), lambda: QuantisedCache.of(config, 1, 4)):
        with pytest.raises(InputError, match=r"model\.memory"):
            make()
