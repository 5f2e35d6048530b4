"""Public benchmarks that a person names: the task of lm-eval that runs each, and how small a difference its items can show."""

import math
import re
from dataclasses import dataclass

from aether.counsel.answers.draft import Draft, items, name
from aether.evidence.sample_size import needed_pairs
from aether.spec.report import Block, Text, text_of


@dataclass(frozen=True)
class Benchmark:
    """A task of lm-eval 0.4.13. `items`: of its test split (from memory: assumed)."""

    task: str
    items: int
    said: str


KNOWN = tuple(
    Benchmark(*row)
    for row in (
        ("gsm8k", 1319, r"gsm-?8k"),
        ("mmlu_pro", 12032, r"mmlu[\s_-]?pro"),
        ("mmlu", 14042, r"mmlu(?![\s_-]?pro)"),
        ("humaneval", 164, r"human-?eval(?!\+)"),
        ("mbpp", 500, r"mbpp(?!\+)"),
        ("ifeval", 541, r"if-?eval"),
        ("hellaswag", 10042, r"hella-?swag"),
        ("arc_challenge", 1172, r"arc(?:[\s_-]?(?:c|challenge))?"),
        ("winogrande", 1267, r"wino-?grande"),
        ("truthfulqa_mc2", 817, r"truthful-?qa"),
        ("piqa", 1838, r"piqa"),
        ("boolq", 3270, r"bool-?q"),
    )
)


def benchmarks_of(text: str) -> tuple[Benchmark, ...]:
    """Those that a text names, in the order of the table."""
    plain = text.lower()
    return tuple(one for one in KNOWN if re.search(rf"(?<![\w-]){one.said}(?![\w+])", plain))


def shown_by(draft: Draft, named: tuple[Benchmark, ...], spread: float) -> Block:
    """The least difference between two models that the items of each are likely to show."""
    rows: list[Text] = []
    for one in named:
        count = draft.number(
            f"benchmark.{one.task}.items", one.items, "count", "assumed", "the test split, from memory"
        )
        least = math.sqrt(needed_pairs(spread, 0.01) / one.items) * 0.01
        source = "(z95 + z80) * spread / sqrt(items), Miller, arXiv 2411.00640, equation 9"
        shown = draft.number(f"benchmark.{one.task}.least", least, "fraction", "computed", source)
        rows.append(
            text_of(name(one.task), ": ", count, " items; a difference of ", shown, " is found eight times in ten.")
        )
    return items(*rows)
