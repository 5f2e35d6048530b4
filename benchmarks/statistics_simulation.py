"""Do the intervals and tests of `aether.evidence` hold what they say? Simulated experiments whose truth is known.

    python -m benchmarks.statistics_simulation [--experiments 10000] [--only NAME ...] [--keep FILE] [--seconds 500] [--json]

Coverage is the share of 95 % intervals that hold the truth (bar: 93.5 to 96.5 %), a rate of false alarms the share of experiments without an
effect that a test at 5 % calls one, power the share of planted effects found at the planned 80 %. Sequential tests look after every value, so
their rate must not be above 5 %. Each row is a design of evaluations as they are: accuracies, clusters, skewed files, few raters, and scores that
seldom vary. With `--keep` each row that is done is a line of FILE, and the same command goes on after it.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.random import Generator
from scipy import stats

from aether.evidence import agreement, judging, seeds, sequential, significance, statistics
from aether.evidence.bradley_terry import Votes, fit
from aether.evidence.items import Item, contrast
from aether.evidence.pass_at_k import pass_at_k
from aether.evidence.sample_size import Design
from aether.spec.evidence import Interval
from benchmarks import records
from benchmarks.kept import Kept

Kind = Literal["coverage", "false alarms", "false alarms, every look", "power", "family error", "false discoveries"]


@dataclass(frozen=True)
class Scenario:
    """One experiment: a seeded generator in; whether its interval held the truth, or its test called an effect."""

    name: str
    kind: Kind
    once: Callable[[Generator], float]


def _holds(interval: Interval | None, truth: float) -> float:
    return float(interval is not None and interval.low <= truth <= interval.high)


def _clustered(
    rng: Generator, clusters: int, size: int, share: float, correlation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Successes with a beta-binomial cluster effect of this intraclass correlation, and their labels."""
    weight = 1.0 / correlation - 1.0
    own = rng.beta(share * weight, (1.0 - share) * weight, clusters)
    return (rng.random((clusters, size)) < own[:, None]).astype(float).ravel(), np.repeat(np.arange(clusters), size)


def _share(rng: Generator) -> float:
    return _holds(statistics.proportion(rng.random(300) < 0.9).interval, 0.9)


def _clustered_share(rng: Generator) -> float:
    hit, labels = _clustered(rng, 60, 8, 0.7, 0.2)
    return _holds(statistics.proportion(hit, labels).interval, 0.7)


def _clustered_mean(rng: Generator) -> float:
    x, labels = _clustered(rng, 40, 10, 0.5, 0.3)
    return _holds(statistics.mean(x, labels).interval, 0.5)


def _ratio(rng: Generator) -> float:
    size = rng.lognormal(8, 1, 150)
    bits = size * (1.8 + rng.normal(0, 0.4, 150))
    return _holds(statistics.ratio(bits, size).interval, 1.8)


def _bca(rng: Generator) -> float:
    x = np.repeat(rng.exponential(1.0, 80), 3) + rng.exponential(1.0, 240)
    labels = np.repeat(np.arange(80), 3)
    how = statistics.Bootstrap(resamples=2000, seed=int(rng.integers(1 << 31)))
    return _holds(statistics.cluster_bootstrap(x, np.ones(240), labels, how=how).interval, 2.0)


def _p90(rng: Generator) -> float:
    found = statistics.quantile(rng.exponential(1.0, 2000), 0.9)
    return _holds(found.interval, float(stats.expon.ppf(0.9)))


