"""A million pairwise votes fitted with intervals: seconds, and whether the planted strengths are inside.

    python -m benchmarks.votes_speed [--json]

100 models, 20,000 raters, ties by Davidson's model; half-win and Davidson fits, each with the sandwich over raters. Bar: under 10 s each.
"""

import argparse
import json
import time

import numpy as np

from aether.evidence.bradley_terry import Votes, fit
from benchmarks import records

VOTES, MODELS, RATERS, NU = 1_000_000, 100, 20_000, 0.5


def main() -> None:
    """Draw, fit, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    strength = rng.normal(0, 0.5, MODELS)
    strength -= strength.mean()
    left = rng.integers(0, MODELS, VOTES)
    right = (left + rng.integers(1, MODELS, VOTES)) % MODELS
    longer = rng.normal(0, 1, VOTES)
    u = (strength[left] - strength[right] + 0.3 * longer) / 2
    win, loss = np.exp(u), np.exp(-u)
    whole, draw = win + loss + NU, rng.random(VOTES)
    outcome = np.where(draw < win / whole, 1, np.where(draw < (win + loss) / whole, -1, 0))
    names = tuple(f"model-{i}" for i in range(MODELS))
    votes = Votes(names, left, right, outcome, rng.integers(0, RATERS, VOTES)).with_covariate("longer", longer)
    rows = []
    for ties in ("half", "davidson"):
        began = time.perf_counter()
        found = fit(votes, ties)
        spans = found.intervals(scale=1.0)
        took = time.perf_counter() - began
        inside = float(np.mean([span.low <= s <= span.high for span, s in zip(spans, strength, strict=True)]))
        rows.append(
            {
                "ties": ties,
                "seconds": took,
                "inside_95": inside if ties == "davidson" else None,
                "effect": found.effects["longer"][0],
            }
        )
    record = {
        **records.circumstances("benchmarks.votes_speed", "scipy"),
        "votes": VOTES,
        "models": MODELS,
        "raters": RATERS,
        "rows": rows,
    }
    lines = ["# A million votes", "", "| ties | seconds | planted strengths in their 95 % interval |", "|---|--:|--:|"]
    lines += [
        f"| {r['ties']} | {r['seconds']:.1f} | {'' if r['inside_95'] is None else format(r['inside_95'], '.0%')} |"
        for r in rows
    ]
    lines += [
        "",
        f"{VOTES:,} votes, {MODELS} models, {RATERS:,} raters, one covariate; {record['date']}, `{record['command']}`.",
        "",
    ]
    records.write("votes_speed", record, "\n".join(lines))
    print(json.dumps(record) if asked.json else "\n".join(lines))


if __name__ == "__main__":
    main()
