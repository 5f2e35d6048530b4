"""The two completion tasks on one split: whole lines, and programs that parse. Sampled, completed greedily, judged.

The record of each item goes to completions.jsonl; what could not be measured is said with its reason.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aether.evidence.statistics import Measurement, proportion
from aether.models.decoder import Decoder
from aether.models.generation import greedy
from aether.spec.run import StepContext
from aether.stages.evaluate import parsing
from aether.stages.evaluate.completion import Line, is_exact, lines_of, token_ends
from aether.stages.evaluate.held import Chosen
from aether.stages.evaluate.parsing import Program, Verdict
from aether.stages.evaluate.recipe import EvaluateRecipe


@dataclass(frozen=True)
class Finding:
    """A task's result: the share with its interval, what else it counted, and the items (for completions.jsonl).

    `share` is None when nothing could be measured; `dropped` then says why.
    """

    metric: str
    share: Measurement | None
    dropped: str = ""
    ceiling: Measurement | None = None
    counts: dict[str, int] = field(default_factory=dict)
    items: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Task:
    """What both tasks need."""

    model: Decoder
    chosen: Chosen
    recipe: EvaluateRecipe
    bytes_of: Sequence[bytes]
    context: StepContext

    def rng(self, salt: int) -> np.random.Generator:
        """A generator of this step's seed, apart for each task."""
        return np.random.default_rng([self.context.seed, salt])

    def teller(self, name: str) -> Callable[[int, int], None]:
        """A listener for one task's progress."""
        return lambda done, total: self.context.tell(done, total, "completions", f"{name}, {self.chosen.split}")

    def joined(self, tokens: Sequence[int]) -> bytes:
        """The bytes of some tokens."""
        return b"".join([self.bytes_of[token] for token in tokens])

    def rooms(self, wanted: int) -> int:
        """Tokens to generate: `wanted`, but at most half of the context."""
        return min(wanted, self.model.config.context_tokens // 2)


def line_accuracy(task: Task) -> Finding:
    """The share of sampled lines whose rest is completed exactly."""
    name, recipe = "line_accuracy", task.recipe
    if recipe.modality != "code":
        return Finding(name, None, "lines of prose are no unit: left out for modality 'text'")
    lines = _sample_lines(task)
    if not lines:
        return Finding(name, None, "no held-out line is long enough to complete")

    def has_newline(index: int, tokens: list[int]) -> bool:
        return b"\n" in task.bytes_of[tokens[-1]]

    # One more token than the longest rest, for the newline.
    room = task.rooms(recipe.line_max_tokens + 1)
    prompts = [line.prefix_ids for line in lines]
    made = greedy(task.model, prompts, room, has_newline, batch=recipe.generation_batch, tell=task.teller("lines"))
    produced = [task.joined(tokens) for tokens in made]
    exact = [is_exact(line, text) for line, text in zip(lines, produced, strict=True)]
    items = [
        {
            "metric": name,
            "split": task.chosen.split,
            "document": line.document,
            "before": line.line_head,
            "expected": line.rest.decode(errors="replace"),
            "produced": text.partition(b"\n")[0].decode(errors="replace"),
            "exact": hit,
        }
        for line, text, hit in zip(lines, produced, exact, strict=True)
    ]
    labels = _labels(recipe, lines)
    return Finding(name, proportion(exact, labels, recipe.level), items=items, counts={"lines": len(lines)})


def _labels(recipe: EvaluateRecipe, found: Sequence[Line] | Sequence[Program]) -> list[str]:
    return [one.group if recipe.cluster == "folder" else one.document for one in found]


def _sample_lines(task: Task) -> list[Line]:
    rng, held, recipe = task.rng(1), task.chosen.held, task.recipe
    found: list[Line] = []
    for index in rng.permutation(len(held.documents)).tolist():
        if len(found) >= recipe.lines:
            break
        document = held.documents[index]
        name = (document.id, document.group)
        # The separator stands before the first byte: it has no bytes, so offsets are the text's own.
        found += lines_of(name, held.contents[index], held.ids[index], task.bytes_of, recipe, rng)
    return found[: recipe.lines]


def parse_rate(task: Task) -> Finding:
    """The share of completed programs that parse, with the true continuation's as the ceiling."""
    name, recipe = "parse_rate", task.recipe
    if recipe.modality != "code":
        return Finding(name, None, "prose has no syntax to parse: left out for modality 'text'")
    programs = _sample_programs(task)
    if not programs:
        return Finding(name, None, "no held-out document is a Python file with two top-level statements")
    room = task.rooms(recipe.program_max_tokens)
    prompts = [program.prefix_ids for program in programs]
    made = greedy(task.model, prompts, room, batch=recipe.generation_batch, tell=task.teller("programs"))
    texts = [task.joined(tokens).decode(errors="replace") for tokens in made]
    true = [task.joined(program.true_ids[:room]).decode(errors="ignore") for program in programs]
    verdicts = [parsing.judge(program.prefix_text, text) for program, text in zip(programs, texts, strict=True)]
    ceilings = [parsing.judge(program.prefix_text, text) for program, text in zip(programs, true, strict=True)]
    items = [
        {
            "metric": name,
            "split": task.chosen.split,
            "document": p.document,
            "prefix_bytes": len(p.prefix_text.encode()),
        }
        | {"produced": text, "verdict": verdict, "true_verdict": ceiling}
        for p, text, verdict, ceiling in zip(programs, texts, verdicts, ceilings, strict=True)
    ]
    labels = _labels(recipe, programs)
    share = proportion([v is Verdict.PARSES for v in verdicts], labels, recipe.level)
    ceiling = proportion([v is Verdict.PARSES for v in ceilings], labels, recipe.level)
    counts = {str(verdict): verdicts.count(verdict) for verdict in Verdict}
    return Finding(name, share, ceiling=ceiling, counts=counts, items=items)


def _sample_programs(task: Task) -> list[Program]:
    """Round after round over the documents in a seeded order, one prefix from each, until there are enough."""
    rng, held, recipe = task.rng(2), task.chosen.held, task.recipe
    found: list[Program] = []
    seen: set[tuple[str, int]] = set()
    waiting = deque(rng.permutation(len(held.documents)).tolist())
    while waiting and len(found) < recipe.programs:
        index = waiting.popleft()
        document, ids = held.documents[index], held.ids[index]
        ends = token_ends(ids, task.bytes_of)
        program = parsing.program_at((document.id, document.group), task.chosen.texts[index], ids, ends, rng)
        # A document that gives a prefix twice has few of them: it is done.
        if program is None or (document.id, len(program.prefix_ids)) in seen:
            continue
        seen.add((document.id, len(program.prefix_ids)))
        found.append(program)
        waiting.append(index)
    return found
