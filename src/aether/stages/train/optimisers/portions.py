"""How many matrices Muon and SOAP work on at a time. No torch, so that predictions of memory count with it too."""

from collections.abc import Sequence

WORK_VALUES = 1 << 21
"""Values of a portion: work for a batched product, and blocks of 8 MB that find room where a pass had its own. Of all experts at once, 25 MB a
block, the work lay beside the pass's memory and doubled a process's peak (LOG.md)."""


def portion(shape: Sequence[int]) -> int:
    """Matrices of one shape that are worked on at a time."""
    rows, columns = shape
    return max(1, WORK_VALUES // (rows * columns))
