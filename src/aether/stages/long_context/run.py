"""The check of a longer context: loss by position on long held-out documents, pass keys by length and depth, and short texts.

Leaves positions.jsonl, passkeys.jsonl and long_context.json. Trains nothing: a train step with `start` and `rope_scaling` does.
"""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from aether.evidence.change import before_and_after
from aether.evidence.files import write_atomically, write_json
from aether.models.corpus import read_split
from aether.models.held import held_scores
from aether.spec.evidence import Evidence
from aether.spec.run import StepContext
from aether.stages.long_context import models, passkey, positions
from aether.stages.long_context.recipe import LongContextRecipe

_SPLIT = "test"


def run(recipe: LongContextRecipe, context: StepContext) -> tuple[Evidence, ...]:
    """Inputs: `data`, `before`, `after`. Raises InputError for models without a longer context, and for too few long documents."""
    torch.set_num_threads(context.threads)
    data = context.inputs["data"]
    compared = models.read(context.inputs["before"], context.inputs["after"])
    split = read_split(data, _SPLIT)
    documents = positions.long_documents(split, compared.new_tokens, recipe.documents, context.seed)
    windows = [split.ids(document)[: compared.new_tokens + 1] for document in documents]
    places = positions.buckets(compared.old_tokens, compared.new_tokens)
    by_place, rows = positions.by_position(compared.long, windows, documents, places, context)
    _write_lines(context.out / "positions.jsonl", rows)
    tokenizer = Tokenizer.from_file(str(data / "tokenizer" / "tokenizer.json"))
    lengths = [bucket.last for bucket in places[1:]]
    asked = list(passkey.trials(recipe.pass_key, tokenizer, windows, lengths, context.seed))
    keys, answers = passkey.pass_keys(compared.long, asked, recipe.pass_key, context)
    _write_lines(context.out / "passkeys.jsonl", answers)
    short, said = _short(recipe, compared, data, context)
    summary = {
        "contexts": [compared.old_tokens, compared.new_tokens],
        "short": said,
        "places": [b.label for b in places],
    }
    write_json(context.out / "long_context.json", summary)
    return (*by_place, *keys, *short)


def _short(
    recipe: LongContextRecipe, compared: models.Compared, data: Path, context: StepContext
) -> tuple[tuple[Evidence, ...], dict[str, Any]]:
    """What the old context lost: the same windows of its length before and after."""

    def tell(done: int, total: int) -> None:
        context.tell(done, total, "tokens", "short texts")

    pair = (compared.short_before, compared.short_after)
    before, after = (held_scores(m, data, _SPLIT, recipe.held_bytes, context.seed, tell) for m in pair)
    texts = f"{len(before)} {_SPLIT} documents in windows of {compared.old_tokens}"
    return before_and_after(context, "short", before, after, texts)


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))
