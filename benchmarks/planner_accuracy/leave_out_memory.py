"""How training memory fares where it was not chosen: `python -m benchmarks.planner_accuracy.leave_out_memory --rows FILE...`.

Three byte counts of the ledger were chosen on published rows: bytes of an eager logit, copies of quantised matrices, bytes of a
tuned input. For every group of rows, a model or a source, they are chosen again on all other rows (least mean absolute error over a
grid) and judged on the group. Everything else in the ledger is counted or read, not fitted. Writes nothing.
"""

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from aether.planning.training import memory as ledgers
from benchmarks.planner_accuracy.memory import UNITS, family, predicted_bytes
from benchmarks.planner_accuracy.setups import Row, architecture
from benchmarks.planner_accuracy.training import read_rows

GRID = tuple(
    itertools.product((6.0, 8.0, 10.0, 12.0, 14.0, 16.0), (1.0, 2.0, 3.0, 4.0, 5.0), (2.0, 3.0, 4.0, 5.0, 6.0))
)
SHIPPED = (ledgers.LOGIT_BYTES["eager"], ledgers.QUANTISED_COPIES, ledgers.TUNED_INPUT_BYTES)


def errors(rows: list[Row], chosen: tuple[float, float, float]) -> np.ndarray:
    """Absolute relative errors with those byte counts; the shipped ones are put back."""
    try:
        _set(chosen)
        return np.array([abs(_predicted(row) / (row["value"] * UNITS[row["unit"]]) - 1) for row in rows])
    finally:
        _set(SHIPPED)


def _set(chosen: tuple[float, float, float]) -> None:
    ledgers.LOGIT_BYTES["eager"], ledgers.QUANTISED_COPIES, ledgers.TUNED_INPUT_BYTES = chosen


def _predicted(row: Row) -> float:
    found = predicted_bytes(row)
    assert found is not None
    return found


def model_of(row: Row) -> str:
    """The model by its shape: one model has several names."""
    found = architecture(row)
    assert found is not None
    return f"{found.layers} layers of {found.hidden_size}, {found.vocab_size} tokens"


def source_of(row: Row) -> str:
    """The table, without its part."""
    return str(row.get("source")).split(" (")[0]


def left_out(rows: list[Row], group_of: Callable[[Row], str]) -> np.ndarray:
    """Errors of every row with the byte counts chosen without its group."""
    groups = np.array([group_of(row) for row in rows])
    table = np.array([errors(rows, chosen) for chosen in GRID])
    found = np.empty(len(rows))
    for group in sorted(set(groups)):
        inside = groups == group
        best = int(table[:, ~inside].mean(axis=1).argmin())
        found[inside] = table[best, inside]
    return found


def scorable(rows: list[Row]) -> list[Row]:
    """The rows of training memory that have a prediction."""
    return [row for row in rows if family(row) == "memory, training" and predicted_bytes(row) is not None]


def main() -> None:
    """Print errors as shipped, and left out by model and by source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", required=True, type=Path)
    rows = scorable(read_rows(parser.parse_args().rows))
    for name, found in (
        ("as shipped", errors(rows, SHIPPED)),
        ("left out by model", left_out(rows, model_of)),
        ("left out by source", left_out(rows, source_of)),
    ):
        median, p80, p90 = (100 * np.quantile(found, share) for share in (0.5, 0.8, 0.9))
        print(f"{name}: {len(rows)} rows, median {median:.1f} %, p80 {p80:.1f} %, p90 {p90:.1f} %")


if __name__ == "__main__":
    main()
