"""The grid of tokens on which a step's parts are tabulated, and lines between its points. Shapes: G points."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

GRID_G = np.unique(np.round(np.geomspace(1, 131_072, 60)))
"""Tokens at which the parts that depend on tokens alone are computed; between them they are interpolated."""
GRID = [float(v) for v in GRID_G]
_GAPS = np.diff(GRID_G)


def line(values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Intercepts and slopes of the lines between the points of the grid."""
    slopes = (np.diff(values) / _GAPS).tolist()
    return [value - slope * tokens for value, slope, tokens in zip(values, slopes, GRID, strict=False)], slopes


class Position:
    """A place between two points of the grid."""

    def __init__(self, tokens: float) -> None:
        right = min(len(GRID) - 1, max(1, bisect_right(GRID, tokens)))
        self.left = right - 1
        self.share = (tokens - GRID[self.left]) / (GRID[right] - GRID[self.left])

    def of(self, values: Sequence[float]) -> float:
        """The value there, on the line through the two points (beyond the grid too)."""
        low = values[self.left]
        return low + self.share * (values[self.left + 1] - low)
