"""`python -m benchmarks.intent_weights`: fits the weights that say how like a text is to those that ask for each intent.

Learns from the labelled requests of `tests/golden` that open a conversation and from the sentences of `knowledge`; logistic regression with
an L2 penalty, by L-BFGS. Writes `knowledge/reading/intent_weights.json`, and prints what five folds get right that were not learned from.
"""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from aether.counsel.reading.accuracy import read_labels
from aether.counsel.reading.findings import find

ROOT = Path(__file__).parents[1]
READING = ROOT / "src" / "aether" / "knowledge" / "reading"
GOLDEN = ROOT / "tests" / "golden" / "requests.jsonl"
PENALTY = 0.3
"""Of the squared weights; 0.1 to 1 gave the same within noise in five folds."""
LEAST = 0.1
"""A smaller weight is left out."""


def examples() -> list[tuple[str, str]]:
    """(text, intent), in order."""
    found = [(label["text"], label["intent"]) for label in read_labels(GOLDEN) if "earlier" not in label]
    sentences = tomllib.loads((READING / "intent_examples.toml").read_text(encoding="utf-8"))["sentences"]
    return [
        *found,
        *((line, intent) for intent, lines in sentences.items() for line in lines.split("\n") if line.strip()),
    ]


def fitted(matrix: Any, wanted: np.ndarray, classes: int) -> np.ndarray:
    """Weights (features, classes) of a multinomial logistic regression on a sparse matrix (texts, features)."""
    known = np.eye(classes)[wanted]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(matrix.shape[1], classes)
        logits = matrix @ weights
        logits -= logits.max(axis=1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        gradient = matrix.T @ (np.exp(logs) - known) + PENALTY * weights
        return float(-(known * logs).sum() + PENALTY / 2 * (weights**2).sum()), gradient.ravel()

    start = np.zeros(matrix.shape[1] * classes)
    return minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x.reshape(
        matrix.shape[1], classes
    )


def main() -> int:
    """Fit, check by folds, write."""
    pairs = examples()
    found = [find(text).alike for text, _ in pairs]
    counts: dict[str, int] = {}
    for one in found:
        for name in one:
            counts[name] = counts.get(name, 0) + 1
    names = sorted(name for name, count in counts.items() if count > 1)
    intents = sorted({intent for _, intent in pairs})
    column = {name: at for at, name in enumerate(names)}
    placed = [
        (row, column[name], strength)
        for row, one in enumerate(found)
        for name, strength in one.items()
        if name in column
    ]
    rows_of, columns_of, strengths = zip(*placed, strict=True)
    matrix: Any = csr_matrix((strengths, (rows_of, columns_of)), shape=(len(pairs), len(names)))
    wanted = np.array([intents.index(intent) for _, intent in pairs])
    folds = np.arange(len(pairs)) % 5
    right = sum(
        int(
            (
                (matrix[folds == k] @ fitted(matrix[folds != k], wanted[folds != k], len(intents))).argmax(axis=1)
                == wanted[folds == k]
            ).sum()
        )
        for k in range(5)
    )
    print(f"five folds: {right} of {len(pairs)} right by the likeness alone; {len(names)} features")
    weights = fitted(matrix, wanted, len(intents))
    rows = {
        name: {
            str(at): round(float(weight), 2) for at, weight in enumerate(weights[column[name]]) if abs(weight) >= LEAST
        }
        for name in names
    }
    stored = {
        "kind": "measured",
        "source": "benchmarks/intent_weights.py",
        "as_of": "2026-11-25",
        "intents": intents,
        "weights": {n: r for n, r in rows.items() if r},
    }
    (READING / "intent_weights.json").write_text(
        json.dumps(stored, separators=(",", ":"), sort_keys=True).replace("},", "},\n") + "\n", encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
