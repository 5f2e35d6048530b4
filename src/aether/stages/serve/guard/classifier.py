"""A small classifier of requests: logistic regression over hashed n-grams of characters and words, with a threshold set on held-out texts.

The features are those of fastText's classifier (Joulin et al., arXiv 1607.01759) hashed as Weinberger et al., arXiv 0902.2206, do, the model is linear:
it sees vocabulary, not intent. The threshold is the lowest one that lets at most a chosen share of held-out benign texts be refused.
"""

import json
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

from aether.evidence.statistics import Measurement, exact_proportion
from aether.spec.errors import InputError

DIMENSIONS = 1 << 16
_WORD = re.compile(r"[^\W_]+")
_MAGIC = b"AETHERGUARD1"
_FOLDS = 5


@dataclass(frozen=True)
class TextClassifier:
    """Weights (D,) float32, bias, and the probability from which on a text is taken for harmful."""

    weights: NDArray[np.float32]
    bias: float
    threshold: float
    about: dict[str, object]

    def score(self, text: str) -> float:
        """The probability that a text is harmful, as the model has it; not calibrated on other text than its own kind."""
        columns, values = _features(text)
        logit = float(self.weights[columns].astype(np.float64) @ values) + self.bias
        return float(1.0 / (1.0 + np.exp(-logit)))

    def save(self, path: Path) -> None:
        """One file: a head of JSON, then the weights."""
        head = json.dumps({"bias": self.bias, "threshold": self.threshold, "about": self.about}).encode()
        path.write_bytes(_MAGIC + struct.pack("<I", len(head)) + head + self.weights.astype("<f4").tobytes())


@dataclass(frozen=True)
class Trained:
    """A classifier and what it did on texts that were held out, fold by fold."""

    classifier: TextClassifier
    caught: Measurement
    refused: Measurement
    """Of the benign texts. The threshold was set on these, so this is what was asked for, not a finding."""


def read_classifier(path: Path) -> TextClassifier:
    """A file of `save`. Raises InputError for any other."""
    raw = path.read_bytes() if path.is_file() else b""
    start = len(_MAGIC) + 4
    if not raw.startswith(_MAGIC) or len(raw) < start:
        raise InputError.of("classifier", str(path), "no such file of `aether guard`")
    (length,) = struct.unpack("<I", raw[len(_MAGIC) : start])
    weights = np.frombuffer(raw[start + length :], "<f4")
    if len(weights) != DIMENSIONS:
        raise InputError.of(
            "classifier", str(path), f"it has {len(weights)} weights and not {DIMENSIONS}; make it again"
        )
    head = json.loads(raw[start : start + length])
    return TextClassifier(weights, head["bias"], head["threshold"], head["about"])


def train(
    harmful: Sequence[str], benign: Sequence[str], refused: float = 0.02, strength: float = 1.0, seed: int = 0
) -> Trained:
    """Fitted to all texts; threshold and what is caught come from five folds. `strength` is the weight of the squared norm.

    Both kinds weigh the same, however many there are. Raises InputError with fewer than ten of a kind.
    """
    if min(len(harmful), len(benign)) < 2 * _FOLDS:
        raise InputError.of("texts", (len(harmful), len(benign)), f"give at least {2 * _FOLDS} of each kind")
    texts = [*harmful, *benign]
    matrix = _matrix(texts)
    labels = np.array([1.0] * len(harmful) + [0.0] * len(benign))
    fold = np.random.default_rng(seed).permutation(len(texts)) % _FOLDS
    held_out = np.zeros(len(texts))
    for number in range(_FOLDS):
        weights, bias = _fit(matrix[fold != number], labels[fold != number], strength)
        held_out[fold == number] = _probability(matrix[fold == number], weights, bias)
    scores = np.sort(held_out[labels == 0])[::-1]
    # The first score that may not be refused any more; a text is refused when it scores above it.
    threshold = float(scores[min(int(refused * len(scores)), len(scores) - 1)])
    weights, bias = _fit(matrix, labels, strength)
    about: dict[str, object] = {
        "harmful": len(harmful),
        "benign": len(benign),
        "refused_share": refused,
        "strength": strength,
        "seed": seed,
    }
    caught = exact_proportion(int((held_out[labels == 1] > threshold).sum()), len(harmful))
    wrong = exact_proportion(int((scores > threshold).sum()), len(benign))
    return Trained(TextClassifier(weights.astype(np.float32), bias, threshold, about), caught, wrong)


def _fit(matrix: sparse.csr_matrix, labels: NDArray[np.float64], strength: float) -> tuple[NDArray[np.float64], float]:
    weight = np.where(labels == 1, 0.5 / labels.mean(), 0.5 / (1 - labels.mean())) / len(labels)

    def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = matrix @ point[:-1] + point[-1]
        signed = np.where(labels == 1, logits, -logits)
        value = float((weight * np.logaddexp(0.0, -signed)).sum()) + 0.5 * strength / len(labels) * float(
            point[:-1] @ point[:-1]
        )
        pull = weight * (1.0 / (1.0 + np.exp(-logits)) - labels)
        slope = np.append(matrix.T @ pull + strength / len(labels) * point[:-1], pull.sum())
        return value, slope

    found = optimize.minimize(loss, np.zeros(DIMENSIONS + 1), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return found.x[:-1], float(found.x[-1])


def _probability(matrix: sparse.csr_matrix, weights: NDArray[np.float64], bias: float) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-(matrix @ weights + bias)))


def _matrix(texts: Sequence[str]) -> sparse.csr_matrix:
    rows = [_features(text) for text in texts]
    ends = np.cumsum([0, *(len(columns) for columns, _ in rows)])
    columns = np.concatenate([columns for columns, _ in rows])
    values = np.concatenate([values for _, values in rows])
    return sparse.csr_matrix((values, columns, ends), shape=(len(texts), DIMENSIONS))


def _features(text: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Hashed words, pairs of words, and three to five characters within words; the row has length one."""
    words = _WORD.findall(text.lower()[:8000])
    grams = [f"w {word}" for word in words]
    grams += [f"p {a} {b}" for a, b in pairwise(words)]
    for word in (f"<{word}>" for word in words):
        grams += [f"c {word[at : at + size]}" for size in (3, 4, 5) for at in range(max(0, len(word) - size + 1))]
    hashed = np.array([zlib.crc32(gram.encode()) % DIMENSIONS for gram in grams], dtype=np.int64)
    columns, counts = np.unique(hashed, return_counts=True)
    values = np.sqrt(counts.astype(np.float64))
    norm = float(np.sqrt((values**2).sum()))
    return columns, values / norm if norm > 0 else values
