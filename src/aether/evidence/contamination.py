"""What training data holds of test items: the findings and their bands, and what they do to a score. The search is the evaluation's."""

from dataclasses import dataclass, field

import numpy as np

from aether.spec.evidence import Interval

LEAST_WORDS = 5
"""An item of fewer words is in any text by chance, and is not judged (assumed)."""
DIRTY, WHOLE = 0.2, 0.8
"""Bands of coverage (arXiv 2307.09288, appendix A.6)."""
EDITED, EDITED_WHOLE = 0.4, 0.6
"""Bands of the best alignment: about three words in ten, and one in five, replaced (assumed; `benchmarks.contamination` has what they find)."""
NEAR = 0.5
"""Jaccard similarity from which a training document is a near copy (assumed; edited in one word of ten it is about 0.5)."""


@dataclass(frozen=True)
class Place:
    """Where words of an item stand, in bytes of both texts."""

    file: str
    document: int
    start: int
    end: int
    item_start: int
    item_end: int


@dataclass
class Found:
    """What the training data holds of one item."""

    words: int
    coverage: float = 0.0
    longest: int = 0
    """Words of the longest shared run."""
    place: Place | None = None
    """Of the longest shared run."""
    aligned: float = 0.0
    """Score of the best alignment over the item's words: 1 for a copy, about 1 - 2 p with a share p of the words replaced."""
    aligned_place: Place | None = None
    near: float = 0.0
    """Largest Jaccard similarity of a training document."""
    near_place: tuple[str, int] | None = None
    covered: np.ndarray = field(default_factory=lambda: np.empty(0, bool), repr=False)

    @property
    def likeness(self) -> float:
        """The largest of the three signs of a copy."""
        return max(self.coverage, self.aligned, self.near)

    @property
    def band(self) -> str:
        """`too short`, `clean`, `partly` (a fifth or more of its words, or a much edited copy), or `contaminated` (four fifths, or a copy)."""
        if self.words < LEAST_WORDS:
            return "too short"
        if self.coverage >= WHOLE or self.aligned >= EDITED_WHOLE or self.near >= NEAR:
            return "contaminated"
        return "partly" if self.coverage >= DIRTY or self.aligned >= EDITED else "clean"


@dataclass(frozen=True)
class TestItem:
    """An item of the test set: its name and the text that is looked for."""

    id: str
    text: str


@dataclass(frozen=True)
class SubsetScore:
    """A metric on items that training data does not hold, and on all; the difference is of clean less touched items (Welch over clusters)."""

    task: str
    metric: str
    clean: float
    everything: float
    touched: float
    difference: float
    interval: Interval | None
    p_value: float
