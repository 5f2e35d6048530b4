"""Whether a source names something that a reader can open."""

import re

_ADDRESS = re.compile(
    r"https?://\S|arXiv \d{4}\.\d{4,5}|\w+==\d|\b[\w-]+(\.[\w-]+)*\.(com|org|net|io|ai|dev|inc|co|eu|ru|edu|network)\b"
)
"""A page, a paper, a repository, or a release of a package."""


def has_address(source: str) -> bool:
    """Whether a source names something that a reader can open."""
    return _ADDRESS.search(source) is not None
