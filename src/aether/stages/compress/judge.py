"""How much worse a candidate is: bits per byte on the same pieces of validation documents, paired, against the trained model.

Each document gives one seeded, contiguous piece, so that a few seconds cover many documents; both models score the
same tokens. The decision needs no clock: weights are expanded when they are loaded, so every candidate decodes
with the same dense arithmetic and only size and quality tell them apart.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aether.evidence.statistics import Measurement, NonInferiority, non_inferiority, ratio
from aether.models import quantized
from aether.models.corpus import read_split, token_bytes
from aether.models.generation import greedy
from aether.models.scoring import score
from aether.spec.errors import InputError
from aether.stages.compress.candidates import Built, Refused
from aether.stages.compress.recipe import CompressRecipe


@dataclass(frozen=True)
class Pieces:
    """Pieces of documents: token ids (one token of history first), the bytes they stand for, and their clusters."""

    ids: tuple[NDArray[np.int64], ...]
    sizes: NDArray[np.float64]
    clusters: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """A candidate with what it scored. `bits` (d,) per piece."""

    built: Built
    bits: NDArray[np.float64]
    bits_per_byte: Measurement
    loss: NonInferiority
    decode_tokens_per_s: float


def draw_pieces(data_folder: Path, recipe: CompressRecipe, context_tokens: int, seed: int) -> Pieces:
    """One piece from each of a seeded sample of validation documents. Raises InputError when there is none."""
    split = read_split(data_folder, "validation")
    bytes_of = token_bytes(data_folder)
    rng = np.random.default_rng(seed)
    filled = [document for document in split.documents if document.size_bytes > 0 and document.tokens > 1]
    if not filled:
        raise InputError.of(
            "validation", 0, "the data has no validation document to judge compression on; give more data"
        )
    chosen = sorted(rng.permutation(len(filled))[: recipe.validation_documents].tolist())
    longest = recipe.context_windows * context_tokens + 1
    ids, sizes, clusters = [], [], []
    for index in chosen:
        document = filled[index]
        start = int(rng.integers(0, max(1, document.tokens - longest + 1)))
        piece = split.ids(document)[start : start + longest]
        ids.append(piece)
        sizes.append(sum(len(bytes_of[token]) for token in piece[1:].tolist()))
        clusters.append(document.group if recipe.cluster == "folder" else document.id)
    return Pieces(tuple(ids), np.array(sizes, np.float64), tuple(clusters))


def measure(built: Built, pieces: Pieces, trained_bits: NDArray[np.float64] | None, recipe: CompressRecipe) -> Judged:
    """Score one candidate. `trained_bits` are those of the float32 model; None: this one is it."""
    assert built.folder is not None
    model = quantized.load(built.folder)
    context = model.config.context_tokens
    scores = score(model, pieces.ids, stride=context, batch_tokens=recipe.batch_tokens)
    bits = np.array([document.bits for document in scores])
    reference = bits if trained_bits is None else trained_bits
    loss = non_inferiority(bits, reference, recipe.quality_loss_bound, pieces.clusters, recipe.level)
    prompt = pieces.ids[0][: max(1, context // 4)].tolist()
    tokens = min(recipe.speed_tokens, context // 2)
    started = time.perf_counter()
    # No token is the end here, so that exactly `tokens` are decoded.
    made = greedy(model, [prompt], tokens, end_id=-1)
    speed = len(made[0]) / (time.perf_counter() - started)
    return Judged(built, bits, ratio(bits, pieces.sizes, pieces.clusters, recipe.level), loss, speed)


def decide(judged: Sequence[Judged]) -> tuple[Judged, dict[str, Refused]]:
    """The smallest candidate that passes, float32 always passing, and why each of the others is refused."""
    refused: dict[str, Refused] = {}
    passed: list[Judged] = []
    for one in judged:
        if one.built.candidate.kind == "float32":
            passed.append(one)
        elif one.built.refused is not None:
            refused[one.built.candidate.name] = one.built.refused
        elif one.loss.upper is None:
            refused[one.built.candidate.name] = Refused.UNPROVEN
        elif not one.loss.passed:
            refused[one.built.candidate.name] = Refused.QUALITY
        else:
            passed.append(one)
    kept = min(passed, key=lambda one: (one.built.size_bytes, one.built.candidate.name))
    refused |= {one.built.candidate.name: Refused.LARGER for one in passed if one is not kept}
    return kept, refused
