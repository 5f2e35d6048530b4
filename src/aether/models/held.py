"""Documents of a held-out split under a model, as the scores that comparisons are made of: the same texts before and after."""

from collections.abc import Callable
from pathlib import Path

from aether.evidence.compare import DocumentScore
from aether.models.corpus import choose_documents, read_split
from aether.models.decoder import Decoder
from aether.models.scoring import score
from aether.spec.errors import InputError


def held_scores(
    model: Decoder,
    data_folder: Path,
    split_name: str,
    about_bytes: int,
    seed: int,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> list[DocumentScore]:
    """A seeded draw of `about_bytes` of a split, every token once. Raises InputError when the split is empty."""
    split = read_split(data_folder, split_name)
    documents = choose_documents(split, about_bytes, seed)
    if not documents:
        raise InputError.of(
            f"data.{split_name}", 0, "the split has no document; give more data or a larger share of it"
        )
    ids = [split.ids(document) for document in documents]
    found = score(model, ids, stride=model.config.context_tokens, tell=tell)
    return [
        DocumentScore(
            id=document.id,
            group=document.group,
            split=split_name,
            bits=bits.bits,
            bytes=document.size_bytes,
            tokens=bits.tokens,
            correct_top1=bits.correct_top1,
        )
        for document, bits in zip(documents, found, strict=True)
    ]
