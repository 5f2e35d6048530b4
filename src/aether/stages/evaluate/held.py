"""The held-out documents of one split that an evaluation scores: chosen, read, checked against their texts."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aether.evidence.compare import DocumentScore
from aether.models.corpus import choose_documents, read_split
from aether.models.decoder import Decoder
from aether.models.scoring import score
from aether.spec.errors import DamagedRecord, InputError
from aether.spec.run import StepContext
from aether.stages.evaluate.baselines import Held
from aether.stages.evaluate.recipe import EvaluateRecipe


@dataclass(frozen=True)
class Chosen:
    """A split's chosen documents. `of` counts all documents of the split."""

    split: str
    held: Held
    texts: tuple[str, ...]
    of: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the chosen documents."""
        return sum(len(content) for content in self.held.contents)

    def clusters(self, recipe: EvaluateRecipe) -> list[str]:
        """The cluster label of each document (d,)."""
        return [d.group if recipe.cluster == "folder" else d.id for d in self.held.documents]


def choose(data_folder: Path, split_name: str, about_bytes: int, seed: int, bytes_of: list[bytes]) -> Chosen:
    """Draw documents of a split. Raises InputError when it is empty, DamagedRecord when tokens and texts disagree."""
    split = read_split(data_folder, split_name)
    documents = choose_documents(split, about_bytes, seed)
    if not documents:
        raise InputError.of(split_name, 0, "the data has no such document to evaluate on; give more data")
    texts = split.texts()
    ids, contents = [], []
    for document in documents:
        found: NDArray[np.int64] = split.ids(document)
        content = b"".join([bytes_of[token] for token in found.tolist()])
        if content != texts[document.id].encode():
            raise DamagedRecord(
                f"{split.folder}: the tokens of {document.id} are not its text; run the data step again"
            )
        ids.append(found)
        contents.append(content)
    held = Held(documents, contents, ids)
    return Chosen(split_name, held, tuple(texts[d.id] for d in documents), len(split.documents))


def score_documents(
    model: Decoder, chosen: Chosen, recipe: EvaluateRecipe, context: StepContext
) -> list[DocumentScore]:
    """Every chosen document under the model, each byte once."""

    def tell(done: int, total: int) -> None:
        context.tell(done, total, "tokens", f"bits per byte, {chosen.split}")

    stride = max(1, round(model.config.context_tokens * recipe.stride_share))
    found = score(model, chosen.held.ids, stride=stride, batch_tokens=recipe.batch_tokens, tell=tell)
    return [
        DocumentScore(
            id=document.id,
            group=document.group,
            split=chosen.split,
            bits=bits.bits,
            bytes=len(content),
            tokens=bits.tokens,
            correct_top1=bits.correct_top1,
        )
        for document, content, bits in zip(chosen.held.documents, chosen.held.contents, found, strict=True)
    ]


def worst_groups(scores: list[DocumentScore], count: int = 10) -> list[dict]:
    """The folders with the most bits per byte: where to look first. Not a test, and small folders vary most."""
    groups: dict[str, list[DocumentScore]] = {}
    for one in scores:
        groups.setdefault(one.group, []).append(one)
    rows = [
        {
            "group": name,
            "documents": len(found),
            "bytes": sum(s.bytes for s in found),
            "bits": sum(s.bits for s in found),
        }
        for name, found in groups.items()
    ]
    rows.sort(key=lambda row: (-row["bits"] / row["bytes"], row["group"]))
    return [row | {"bits_per_byte": row["bits"] / row["bytes"]} for row in rows[:count]]
