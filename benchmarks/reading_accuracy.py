"""`python -m benchmarks.reading_accuracy [FILE]`: how many fields of labelled requests are read right. Prints; writes nothing."""

import sys
from pathlib import Path

from aether.counsel.reading.accuracy import read_labels, score, table

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "requests.jsonl"


def main(arguments: list[str]) -> int:
    """Print the table for a file of labels, by default the golden ones."""
    print(table(score(read_labels(Path(arguments[0]) if arguments else GOLDEN))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
