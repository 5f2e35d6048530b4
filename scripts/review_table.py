"""Writes the table of rules in docs/review.md from the rules themselves: `python -m scripts.review_table`."""

import sys
from pathlib import Path

from aether.knowledge.review_rules import rules

PAGE = Path(__file__).parents[1] / "docs" / "review.md"
START = "<!-- rules -->\n"


def table() -> str:
    """One row a rule."""
    rows = [
        f"| {r.name} | {r.severity} | {r.title} | {'yes' if r.fixes else ''} | {r.kind} |" for r in rules().values()
    ]
    return "\n".join(["| rule | severity | finds | fixed | source |", "|---|---|---|---|---|", *rows, ""])


def main() -> int:
    """Replace what stands after the mark."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text.split(START)[0] + START + "\n" + table(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
