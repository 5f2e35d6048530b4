import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from aether.stages.serve.sampling import Sampling, choose


def test_greedy_takes_the_largest_whoever_shares_the_batch():
    logits = torch.tensor([[0.0, 3.0, 1.0], [5.0, 1.0, 2.0]])
    assert choose(logits, [Sampling.of(0, 1, None), Sampling.of(0, 1, None)]) == [1, 0]
    assert choose(logits, [Sampling.of(0, 1, None), Sampling.of(1, 1, 3)])[0] == 1


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (1.0, 0.6), (1.5, 0.9)])
def test_drawn_tokens_follow_the_distribution(temperature, top_p):
    torch.manual_seed(0)
    logits = torch.randn(6) * 1.5
    weights = torch.softmax(logits.double() / temperature, -1)
    order = weights.argsort(descending=True)
    kept, total = [], 0.0
    for index in order.tolist():
        kept.append(index)
        total += float(weights[index])
        if total >= top_p:
            break
    sampling = Sampling.of(temperature, top_p, 7)
    draws = 4000
    seen = [0] * 6
    for token in choose(logits.expand(draws, -1), [sampling] * draws):
        seen[token] += 1
    assert sum(seen[index] for index in kept) == draws
    expected = [draws * float(weights[index]) / total for index in kept]
    if len(kept) > 1:
        assert stats.chisquare([seen[index] for index in kept], expected).pvalue > 1e-3


@given(st.integers(0, 2**32), st.integers(1, 5))
def test_a_seed_gives_the_same_tokens_in_any_company(seed, others):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(others + 1, 50, generator=generator)
    alone = choose(logits[:1], [Sampling.of(0.9, 0.8, seed)])
    company = [Sampling.of(1.3, 0.5, None) for _ in range(others)]
    assert choose(logits, [Sampling.of(0.9, 0.8, seed), *company])[0] == alone[0]


def test_extremes_do_not_overflow():
    logits = torch.tensor([[1e4, -1e4, 0.0], [-math.inf, 0.0, 0.0]])
    samplings = [Sampling.of(1e-6, 1e-9, 0), Sampling.of(2.0, 1.0, 0)]
    tokens = choose(logits, samplings)
    assert tokens[0] == 0 and tokens[1] in (1, 2)


def test_a_large_vocabulary_with_a_flat_distribution_needs_the_full_sort():
    sampling = Sampling(1.0, 0.99, None, random.Random(0))
    tokens = choose(torch.zeros(2000, 2000), [sampling] * 2000)
    assert len(set(tokens)) > 1000
