"""Texts that an operation is judged on, read with each model's own tokenizer; and others that layers and heads are judged on."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from aether.evidence.compare import DocumentScore
from aether.evidence.files import read_json
from aether.evidence.hashing import hash_value
from aether.models.corpus import read_documents
from aether.models.decoder import Decoder
from aether.models.scoring import score
from aether.spec.errors import InputError

_PIECE_BYTES = 4096
"""A text file is cut into pieces of about this size, at blank lines: the units of an interval."""


@dataclass(frozen=True)
class Text:
    """One held-out text."""

    id: str
    group: str
    text: str


def read_texts(place: Path) -> list[Text]:
    """The texts of a .jsonl file, a text file, or a split's folder. Raises InputError when there are fewer than four."""
    if place.is_dir():
        groups = {document.id: document.group for document in read_documents(place)}
        rows = [json.loads(line) for line in (place / "text.jsonl").read_text(encoding="utf-8").splitlines()]
        found = [Text(row["id"], groups[row["id"]], row["text"]) for row in rows]
    elif place.suffix == ".jsonl":
        rows = [json.loads(line) for line in place.read_text(encoding="utf-8").splitlines()]
        found = [Text(str(r.get("id", i)), str(r.get("group", r.get("id", i))), r["text"]) for i, r in enumerate(rows)]
    else:
        found = [Text(str(i), str(i), piece) for i, piece in enumerate(_pieces(place.read_text(encoding="utf-8")))]
    found = [one for one in found if one.text.strip()]
    if len(found) < 4:
        raise InputError.of(
            "texts", str(place), f"{len(found)} texts; give four or more, half of them to choose by, half to judge on"
        )
    return found


def _pieces(text: str) -> list[str]:
    pieces, open_bytes = [""], 0
    for paragraph in text.split("\n\n"):
        if open_bytes >= _PIECE_BYTES:
            pieces.append("")
            open_bytes = 0
        pieces[-1] += paragraph + "\n\n"
        open_bytes += len(paragraph.encode()) + 2
    return pieces


def divided(texts: list[Text], held_bytes: int) -> tuple[list[Text], list[Text]]:
    """(to choose layers and heads by, to judge on), by a hash of the ids; about `held_bytes` of the latter."""
    order = sorted(texts, key=lambda one: hash_value(one.id))
    half = len(order) // 2
    held, total = [], 0
    for one in order[half:]:
        if total < held_bytes or len(held) < 2:
            held.append(one)
            total += len(one.text.encode())
    return order[:half], held


def opening_id(folder: Path) -> int:
    """The token that opens a text: `bos_token_id` of the config, or its end of text."""
    config = read_json(folder / "config.json")
    for name in ("bos_token_id", "eos_token_id"):
        if isinstance(config.get(name), int):
            return config[name]
    return 0


def windows(texts: list[Text], tokenizer: Tokenizer, opening: int, tokens: int, count: int) -> list[NDArray[np.int64]]:
    """Up to `count` beginnings of texts, of at most `tokens` + 1 ids; those of fewer than eight are left out."""
    found = [np.array([opening, *tokenizer.encode(t.text, add_special_tokens=False).ids][: tokens + 1]) for t in texts]
    found = [ids for ids in found if ids.size >= 8][:count]
    if not found:
        raise InputError.of("texts", len(texts), "none has eight tokens; give longer texts")
    return found


def scores(model: Decoder, tokenizer: Tokenizer, opening: int, texts: list[Text]) -> list[DocumentScore]:
    """Every text under the model, by its own tokenizer."""
    ids = [np.array([opening, *tokenizer.encode(one.text, add_special_tokens=False).ids], np.int64) for one in texts]
    found = score(model, ids, stride=model.config.context_tokens)
    return [
        DocumentScore(
            id=one.id, group=one.group, split="held", bits=bits.bits, bytes=len(one.text.encode()), tokens=bits.tokens,
            correct_top1=bits.correct_top1,
        )
        for one, bits in zip(texts, found, strict=True)
    ]  # fmt: skip
