"""`python -m benchmarks.review_examples FOLDER ...`: what `aether review` finds in the examples that libraries ship.

FOLDER is an unpacked source package, as `pip download --no-deps --no-binary :all: axolotl trl torchtitan llamafactory llmcompressor verl unsloth` gives them. Of each, the files
under a folder named `examples` or `scripts` are reviewed. Every finding was read once by hand: what was judged false stands in `FALSE`
with the reason, and a finding that is not there was judged true of its file. Writes records/review_examples.{json,md}.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from aether.counsel.review.engine import review
from benchmarks.records import FOLDER, circumstances

FALSE = {
    (
        "alst/llama3-8b-deepspeed-alst.yaml",
        "AE324",
    ): "shows how long a row can be; the quality at that length is not its point",
    ("alst/llama3-8b-fsdp2-alst.yaml", "AE324"): "as above",
    (
        "deepseek-v4/v4-flash-nvfp4-lora.yaml",
        "AE104",
    ): "its kernels own the attention: the file says that eager is required",
}


def row_of(package: Path) -> dict[str, Any]:
    """What is found in one package."""
    result = review(sorted(p for p in package.rglob("*") if p.is_dir() and p.name in ("examples", "scripts")))
    false = [f for f in result.findings if any(f.path.endswith(end) and f.rule == rule for end, rule in FALSE)]
    rules = Counter(f"{f.rule} ({f.severity})" for f in result.findings)
    return {
        "package": package.name,
        "files": len(result.files),
        "findings": len(result.findings),
        "false": len(false),
        "rules": dict(rules.most_common()),
    }


def write(rows: list[dict[str, Any]]) -> None:
    """The record of all packages."""
    found, false = (sum(row[name] for row in rows) for name in ("findings", "false"))
    record = circumstances("benchmarks.review_examples", words=[row["package"] for row in rows])
    record |= {"packages_reviewed": rows, "false_share": false / found if found else None}
    lines = [f"# False positives of review: {false} of {found} findings ({false / max(found, 1):.1%})", ""]
    lines += ["| package | files | findings | judged false | rules |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['package']} | {row['files']} | {row['findings']} | {row['false']} | {', '.join(f'{n} x {r}' for r, n in row['rules'].items())} |"
        for row in rows
    ]
    lines += ["", f"Judged by one reader. {record['date']}, `{record['command']}`."]
    (FOLDER / "review_examples.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (FOLDER / "review_examples.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def main(packages: list[str]) -> int:
    """Review, count, record."""
    write([row_of(Path(package)) for package in packages])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
