"""Evaluate: the model on held-out files and, apart, on out-of-distribution ones; honest baselines on the same bytes.

Leaves per_document.jsonl (every score), completions.jsonl (every item), baselines.json, and evaluation.json (what was
covered, what was left out and why, the worst folders). No timing goes into a file: the same inputs leave the same bytes.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aether.evidence.compare import DocumentScore
from aether.evidence.files import write_atomically, write_json
from aether.evidence.statistics import paired_difference, proportion, ratio
from aether.models import quantized
from aether.models.corpus import has_split, token_bytes
from aether.models.decoder import Decoder
from aether.spec.evidence import Evidence
from aether.spec.run import StepContext
from aether.stages.evaluate import baselines, tasks
from aether.stages.evaluate.held import Chosen, choose, score_documents, worst_groups
from aether.stages.evaluate.recipe import EvaluateRecipe
from aether.stages.evaluate.redteam.stage import red_team

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def run(recipe: EvaluateRecipe, context: StepContext) -> tuple[Evidence, ...]:
    """Inputs: `data`, `model` (a compress output). Raises InputError when the test split is empty."""
    torch.set_num_threads(context.threads)
    data = context.inputs["data"]
    model = quantized.load(context.inputs["model"] / "model", _DTYPES[recipe.dtype]).to(recipe.device)
    bytes_of = token_bytes(data)
    # The vocabulary may be padded beyond the tokenizer's tokens: those stand for no bytes.
    bytes_of += [b""] * (model.config.vocab_size - len(bytes_of))
    evidence: list[Evidence] = []
    scores: list[DocumentScore] = []
    items: list[dict[str, Any]] = []
    summary: dict[str, Any] = {"splits": {}, "dropped": {}}
    for split, about_bytes in (("test", recipe.test_bytes), ("ood", recipe.ood_bytes)):
        if split == "ood" and not has_split(data, split):
            summary["dropped"][split] = "the brief names no out-of-distribution data"
            continue
        chosen = choose(data, split, about_bytes, context.seed, bytes_of)
        found = score_documents(model, chosen, recipe, context)
        scores += found
        summary["splits"][split] = _coverage(chosen, found)
        evidence += _quality(found, chosen, recipe, context)
        evidence += _completions(model, chosen, recipe, context, bytes_of, (items, summary["dropped"]))
        if split == "test":
            evidence += _baselines(found, chosen, recipe, context, bytes_of)
    if recipe.red_team is not None:
        evidence += red_team(recipe.red_team, (recipe.harmful_file, recipe.benign_file), model, context)
    _write_lines(context.out / "per_document.jsonl", [score.model_dump(mode="json") for score in scores])
    _write_lines(context.out / "completions.jsonl", items)
    write_json(context.out / "evaluation.json", summary)
    return tuple(evidence)


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _label(split: str) -> str | None:
    return None if split == "test" else split


def _coverage(chosen: Chosen, scores: list[DocumentScore]) -> dict[str, Any]:
    covered = {"documents": len(scores), "of_documents": chosen.of, "bytes": chosen.size_bytes}
    return covered | {"folders": len({score.group for score in scores}), "worst_groups": worst_groups(scores)}


def _told(chosen: Chosen) -> str:
    count = len(chosen.held.documents)
    return f"{count} of {chosen.of} {chosen.split} documents drawn at random, {chosen.size_bytes:,} bytes"


def _quality(
    scores: list[DocumentScore], chosen: Chosen, recipe: EvaluateRecipe, context: StepContext
) -> tuple[Evidence, Evidence]:
    clusters = chosen.clusters(recipe)
    bits = ratio([s.bits for s in scores], [s.bytes for s in scores], clusters, recipe.level)
    accuracy = proportion([s.correct_top1 for s in scores], clusters, recipe.level, [s.tokens for s in scores])
    share = recipe.stride_share
    told = f"{_told(chosen)}; sliding window with a step of {share:g} context, every byte once, {recipe.dtype}"
    return tuple(  # pyright: ignore[reportReturnType]
        context.measured(
            metric,
            found.value,
            unit,
            told,
            label=_label(chosen.split),
            interval=found.interval,
            n=found.n,
            clusters=found.clusters,
            note=found.note,
        )
        for metric, unit, found in (("bits_per_byte", "bit/byte", bits), ("next_token_accuracy", "fraction", accuracy))
    )


def _completions(
    model: Decoder,
    chosen: Chosen,
    recipe: EvaluateRecipe,
    context: StepContext,
    bytes_of: list[bytes],
    into: tuple[list[dict[str, Any]], dict[str, str]],
) -> list[Evidence]:
    """Both tasks; items and reasons for what was left out go `into`."""
    items, dropped = into
    task = tasks.Task(model, chosen, recipe, bytes_of, context)
    evidence = []
    for finding in (tasks.line_accuracy(task), tasks.parse_rate(task)):
        name = finding.metric + ("" if chosen.split == "test" else f".{chosen.split}")
        items += finding.items
        if finding.share is None:
            dropped[name] = finding.dropped
            continue
        found = [(finding.metric, finding.share)]
        if finding.ceiling is not None:
            found.append((f"{finding.metric}_ceiling", finding.ceiling))
        for metric, share in found:
            own = metric == finding.metric
            what = "greedy completions" if own else "true continuations, cut alike,"
            conditions: dict[str, Any] = {"clusters": share.clusters, "note": share.note}
            conditions.update(finding.counts if own else {})
            evidence.append(
                context.measured(
                    metric,
                    share.value,
                    "fraction",
                    f"{what} from {_told(chosen)}",
                    label=_label(chosen.split),
                    interval=share.interval,
                    n=share.n,
                    **conditions,
                )
            )
    return evidence


def _baselines(
    scores: list[DocumentScore], chosen: Chosen, recipe: EvaluateRecipe, context: StepContext, bytes_of: list[bytes]
) -> list[Evidence]:
    """Each baseline's bits per byte, and how far the model is from it (paired; below zero: the model needs fewer bits)."""
    clusters = chosen.clusters(recipe)
    sizes = np.array([s.bytes for s in scores], np.float64)
    bits = np.array([s.bits for s in scores])
    context.tell(0, len(recipe.baselines), "baselines", "compressors and the 5-gram model on the same bytes")
    rows: dict[str, Any] = {"bytes": int(sizes.sum()), "baselines": {}}
    evidence = []
    for found in baselines.measure(recipe, context.inputs["data"], chosen.held, bytes_of):
        own = ratio(found.bits, sizes, clusters, recipe.level)
        apart = paired_difference(bits, found.bits, sizes, clusters, recipe.level)
        told = f"{found.description}; {_told(chosen)}"
        evidence += [
            context.measured(
                "bits_per_byte",
                own.value,
                "bit/byte",
                told,
                label=found.name,
                interval=own.interval,
                n=own.n,
                clusters=own.clusters,
            ),
            context.measured(
                "bits_per_byte_difference",
                apart.difference,
                "bit/byte",
                f"the model's bits per byte less those of {found.name}, paired; {told}",
                label=found.name,
                interval=apart.interval,
                n=apart.n,
                clusters=apart.clusters,
                relative=apart.relative,
            ),
        ]
        rows["baselines"][found.name] = {"description": found.description, "bits_per_byte": own.value}
        rows["baselines"][found.name] |= {
            "bits": found.bits.tolist(),
            "difference": apart.difference,
            "p_value": apart.p_value,
        }
    if "xz" in recipe.baselines:
        together = baselines.xz_together(chosen.held.contents) / float(sizes.sum())
        told = f"raw LZMA2, preset 9 extreme, all files as one stream: files see each other; {_told(chosen)}"
        evidence.append(context.measured("bits_per_byte", together, "bit/byte", told, label="xz_together"))
        rows["baselines"]["xz_together"] = {"description": told, "bits_per_byte": together}
    write_json(context.out / "baselines.json", rows)
    return evidence
