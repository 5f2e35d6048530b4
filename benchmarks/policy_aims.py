"""Fits `knowledge/misuse_aims.json`: the weights of words and pairs of words in a request with a harmful aim. Prints; writes the weights.

    python -m benchmarks.policy_aims --data DIR [--dry]

Learns from the requests of our own (`tests/golden/hard_rule_requests.txt`, `hard_rule_lookalikes.txt`, `ordinary_requests.txt`,
`requests.jsonl`), from deeds of our own (`harmful_deeds.txt`, `harmless_deeds.txt`) in the frames of `benchmarks.policy_frames`, and from
sets whose licence allows it, in DIR: HarmBench's biology and misinformation (MIT), XSTest's safe prompts (CC BY 4.0), MT-Bench
(Apache-2.0) and GSM8K (MIT). No text is kept, only the weights. The threshold is one half, or more where 3 % of
`aims_held_lookalikes.txt` would be refused, which the weights have not seen; `aims_unseen_*` and `aims_fresh_*` chose nothing and say what to expect.
"""

import argparse
import csv
import json
import random
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from aether.policy.aims import WINDOW, features, names_a_model, probability
from aether.policy.judgement import Harm, judge_by_patterns
from aether.policy.phrases import sentences
from benchmarks.policy_frames import framed

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
WEIGHTS = ROOT / "src" / "aether" / "knowledge" / "misuse_aims.json"
PENALTY, SEED, OVER, FRAMES = 1 / 30, 0, 0.03, 4
"""Strength of L2; seed of the frames; share of held look-alikes that may be refused; frames for each deed."""
SMALL = 0.05
"""Weights below are left out."""

Row = tuple[str, int, str]
"""Text, 1 for harmful, its set."""


def read_texts(data: Path) -> list[Row]:
    """Everything to learn from."""
    rows = [(t, 1, "own harmful") for t in _lines("hard_rule_requests.txt") if _of_hard_rules(t)]
    rows += [(t, 0, "own look-alikes") for t in _lines("hard_rule_lookalikes.txt")]
    rows += [(t, 0, "ordinary") for t in _lines("ordinary_requests.txt")]
    rows += [(json.loads(line)["text"], 0, "requests") for line in _lines("requests.jsonl")]
    bench = _table(data / "harm_behaviors" / "harmbench_behaviors_text_all.csv")
    wanted = ("chemical_biological", "misinformation_disinformation")
    rows += [(r["Behavior"], 1, "HarmBench") for r in bench if r["SemanticCategory"] in wanted]
    probes = _table(data / "xstest" / "xstest_prompts.csv")
    rows += [(r["prompt"], 0, "XSTest safe") for r in probes if r["label"] == "safe"]
    chat = (data / "mt_bench" / "question.jsonl").read_text(encoding="utf-8").splitlines()
    rows += [(turn, 0, "MT-Bench") for line in chat for turn in json.loads(line)["turns"]]
    sums = (data / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()[:200]
    return [*rows, *((json.loads(line)["question"], 0, "GSM8K") for line in sums), *_framed_deeds()]


def _framed_deeds() -> list[Row]:
    deeds = {label: _lines(name) for label, name in ((1, "harmful_deeds.txt"), (0, "harmless_deeds.txt"))}
    verbs = frozenset(deed.split()[0] for listed in deeds.values() for deed in listed)
    rng = random.Random(SEED)
    return [
        (framed(deed, verbs, rng), label, "deeds")
        for label, listed in deeds.items()
        for deed in listed
        for _ in range(FRAMES)
    ]


def _of_hard_rules(text: str) -> bool:
    """Whether the patterns see no harm of another field, which has rules of its own."""
    others = (Harm.COPYRIGHT, Harm.FABRICATED_RESULTS, Harm.PRIVACY, Harm.HATE, Harm.DRUGS)
    return judge_by_patterns(text).harm not in others


def _lines(name: str | Path) -> list[str]:
    return [line for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines() if line.strip()]


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def features_of(text: str) -> dict[str, float]:
    """Of a text's first window."""
    return features([word for sentence in sentences(text) for word in sentence][:WINDOW])


def fit(rows: list[dict[str, float]], labels: np.ndarray) -> dict[str, float]:
    """Weights of a logistic regression with an L2 penalty, both classes equally heavy; features of one row only are left out."""
    seen = Counter(name for row in rows for name in row)
    names = {name: at for at, name in enumerate(sorted(name for name, count in seen.items() if count > 1))}
    cells = [
        (i, names[name], strength) for i, row in enumerate(rows) for name, strength in row.items() if name in names
    ]
    at, of, strengths = (np.array(part) for part in zip(*cells, strict=True))
    matrix = csr_matrix((strengths, (at, of)), shape=(len(rows), len(names)))
    signs = 2.0 * labels - 1.0
    heavy = np.where(labels == 1, 0.5 / labels.sum(), 0.5 / (1 - labels).sum()) * len(rows)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = signs * (matrix @ w)
        slope = matrix.T @ (-heavy * signs / (1.0 + np.exp(np.clip(margin, -50, 50)))) + PENALTY * w
        return float((heavy * np.logaddexp(0.0, -margin)).sum() + 0.5 * PENALTY * (w @ w)), slope

    found = minimize(loss, np.zeros(len(names)), jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    return {name: round(float(found[i]), 2) for name, i in names.items() if abs(found[i]) >= SMALL}


def _chances(weights: dict[str, float], name: str) -> np.ndarray:
    return np.array([names_a_model(text) * probability(weights, features_of(text)) for text in _lines(f"{name}.txt")])


def _told(weights: dict[str, float]) -> float:
    """Print what is said of texts that were not learnt from; the threshold."""
    names = [f"aims_{batch}_{side}" for batch in ("held", "unseen", "fresh") for side in ("requests", "lookalikes")]
    chances = {name: _chances(weights, name) for name in names}
    threshold = max(
        0.5, round(float(np.quantile(chances["aims_held_lookalikes"], 1 - OVER, method="higher")) + 6e-4, 3)
    )
    for limit in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, threshold):
        print(f"at {limit}:", ", ".join(f"{name} {np.mean(chances[name] >= limit):.1%}" for name in names))
    return threshold


def main(arguments: list[str]) -> int:
    """Fit, tell what is said of unseen texts, write the weights."""
    parser = argparse.ArgumentParser(description="Weights of the aims of requests.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    texts = read_texts(options.data)
    weights = fit([features_of(text) for text, _, _ in texts], np.array([label for _, label, _ in texts]))
    threshold = _told(weights)
    print(f"threshold {threshold}, {len(weights)} weights, {len(texts)} texts")
    if not options.dry:
        stored = {
            "as_of": "2026-11-27", "kind": "measured", "source": "benchmarks/policy_aims.py",
            "threshold": threshold, "weights": dict(sorted(weights.items())),
        }  # fmt: skip
        WEIGHTS.write_text(json.dumps(stored, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
