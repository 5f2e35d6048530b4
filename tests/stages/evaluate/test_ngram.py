import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest

from aether.stages.evaluate.ngram import NgramModel

VOCAB = 12


def stream(seed, documents, longest=40):
    rng = np.random.default_rng(seed)
    parts = [np.concatenate([[0], rng.zipf(1.5, rng.integers(0, longest)) % (VOCAB - 1) + 1]) for _ in range(documents)]
    return np.concatenate(parts).astype(np.int64)


def documents_of(tokens):
    starts = [*np.flatnonzero(tokens == 0).tolist(), len(tokens)]
    return [tokens[a:b].tolist() for a, b in itertools.pairwise(starts)]


class Naive:
    """Modified Kneser-Ney from dictionaries, straight from Chen and Goodman's formulas."""

    def __init__(self, tokens, order):
        self.order = order
        raw = [Counter() for _ in range(order + 1)]
        for document in documents_of(tokens):
            for n in range(1, order + 1):
                for i in range(n - 1, len(document)):
                    raw[n][tuple(document[i - n + 1 : i + 1])] += 1
        self.counts = [Counter() for _ in range(order + 1)]
        for n in range(1, order + 1):
            left = Counter(gram[1:] for gram in raw[n + 1]) if n < order else Counter()
            for gram, count in raw[n].items():
                if gram == (0,):
                    continue
                self.counts[n][gram] = count if n == order or gram[0] == 0 else left[gram]
        self.discounts = [None] + [self._discounts(self.counts[n]) for n in range(1, order + 1)]
        self.followers = [defaultdict(list) for _ in range(order + 1)]
        for n in range(1, order + 1):
            for gram, count in self.counts[n].items():
                self.followers[n][gram[:-1]].append(count)

    @staticmethod
    def _discounts(counts):
        of = Counter(counts.values())
        if not all(of[k] for k in (1, 2, 3, 4)):
            return [0.0, 0.5, 0.5, 0.5]
        y = of[1] / (of[1] + 2 * of[2])
        return [0.0] + [min(max(k - (k + 1) * y * of[k + 1] / of[k], 0.0), k) for k in (1, 2, 3)]

    def probability(self, history, token, n=None):
        n = min(self.order, len(history) + 1) if n is None else n
        if n == 0:
            return 1 / (VOCAB - 1)
        h = tuple(history[len(history) - n + 1 :])
        lower = self.probability(history, token, n - 1)
        seen = [c for c in self.followers[n].get(h, []) if c > 0]
        if not seen:
            return lower
        discount = self.discounts[n]
        count = self.counts[n].get((*h, token), 0)
        reserved = sum(discount[min(c, 3)] for c in seen)
        return (count - min(discount[min(count, 3)], count) + reserved * lower) / sum(seen)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_equals_the_plain_formulas(order):
    train, test = stream(0, 60), stream(1, 8)
    ours = NgramModel(train, VOCAB, order).probabilities(test)
    naive = Naive(train, order)
    theirs = []
    for document in documents_of(test):
        theirs += [1.0] + [naive.probability(document[:i], document[i]) for i in range(1, len(document))]
    assert ours == pytest.approx(theirs, rel=1e-10)


def test_probabilities_sum_to_one():
    model = NgramModel(stream(0, 60), VOCAB)
    for history in ([0], [0, 1], [0, 3, 1, 2], [0, 11, 10, 9, 8, 7, 6]):
        asked = np.concatenate([[*history, token] for token in range(1, VOCAB)])
        assert model.probabilities(asked)[len(history) :: len(history) + 1].sum() == pytest.approx(1.0)


def test_documents_do_not_see_each_other():
    model = NgramModel(stream(0, 60), VOCAB)
    one, other = stream(1, 1), stream(2, 1)
    together = model.bits(np.concatenate([one, other]))
    assert together == pytest.approx(np.concatenate([model.bits(one), model.bits(other)]))