def _pair(rng: Generator, gain: float, n: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Two systems' successes on the same items, of correlated difficulty."""
    easy = rng.normal(0, 1, n)
    cut = stats.norm.ppf(0.6) * np.sqrt(2)
    a = easy + rng.normal(0, 1, n) < stats.norm.ppf(0.6 + gain) * np.sqrt(2)
    return a.astype(float), (easy + rng.normal(0, 1, n) < cut).astype(float)


def _paired_interval(rng: Generator) -> float:
    a, b = _pair(rng, 0.05)
    return _holds(statistics.paired_difference(a, b, np.ones(500)).interval, 0.05)


def _seldom_wrong(rng: Generator) -> float:
    """Two systems of equal accuracy on few items that both nearly always solve: often nothing differs at all."""
    a, b = ((rng.random(40) < 0.97).astype(float) for _ in range(2))
    return float((statistics.paired_difference(a, b, np.ones(40)).p_value or 0.0) < 0.05)


def _full_slice(rng: Generator) -> float:
    """A slice of 20 items against 200 others of the same accuracy, where one side is often without a failure."""
    items = [
        Item(task="t", id=str(i), cluster=str(i), tags={}, prompt_sha256="", prompt="", answer="", target="", values={"acc": hit})
        for i, hit in enumerate((rng.random(220) < 0.95).astype(float))
    ]  # fmt: skip
    return float(contrast(items[:20], items[20:], "acc")[2] < 0.05)


def _paired_clustered(rng: Generator) -> float:
    labels = np.repeat(np.arange(50), 10)
    effect = np.repeat(rng.normal(0, 0.1, 50), 10)
    a, b = rng.normal(0.5, 0.3, 500) + effect, rng.normal(0.5, 0.3, 500)
    return float((statistics.paired_difference(a, b, np.ones(500), labels).p_value or 0.0) < 0.05)


def _mcnemar(mid: bool) -> Callable[[Generator], float]:
    def once(rng: Generator) -> float:
        found = significance.mcnemar(*_pair(rng, 0.0))
        return float((found.mid_p_value if mid else found.p_value) < 0.05)

    return once


def _permutation(rng: Generator) -> float:
    labels = np.repeat(np.arange(40), 5)
    a = np.repeat(rng.standard_t(3, 40), 5) + rng.standard_t(3, 200)
    return float(significance.permutation_test(a, np.zeros(200), labels, 1999, int(rng.integers(1 << 31))) < 0.05)


def _power(rng: Generator) -> float:
    plan = Design(items=500, accuracy=0.6, correlation=0.0)
    gain = plan.smallest_detectable
    a, b = rng.random(500) < 0.6 + gain / 2, rng.random(500) < 0.6 - gain / 2
    return float((statistics.paired_difference(a, b, np.ones(500)).p_value or 0.0) < 0.05)


def _three_way(rng: Generator, n: int) -> np.ndarray:
    return rng.choice([-1.0, 0.0, 1.0], n, p=[0.15, 0.7, 0.15])


def _betting(rng: Generator) -> float:
    return float(sequential.betting(_three_way(rng, 500)).stops_at() is not None)


def _asymptotic(rng: Generator) -> float:
    return float(sequential.asymptotic(rng.exponential(1.0, 2000) - 1.0, start=100).stops_at() is not None)


def _seeds(rng: Generator) -> float:
    items = rng.normal(0, 1, (1, 200))
    a, b = (items + rng.normal(0, 0.1, (5, 1)) + rng.normal(0, 1, (5, 200)) for _ in range(2))
    return _holds(seeds.compare_seeds(a, b).interval, 0.0)


def _seeds_mean(rng: Generator) -> float:
    scores = rng.normal(0, 1, (1, 200)) + rng.normal(0, 0.1, (5, 1)) + rng.normal(0, 1, (5, 200))
    return _holds(seeds.mean_over_seeds(scores).interval, 0.0)


def _pass_at_k(rng: Generator) -> float:
    # The chance of a problem is uniform, so pass@3 is 1 - E[(1 - p)^3] = 3/4.
    passed = rng.binomial(10, rng.random(150))
    return _holds(pass_at_k([10] * 150, passed.tolist(), 3).interval, 0.75)


def _votes(rng: Generator, ties: Literal["half", "davidson"]) -> float:
    players, raters, each = 6, 80, 40
    strength = np.linspace(-0.5, 0.5, players)
    rater = np.repeat(np.arange(raters), each)
    left = rng.integers(0, players, raters * each)
    right = (left + rng.integers(1, players, raters * each)) % players
    u = (strength[left] - strength[right]) / 2
    nu = 0.6 if ties == "davidson" else 0.0
    win, loss = np.exp(u), np.exp(-u)
    whole, draw = win + loss + nu, rng.random(len(u))
    outcome = np.where(draw < win / whole, 1, np.where(draw < (win + loss) / whole, -1, 0))
    found = fit(Votes(tuple("abcdef"), left, right, outcome, rater), ties)
    return _holds(found.difference("f", "a", scale=1.0)[1], 1.0)


def _tastes(rng: Generator) -> float:
    """Raters differ in taste, and vote 30 times each: a null difference of two models."""
    taste = rng.normal(0, 0.7, (100, 4))
    rater = np.repeat(np.arange(100), 30)
    left = rng.integers(0, 4, 3000)
    right = (left + rng.integers(1, 4, 3000)) % 4
    won = rng.random(3000) < 1 / (1 + np.exp(taste[rater, right] - taste[rater, left]))
    found = fit(Votes(tuple("abcd"), left, right, np.where(won, 1, -1), rater))
    return float(found.difference("a", "b")[2] < 0.05)


def _labels(rng: Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two annotators who agree with probability 0.7 and guess among 3 otherwise: kappa and alpha are 0.7."""
    one = rng.integers(0, 3, n)
    return one, np.where(rng.random(n) < 0.7, one, rng.integers(0, 3, n))


def _kappa(rng: Generator) -> float:
    one, other = _labels(rng, 200)
    seed = int(rng.integers(1 << 31))
    return _holds(agreement.cohen_kappa(one.tolist(), other.tolist(), seed=seed, resamples=400).interval, 0.7)


def _alpha(rng: Generator) -> float:
    found = agreement.krippendorff_alpha(np.stack(_labels(rng, 200)), seed=int(rng.integers(1 << 31)), resamples=400)
    return _holds(found.interval, 0.7)


def _judge(rng: Generator, truth: np.ndarray) -> np.ndarray:
    return np.where(truth, rng.random(len(truth)) < 0.85, rng.random(len(truth)) > 0.9)


def _corrected(rng: Generator) -> float:
    labelled, items = rng.random(400) < 0.4, rng.random(500) < 0.25
    known = judging.calibrate(_judge(rng, labelled).tolist(), labelled.tolist(), resamples=1)
    return _holds(judging.corrected_rate(int(_judge(rng, items).sum()), 500, known).interval, 0.25)


def _powered(rng: Generator) -> float:
    truth = rng.random(1200) < 0.3
    judge = _judge(rng, truth).astype(float)
    y = truth[:200].astype(float)
    return _holds(judging.prediction_powered_mean(y, judge[:200], judge[200:]).interval, 0.3)


def _family(correct: Callable[[list[float]], list[float]], real: int) -> Callable[[Generator], float]:
    """Twenty slices, `real` of them with an effect: any false alarm (none real), or the share of false ones among those called."""

    def once(rng: Generator) -> float:
        shift = np.where(np.arange(20) < real, 4.0, 0.0)
        called = np.asarray(correct((2 * stats.norm.sf(np.abs(rng.normal(shift, 1.0)))).tolist())) < 0.05
        false = int(called[real:].sum())
        return float(false > 0) if real == 0 else false / max(1, int(called.sum()))

    return once


SCENARIOS = (
    Scenario("share, Wilson, 300 items at 0.9", "coverage", _share),
    Scenario("share, Wilson with design effect, 60 clusters of 8", "coverage", _clustered_share),
    Scenario("mean, cluster-robust t, 40 clusters of 10", "coverage", _clustered_mean),
    Scenario("ratio, 150 files of skewed size", "coverage", _ratio),
    Scenario("mean, BCa over 80 skewed clusters", "coverage", _bca),
    Scenario("p90, order statistics, 2000 values", "coverage", _p90),
    Scenario("paired difference of accuracies, 500 items", "coverage", _paired_interval),
    Scenario("paired difference, 50 clusters of 10", "false alarms", _paired_clustered),
    Scenario("paired difference, 40 items of accuracy 0.97", "family error", _seldom_wrong),
    Scenario("slice of 20 items against 200, accuracy 0.95", "family error", _full_slice),
    Scenario("McNemar, exact, 500 items (never above 5 %)", "family error", _mcnemar(mid=False)),
    Scenario("McNemar, mid-p, 500 items", "false alarms", _mcnemar(mid=True)),
    Scenario("permutation of 40 heavy-tailed clusters", "false alarms", _permutation),
    Scenario("planned power, smallest detectable difference of 500 items", "power", _power),
    Scenario("betting sequence, 500 looks", "false alarms, every look", _betting),
    Scenario("asymptotic sequence, skewed, 1,900 looks", "false alarms, every look", _asymptotic),
    Scenario("difference of recipes, 5 seeds each, 200 items", "coverage", _seeds),
    Scenario("mean of a recipe, 5 seeds, 200 items", "coverage", _seeds_mean),
    Scenario("pass@3 of 10, 150 problems", "coverage", _pass_at_k),
    Scenario("Bradley-Terry, sandwich over 80 raters", "coverage", lambda rng: _votes(rng, "half")),
    Scenario("Bradley-Terry with ties (Davidson), 80 raters", "coverage", lambda rng: _votes(rng, "davidson")),
    Scenario("Bradley-Terry, 100 raters of different taste", "false alarms", _tastes),
    Scenario("Cohen's kappa, bootstrap, 200 items", "coverage", _kappa),
    Scenario("Krippendorff's alpha, bootstrap, 200 items", "coverage", _alpha),
    Scenario("rate corrected for a judge's errors, 400 labels, 500 items", "coverage", _corrected),
    Scenario("prediction-powered mean, 200 labels, 1000 more items", "coverage", _powered),
    Scenario("Holm over 20 slices without effect", "family error", _family(lambda p: statistics.holm(p), 0)),
    Scenario("Benjamini-Hochberg, 20 slices, 5 with effect", "false discoveries", _family(significance.benjamini_hochberg, 5)),
)  # fmt: skip

BARS: dict[Kind, tuple[float, float]] = {
    "coverage": (0.935, 0.965),
    "false alarms": (0.035, 0.065),
    "false alarms, every look": (0.0, 0.055),
    "power": (0.78, 0.82),
    "family error": (0.0, 0.055),
    "false discoveries": (0.0, 0.055),
}


def measure(scenario: Scenario, experiments: int) -> dict[str, Any]:
    """The rate over `experiments`, its standard error, and whether it is within the bar."""
    began = time.process_time()
    # Each scenario has a stream of its own, by name, so that one can be run alone.
    root = np.random.SeedSequence([2026, *scenario.name.encode()])
    rates = [scenario.once(np.random.default_rng(child)) for child in root.spawn(experiments)]
    rate, (low, high) = float(np.mean(rates)), BARS[scenario.kind]
    se = float(np.std(rates, ddof=1) / np.sqrt(experiments))
    row = {"name": scenario.name, "kind": scenario.kind, "rate": rate, "se": se, "low": low, "high": high}
    return row | {"met": low <= rate <= high, "experiments": experiments, "cpu_s": time.process_time() - began}


def main() -> None:
    """Run what was asked for and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--only", nargs="*", default=None, help="parts of names")
    parser.add_argument("--keep", type=Path, default=None, help="rows that are done; a file of the same code only")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="after these no row is begun")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as here:
        kept = Kept(asked.keep or Path(here) / "rows.jsonl", asked.seconds)
        chosen = [one for one in SCENARIOS if asked.only is None or any(part in one.name for part in asked.only)]
        rows = [
            kept.of(
                {"name": one.name, "experiments": asked.experiments}, lambda one=one: measure(one, asked.experiments)
            )
            for one in chosen
        ]
    words = ["--experiments", str(asked.experiments), *(["--keep", "FILE"] if asked.keep else [])]
    record = {**records.circumstances("benchmarks.statistics_simulation", "scipy", words=words), "rows": rows}
    if asked.only is None:
        records.write("statistics_simulation", record, _markdown(record))
    if asked.json:
        print(json.dumps(record, allow_nan=False))


def _markdown(record: dict[str, Any]) -> str:
    lines = [
        "# Statistics on simulated experiments",
        "",
        "| what | asked | rate % | bar % | met |",
        "|---|---|--:|--:|---|",
    ]
    for row in record["rows"]:
        bar = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
        lines.append(
            f"| {row['name']} | {row['kind']} | {100 * row['rate']:.2f} | {bar} | {'yes' if row['met'] else 'no'} |"
        )
    lines += ["", f"{record['rows'][0]['experiments']:,} experiments each, {record['date']}, `{record['command']}`."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
