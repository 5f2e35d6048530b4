"""The decoder against transformers' Qwen3ForCausalLM, masks against separate documents, and the cache against one pass."""

import pytest
import torch
from tests.helpers.parts_toys import shape
from transformers import Qwen3Config, Qwen3ForCausalLM

from aether.models.cache import KVCache
from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder
from aether.models.weights import qwen3_config, to_qwen3

torch.set_num_threads(1)


def random_decoder(config: DecoderConfig, seed: int = 1) -> Decoder:
    """A decoder whose gains are not all one, so that a wrong gain shows."""
    model = Decoder(config)
    model.initialise(seed, embedding_std=0.5)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def as_transformers(model: Decoder) -> Qwen3ForCausalLM:
    theirs = Qwen3ForCausalLM(Qwen3Config(**qwen3_config(model.config, "float32"))).eval()
    loaded = theirs.load_state_dict(to_qwen3(model), strict=False)
    assert loaded.missing_keys in ([], ["lm_head.weight"]) and not loaded.unexpected_keys
    theirs.tie_weights()
    return theirs


def tokens_of(config: DecoderConfig, batch: int = 2, tokens: int = 40, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, config.vocab_size, (batch, tokens), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("by_sdpa", [False, True])
def test_logits_and_gradients_equal_qwen3(kv_heads, by_sdpa):
    config = shape(kv_heads=kv_heads, rope_theta=5000.0)
    model = random_decoder(config)
    theirs = as_transformers(model)
    tokens = tokens_of(config)
    model.matmul_attention_tokens = 0 if by_sdpa else 64
    torch.testing.assert_close(model(tokens), theirs(tokens).logits, rtol=2e-5, atol=2e-5)
    loss = model.loss(tokens[:, :-1], tokens[:, 1:])
    expected = theirs(tokens, labels=tokens).loss
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    expected.backward()
    block = theirs.model.layers[1]
    rows = config.heads * config.head_size
    grad = model.blocks[1].qkv.grad
    for ours, other in (
        (grad[:rows], block.self_attn.q_proj.weight.grad),
        (model.embedding.grad, theirs.model.embed_tokens.weight.grad),
        (model.blocks[2].k_gain.grad, theirs.model.layers[2].self_attn.k_norm.weight.grad),
        (model.blocks[0].down.grad, theirs.model.layers[0].mlp.down_proj.weight.grad),
        (model.final_gain.grad, theirs.model.norm.weight.grad),
    ):
        torch.testing.assert_close(ours, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("by_sdpa", [False, True])
def test_a_packed_window_equals_its_documents_apart(by_sdpa):
    config = shape()
    model = random_decoder(config)
    model.matmul_attention_tokens = 0 if by_sdpa else 64
    tokens = tokens_of(config, batch=2, tokens=40)
    lengths = ((13, 20, 7), (40,))
    ids = torch.stack([torch.cat([torch.full((n,), i) for i, n in enumerate(row)]) for row in lengths])
    whole = model(tokens, ids)
    for row, parts in enumerate(lengths):
        start = 0
        for length in parts:
            alone = model(tokens[row : row + 1, start : start + length])
            torch.testing.assert_close(whole[row, start : start + length], alone[0], rtol=2e-5, atol=2e-5)
            start += length


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_the_cache_equals_one_pass(kv_heads):
    config = shape(kv_heads=kv_heads)
    model = random_decoder(config).eval()
    tokens = tokens_of(config, batch=3, tokens=30)
    whole = model(tokens)
    cache = KVCache.allocate(config, slots=4)
    starts = (5, 17, 11)
    for slot, length in enumerate(starts):
        last = model.extend(tokens[slot : slot + 1, :length], cache, first=slot)
        torch.testing.assert_close(last[0], whole[slot, length - 1], rtol=2e-5, atol=2e-5)
    for _ in range(4):
        here = list(cache.lengths[:3])
        step = torch.stack([tokens[slot, here[slot]] for slot in range(3)])[:, None]
        logits = model.extend(step, cache)
        for slot in range(3):
            torch.testing.assert_close(logits[slot], whole[slot, here[slot]], rtol=2e-5, atol=2e-5)
    ragged = torch.zeros(3, 6, dtype=torch.long)
    counts = [6, 2, 4]
    here = list(cache.lengths[:3])
    for slot, count in enumerate(counts):
        ragged[slot, :count] = tokens[slot, here[slot] : here[slot] + count]
    logits = model.extend(ragged, cache, counts=counts)
    for slot, count in enumerate(counts):
        assert cache.lengths[slot] == here[slot] + count
        torch.testing.assert_close(logits[slot], whole[slot, here[slot] + count - 1], rtol=2e-5, atol=2e-5)


def test_a_chunked_prompt_and_a_moved_slot_change_nothing():
    config = shape()
    model = random_decoder(config).eval()
    tokens = tokens_of(config, batch=1, tokens=30)
    whole = model(tokens)
    cache = KVCache.allocate(config, slots=3)
    model.extend(tokens[:, :10], cache, first=2)
    every = model.extend(tokens[:, 10:20], cache, first=2, every=True)
    torch.testing.assert_close(every[0], whole[0, 10:20], rtol=2e-5, atol=2e-5)
    cache.move(2, 0)
    assert cache.lengths == [20, 0, 0]
    torch.testing.assert_close(model.extend(tokens[:, 20:21], cache)[0], whole[0, 20], rtol=2e-5, atol=2e-5)


def test_mixed_precision_stays_near_float32():
    config = shape()
    exact, mixed = random_decoder(config), random_decoder(config)
    mixed.compute_dtype = torch.bfloat16
    tokens = tokens_of(config)
    losses = [m.loss(tokens[:, :-1], tokens[:, 1:]) for m in (exact, mixed)]
    assert abs(losses[0].item() - losses[1].item()) < 0.02 * losses[0].item()
    for loss in losses:
        loss.backward()
    near = torch.nn.functional.cosine_similarity(
        exact.blocks[1].gate_up.grad.flatten(), mixed.blocks[1].gate_up.grad.flatten(), dim=0
    )
    assert near > 0.99 and mixed.blocks[1].gate_up.grad.dtype == torch.float32


def test_initial_weights_depend_on_the_seed_alone():
    one, two, other = (Decoder(shape()) for _ in range(3))
    one.initialise(3)
    two.initialise(3)
    other.initialise(4)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.embedding, other.embedding)
    assert sum(p.numel() for p in one.parameters()) == shape().parameters()


def test_frozen_gains_change_no_number():
    config = shape()
    plain, frozen = Decoder(config), Decoder(config)
    frozen.freeze_block_gains()
    tokens = tokens_of(config)
    losses = [m.loss(tokens[:, :-1], tokens[:, 1:]) for m in (plain, frozen)]
    for loss in losses:
        loss.backward()
    assert torch.equal(losses[0], losses[1])
    for name in ("qkv", "gate_up", "out"):
        one, two = (getattr(m.blocks[0], name).grad for m in (plain, frozen))
        torch.testing.assert_close(one, two)
    assert frozen.blocks[0].q_gain.grad is None and frozen.final_gain.grad is not None
