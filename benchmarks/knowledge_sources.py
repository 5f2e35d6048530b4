"""Prints how many rows of `aether.knowledge` were read in a source and how many are assumed. Run: `python -m benchmarks.knowledge_sources`.

A device's row has fields of its own standing: `fields read` counts them. Nothing is measured and no record is written:
the counts are those of the rows in the working tree, and `tests/knowledge/test_sources.py` holds the rules.
"""

from aether.knowledge.sources import shares

KINDS = ("cited", "computed", "measured", "assumed")


def main() -> None:
    """The table on standard output."""
    print("| table | rows | " + " | ".join(KINDS) + " | fields read |")
    print("|---|---|" + "---|" * (len(KINDS) + 1))
    for share in shares():
        read = f"{share.fields - share.fields_unread} of {share.fields}" if share.fields else ""
        counts = " | ".join(str(share.kinds.get(kind, 0)) for kind in KINDS)
        print(f"| {share.table} | {share.rows} | {counts} | {read} |")


if __name__ == "__main__":
    main()
