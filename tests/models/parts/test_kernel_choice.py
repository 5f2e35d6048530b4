"""The choice of attention's kernel as a function of facts, FlexAttention's masks against the naive form, and no square of a long input."""

from dataclasses import replace

import pytest
import torch
from parts_toys import random_parts, shape, tokens_of
from torch.utils._python_dispatch import TorchDispatchMode

from aether.models.cache import KVCache
from aether.models.decoder import Decoder
from aether.models.parts.attention import QUERIES, Scores, Sight, attend
from aether.models.parts.kernel_choice import Facts, choose, of_training

torch.set_num_threads(1)
CPU = Facts("cpu", 32, 64)
AMPERE = Facts("cuda", 16, 64, capability=8)
HOPPER = Facts("cuda", 16, 64, capability=9, flash3=True)


@pytest.mark.parametrize(
    ("facts", "kernel"),
    [
        (CPU, "sdpa"),
        (replace(CPU, window=True), "sdpa-chunks"),
        (replace(CPU, documents=True), "sdpa-chunks"),
        (replace(CPU, sink_logits=True), "sdpa-chunks"),
        (replace(CPU, alibi=True), "sdpa"),
        (replace(CPU, capped=True), "capped-chunks"),
        (replace(CPU, whole=False), "sdpa-chunks"),
        (AMPERE, "sdpa"),
        (replace(AMPERE, flash3=True), "sdpa"),
        (replace(AMPERE, window=True, documents=True, sink_tokens=True), "flex"),
        (replace(AMPERE, capped=True), "flex"),
        (replace(AMPERE, capped=True, bits=64), "capped-chunks"),
        (replace(AMPERE, window=True, whole=False), "sdpa-chunks"),
        (HOPPER, "flash3"),
        (replace(HOPPER, window=True, capped=True), "flash3"),
        (replace(HOPPER, flash3=False), "sdpa"),
        (replace(HOPPER, bits=32), "sdpa"),
        (replace(HOPPER, head_size=512), "sdpa"),
        (replace(HOPPER, documents=True), "flex"),
        (replace(HOPPER, sink_logits=True), "flex"),
        (replace(HOPPER, alibi=True), "sdpa"),
        (replace(HOPPER, whole=False), "sdpa-chunks"),
    ],
)
def test_the_kernel_follows_from_the_facts_and_says_why(facts, kernel):
    choice = choose(facts)
    assert choice.kernel == kernel and choice.why


def test_a_training_names_the_kernel_of_each_kind_of_layer():
    device, dtype = torch.device("cpu"), torch.float32
    (plain,) = of_training(shape(), device, dtype)
    assert (plain["kernel"], plain["layers"]) == ("products", [0, 1, 2])
    assert of_training(shape(context_tokens=2048), device, dtype)[0]["kernel"] == "sdpa-chunks"
    mixed = of_training(shape(mixer_pattern=("retnet", "attention"), attention_softcap=9.0), device, dtype)
    assert [(one["kernel"], one["layers"]) for one in mixed] == [("capped-chunks", [1])]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("option", ["documents", "window", "sink tokens", "sink logits", "capped", "all"])
def test_flex_attention_is_the_chunked_form(option):
    generator, tokens = torch.Generator().manual_seed(0), 40
    q, k, v = (torch.randn(2, heads, tokens, 16, generator=generator) for heads in (4, 2, 2))
    every = option == "all"
    ids = torch.tensor([[0] * 20 + [1] * 20, [5] * 9 + [6] * 31]) if every or option == "documents" else None
    starts = ((20, 20), (9, 31))
    places = None if ids is None else torch.stack([torch.cat([torch.arange(n) for n in row]) for row in starts])
    window = 7 if every or option in ("window", "sink tokens") else None
    sight = Sight(
        torch.arange(tokens)[None], 0, tokens, ids, places, window, 3 if every or option == "sink tokens" else 0
    )
    sink_H = torch.randn(4, generator=generator) if every or option == "sink logits" else None
    scores = Scores(0.2, 3.0 if option == "capped" else None, None, sink_H)
    expected = attend(q, k, v, sight, scores)
    torch.testing.assert_close(attend(q, k, v, sight, scores, kernel="flex"), expected, rtol=1e-5, atol=1e-5)


class Largest(TorchDispatchMode):
    """The most values that one tensor made in here has."""

    values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else [made]:
            if isinstance(one, torch.Tensor) and one.untyped_storage().nbytes() >= one.numel() * one.element_size():
                self.values = max(self.values, one.numel())
        return made


LONG = {
    "default": {},
    "window, sink tokens": {"window": 64, "sink_tokens": 4},
    "sink logits": {"sink_logits": True},
    "alibi": {"positions": "alibi"},
    "capped": {"attention_softcap": 20.0},
    "latent": {"kv_heads": 2, "qk_norm": "none", "latent": {"kv_rank": 8, "rope_size": 4, "value_size": 8}},
}


@pytest.mark.parametrize("name", LONG)
def test_no_tensor_of_a_long_input_is_larger_than_a_mask_for_some_queries(name):
    """Training over packed windows, and reading a long prompt's second half over a cache."""
    length = 3072
    given = {
        "vocab_size": 16,
        "hidden_size": 16,
        "layers": 1,
        "heads": 2,
        "kv_heads": 1,
        "head_size": 8,
        "mlp_size": 16,
    }
    config = shape(**given | LONG[name] | {"context_tokens": length})
    model = Decoder(config) if config.plain else random_parts(config)
    tokens_1T = tokens_of(config, batch=1, tokens=length)
    documents = (torch.arange(length) >= length // 3).long()[None]
    with Largest() as seen:
        model.loss(tokens_1T, tokens_1T, documents).backward()
        cache = KVCache.allocate(config, slots=1)
        for part in tokens_1T.split(length // 2, dim=1):
            model.extend(part, cache)
    assert length < seen.values <= QUERIES * (length + 1) < length**2 / 2
