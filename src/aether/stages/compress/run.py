"""Compress: every candidate built and verified, judged against the trained model, the smallest that passes exported.

Leaves `model/` (what is served) and `candidates.json` (all of them, kept or refused by name). No timing goes into a
file: the same inputs must leave the same bytes.
"""

import contextlib
import shutil

import numpy as np
import torch

from aether.evidence.files import explained_os_errors, read_json, write_json
from aether.models import quantized, weights
from aether.models.config_parts import refuse_parts
from aether.spec.evidence import Evidence
from aether.spec.run import StepContext
from aether.stages.compress import judge
from aether.stages.compress.candidates import Built, build, folder_bytes, transformers_logits
from aether.stages.compress.card import facts_of, storage
from aether.stages.compress.judge import Judged, Pieces
from aether.stages.compress.recipe import CompressRecipe


def run(recipe: CompressRecipe, context: StepContext) -> tuple[Evidence, ...]:
    """Inputs: `data`, `model` (a train output). Raises InputError without validation documents."""
    torch.set_num_threads(context.threads)
    source = context.inputs["model"] / "model"
    config = weights.read_config(source)
    refuse_parts(config, "compression", "leave the compress step out, or train the default decoder")
    facts = facts_of(config, read_json(context.inputs["data"] / "data.json"))
    pieces = judge.draw_pieces(context.inputs["data"], recipe, config.context_tokens, context.seed)
    # float32 first: the others are judged against it.
    ordered = sorted(recipe.candidates, key=lambda candidate: candidate.kind != "float32")
    judged: list[Judged] = []
    unbuilt: list[Built] = []
    for place, candidate in enumerate(ordered):
        context.tell(place, len(ordered), "candidates", candidate.name)
        built = build(candidate, source, context.out / "tmp" / candidate.name, facts)
        if built.folder is None:
            unbuilt.append(built)
            continue
        judged.append(judge.measure(built, pieces, judged[0].bits if judged else None, recipe))
    kept, refused = judge.decide(judged)
    refused |= {built.candidate.name: built.refused for built in unbuilt if built.refused is not None}
    _export(kept, recipe, context)
    write_json(context.out / "candidates.json", _table(judged, unbuilt, kept, refused))
    shutil.rmtree(context.out / "tmp")
    context.tell(len(ordered), len(ordered), "candidates", f"kept {kept.built.candidate.name}")
    return _evidence(judged, kept, pieces, context)


def _export(kept: Judged, recipe: CompressRecipe, context: StepContext) -> None:
    """Move the kept folder into place and hold it against plain transformers on random tokens."""
    target = context.out / "model"
    shutil.rmtree(target, ignore_errors=True)
    assert kept.built.folder is not None
    with explained_os_errors(target):
        kept.built.folder.rename(target)
    model = quantized.load(target)
    generator = torch.Generator().manual_seed(context.seed)
    length = min(64, model.config.context_tokens)
    ids_BT = torch.randint(1, model.config.vocab_size, (2, length), generator=generator)
    with torch.inference_mode():
        ours = model(ids_BT)
    # transformers and its format libraries draw progress bars; ours is the one that a person watches.
    with (context.out / "tmp" / "transformers.log").open("w") as log, contextlib.redirect_stderr(log):
        theirs = transformers_logits(target, ids_BT)
    apart = float((ours - theirs).abs().max())
    assert apart <= recipe.logit_tolerance, f"the exported folder gives other logits in transformers, by {apart:.2g}"


def _table(judged: list[Judged], unbuilt: list[Built], kept: Judged, refused: dict) -> dict:
    rows = []
    for one in judged:
        name = one.built.candidate.name
        rows.append(
            {
                "name": name,
                "candidate": one.built.candidate.model_dump(mode="json"),
                "storage": storage(one.built.candidate),
                "kept": one is kept,
                "refused": refused.get(name),
                "size_bytes": one.built.size_bytes,
                "layers_changed": one.built.layers,
                "bits_per_byte": one.bits_per_byte.value,
                "quality_loss": one.loss.relative,
                "quality_loss_upper": one.loss.upper,
                "bound": one.loss.bound,
            }
        )
    rows += [{"name": b.candidate.name, "kept": False, "refused": b.refused} for b in unbuilt]
    return {"kept": kept.built.candidate.name, "candidates": rows}


def _evidence(judged: list[Judged], kept: Judged, pieces: Pieces, context: StepContext) -> tuple[Evidence, ...]:
    told = f"{len(pieces.ids)} pieces of validation documents, {int(np.sum(pieces.sizes)):,} bytes, the same for each candidate"
    size = folder_bytes(context.out / "model")
    found = [context.measured("size_on_disk", size, "byte", f"every file of model/ ({kept.built.candidate.name})")]
    for one in judged:
        name, bits, loss = one.built.candidate.name, one.bits_per_byte, one.loss
        found += [
            context.measured(
                "size_on_disk", one.built.size_bytes, "byte", "every file of the candidate's folder", label=name
            ),
            context.measured(
                "bits_per_byte",
                bits.value,
                "bit/byte",
                told,
                label=name,
                interval=bits.interval,
                n=bits.n,
                clusters=bits.clusters,
            ),
            context.measured(
                "decode_speed",
                one.decode_tokens_per_s,
                "token/s",
                "one sequence, greedy, dense float32 weights; does not decide",
                label=name,
                n=1,
                repeats="machine",
            ),
        ]
        if one.built.candidate.kind != "float32":
            found.append(
                context.measured(
                    "quality_loss",
                    loss.relative,
                    "fraction",
                    f"bits per byte over float32's, less 1, paired; {told}",
                    label=name,
                    interval=loss.interval,
                    n=loss.n,
                    clusters=loss.clusters,
                    bound=loss.bound,
                    passed=loss.passed,
                )
            )
    return tuple(found)
