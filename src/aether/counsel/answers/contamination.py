"""The answer about leaked test items: how to search a training text for them, with a program that does it, and what is to be done with hits.

The size of the shared run follows GPT-3's filter of 13-grams (Brown et al., arXiv 2005.14165, appendix C).
"""

from aether.counsel.answers.draft import Draft, command, items, paragraph, table
from aether.counsel.answers.side_by_side import topics_of
from aether.counsel.explain import cited_text, number_evidence
from aether.spec.report import Block, Paragraph, text_of

PROGRAM = '''"""Which evaluation items share a long run of words with the training text: python contamination.py ITEMS.jsonl TRAIN.jsonl ...

Each line is an object with the field "text". Prints one line of JSON per item that is hit, and a summary at the end.
"""

import json
import logging
import re
import sys
from pathlib import Path

WORDS = 13  # length of a run that is no coincidence
log = logging.getLogger("contamination")


def runs(text: str) -> set[int]:
    """Hashes of every run of words; punctuation and case do not count."""
    words = re.findall(r"[^\\W_]+", text.lower())
    return {hash(tuple(words[i : i + WORDS])) for i in range(len(words) - WORDS + 1)}


def texts(path: Path):
    """The texts of a file of JSON lines, with their line numbers."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield number, json.loads(line)["text"]
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise SystemExit(f'{path}, line {number}: {error!r}; write {{"text": "..."}}') from error


def main(items: Path, train: list[Path]) -> int:
    """Search; the exit code is 1 when something was hit."""
    wanted: dict[int, set[int]] = {}  # run -> items that have it
    short = total = 0
    for number, text in texts(items):
        found = runs(text)
        total, short = total + 1, short + (not found)
        for run in found:
            wanted.setdefault(run, set()).add(number)
    hit: dict[int, str] = {}
    for path in train:
        for number, text in texts(path):
            for run in runs(text) & wanted.keys():
                for item in wanted[run]:
                    hit.setdefault(item, f"{path}:{number}")
        log.info("searched %s, %d items hit so far", path, len(hit))
    for item, where in sorted(hit.items()):
        print(json.dumps({"item": item, "found_in": where}))
    print(json.dumps({"items": total, "hit": len(hit), "too_short_to_tell": short}))
    return 1 if hit else 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    sys.exit(main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]))
'''
_WAYS = (
    (
        "exact runs of words",
        "finds copies; misses rewording",
        "one pass over the text",
        "the runs of the items",
        "none",
        "low",
    ),
    (
        "near copies (MinHash)",
        "finds copies with small changes",
        "one pass and an index",
        "an index of the text",
        "none",
        "medium",
    ),
    (
        "meaning (embeddings)",
        "finds rewording and translations; has false alarms",
        "slow",
        "vectors of the text",
        "none",
        "high",
    ),
    (
        "items newer than the text",
        "nothing can have leaked before its day",
        "none",
        "none",
        "none",
        "low, where there are such items",
    ),
)


def contamination_sections(draft: Draft) -> None:
    """Decision and ways, before the protocol of an evaluation."""
    text = "Search the training text for long runs of words of every evaluation item, and report results with and without the hits."
    draft.section(
        "decision",
        "Decision",
        Paragraph(text=text_of(text), tone="decision"),
        paragraph(
            "A number on items that were trained on says how well they were remembered. No score corrects for it afterwards."
        ),
        *_numbers(draft),
    )
    heads = ("way", "accuracy of the search", "speed", "memory", "training cost", "complexity")
    draft.section("options", "Options", table(heads, [[text_of(cell) for cell in row] for row in _WAYS]))


def contamination_code(draft: Draft) -> list[Block]:
    """The program, and where Aether does the same."""
    return [
        paragraph("Which items the training files hold, where, and whether the score is due to it:"),
        draft.code("bash", "aether contamination items.jsonl train.jsonl --out contamination\n"),
        paragraph("Where Aether is not installed, ", command("contamination.py"), " needs only Python:"),
        draft.code("python", PROGRAM),
        items(
            text_of(
                "Hits: drop the documents from the training text where it is not trained yet; else report the score without these items."
            ),
            text_of("Items that are too short for a run stay unproven: say how many."),
        ),
    ]


def _numbers(draft: Draft) -> list[Block]:
    """What published sources say of it."""
    found: list[Block] = []
    for about in topics_of(("contamination",)):
        for number in about.number:
            cited = draft.record(number_evidence(about, number))
            found.append(paragraph(*cited_text(about, number.claim), ": ", cited, "."))
        for source in about.source:
            if source.kind == "cited":
                draft.refer(source.title, source.address, (source.read or source.as_of).isoformat())
    return found
