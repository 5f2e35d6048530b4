"""Fits `knowledge/misuse_aims.json`: the weights of roles of words in a request with a harmful aim. Prints; writes the weights.

    python -m benchmarks.policy_aims --data DIR [--dry]

Learns from the requests of our own (`tests/golden/hard_rule_requests.txt`, `hard_rule_lookalikes.txt`, `ordinary_requests.txt`,
`requests.jsonl`) and from sets whose licence allows it, in DIR: HarmBench's biology and misinformation (MIT), XSTest's safe prompts
(CC BY 4.0), questions of MT-Bench (Apache-2.0) and GSM8K (MIT). No text is kept, only the weights. Five folds say what to expect; the
threshold is where 3 % of the look-alikes and ordinary requests of our own are refused, each judged by weights that have not seen it.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from aether.policy.aims import features, speaks_of_harm
from aether.policy.judgement import Harm, judge_by_patterns

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
WEIGHTS = ROOT / "src" / "aether" / "knowledge" / "misuse_aims.json"
FOLDS, PENALTY, SEED, OVER = 5, 4.0, 0, 0.03
"""Folds; strength of L2; seed of the folds; share of look-alikes that may be refused."""


def read_texts(data: Path) -> list[tuple[str, int, str]]:
    """(text, 1 for harmful, set)."""
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
    return rows + [(json.loads(line)["question"], 0, "GSM8K") for line in sums]


def _of_hard_rules(text: str) -> bool:
    """Whether the patterns see no harm of another field, which has rules of its own."""
    return judge_by_patterns(text).harm not in (
        Harm.COPYRIGHT,
        Harm.FABRICATED_RESULTS,
        Harm.PRIVACY,
        Harm.HATE,
        Harm.DRUGS,
    )


def _lines(name: str) -> list[str]:
    return [line for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines() if line.strip()]


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def fit(rows: list[dict[str, float]], labels: np.ndarray, penalty: float = PENALTY) -> dict[str, float]:
    """Weights of a logistic regression with an L2 penalty; features that stand in one row only are left out."""
    seen: dict[str, int] = {}
    for row in rows:
        for name in row:
            seen[name] = seen.get(name, 0) + 1
    names = {name: at for at, name in enumerate(sorted(n for n, count in seen.items() if count > 1))}
    matrix = np.zeros((len(rows), len(names)))
    for at, row in enumerate(rows):
        for name in row:
            if name in names:
                matrix[at, names[name]] = 1.0
    signs = 2.0 * labels - 1.0
    counts = np.where(labels == 1, 0.5 / max(1, labels.sum()), 0.5 / max(1, (1 - labels).sum())) * len(rows)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = signs * (matrix @ w)
        value = float((counts * np.logaddexp(0.0, -margin)).sum() + 0.5 * penalty * (w @ w))
        slope = matrix.T @ (-counts * signs / (1.0 + np.exp(np.clip(margin, -50, 50)))) + penalty * w
        return value, slope

    found = minimize(loss, np.zeros(len(names)), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    return {name: round(float(found[at]), 3) for name, at in names.items() if abs(found[at]) >= 0.005}


def scores(weights: dict[str, float], rows: list[dict[str, float]]) -> np.ndarray:
    """Probability of each row."""
    sums = np.array([sum(weights.get(name, 0.0) for name in row) for row in rows])
    return 1.0 / (1.0 + np.exp(-np.clip(sums, -50, 50)))


def main(arguments: list[str]) -> int:
    """Fit, tell what five folds say, write the weights."""
    parser = argparse.ArgumentParser(description="Weights of the aims of requests.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    texts = read_texts(options.data)
    rows, labels = [features(text) for text, _, _ in texts], np.array([label for _, label, _ in texts])
    sets = np.array([name for _, _, name in texts])
    folds = np.random.default_rng(SEED).integers(0, FOLDS, len(rows))
    unseen = np.zeros(len(rows))
    for fold in range(FOLDS):
        inside = [rows[i] for i in np.flatnonzero(folds != fold)]
        weights = fit(inside, labels[folds != fold])
        unseen[folds == fold] = scores(weights, [rows[i] for i in np.flatnonzero(folds == fold)])
    unseen *= [speaks_of_harm(text) for text, _, _ in texts]
    alike = unseen[(sets == "own look-alikes") | (sets == "ordinary")]
    threshold = max(0.5, round(float(np.quantile(alike, 1 - OVER)), 3))
    for name in dict.fromkeys(sets):
        print(
            f"{name:16} {len(unseen[sets == name]):5} refused by unseen weights {np.mean(unseen[sets == name] >= threshold):.1%}"
        )
    weights = fit(rows, labels)
    ruled = np.array([judge_by_patterns(text).decision == "refuse" for text, _, _ in texts])
    for limit in sorted({0.5, 0.6, 0.7, 0.8, threshold}):
        both = {n: np.mean((unseen >= limit)[sets == n] | ruled[sets == n]) for n in ("own harmful", "own look-alikes")}
        print(
            f"at {limit} with the patterns: {both['own harmful']:.1%} of own harmful, {both['own look-alikes']:.1%} of look-alikes"
        )
    print(f"threshold {threshold}, {len(weights)} weights")
    if not options.dry:
        stored = {
            "as_of": "2026-11-26", "kind": "measured", "source": "benchmarks/policy_aims.py",
            "threshold": threshold, "weights": dict(sorted(weights.items())),
        }  # fmt: skip
        WEIGHTS.write_text(
            json.dumps(stored, ensure_ascii=False).replace('", "', '",\n"').replace(', "', ',\n"') + "\n",
            encoding="utf-8",
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
