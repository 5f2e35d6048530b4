"""The train stage: data in, a trained model's folder out, with the numbers that describe the run.

Loop, then validation loss and bits per byte on held-out documents, then the export. Nothing here decides a
hyperparameter. Does not compare models or give intervals over documents: that is the evaluate stage.
"""

import math
import os
import statistics
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from aether.evidence.files import read_json, write_json
from aether.evidence.hashing import hash_file, hash_value
from aether.models.corpus import choose_documents, read_split
from aether.models.decoder import Decoder
from aether.models.host import keep_freed_memory
from aether.models.parts import kernel_choice
from aether.models.scoring import score
from aether.models.weights import WEIGHTS_NAME, save_pretrained
from aether.spec.errors import EnvironmentFault, InputError
from aether.spec.evidence import Evidence
from aether.spec.run import StepContext
from aether.stages.train import continued, start
from aether.stages.train.batches import MixedWindows, ShuffledWindows, windows
from aether.stages.train.compiling import Compilation, compile_for
from aether.stages.train.estimate import flops_per_token
from aether.stages.train.loop import Loop, TimedBatches, new_model, new_state
from aether.stages.train.loss_scale import half_fault
from aether.stages.train.metrics import ALERTS, BLAMED, curve, read_lines, read_losses
from aether.stages.train.mixed import check_mixture, mixing_evidence
from aether.stages.train.parallel import launch
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.state import TrainState

BLAMED_TOLD = 8
"""Batches of blamed.jsonl that stand in train.json and in the evidence: the first ones."""


def run(recipe: TrainRecipe, context: StepContext) -> tuple[Evidence, ...]:
    """Train, validate, export. Leaves model/, metrics.jsonl and train.json in `context.out`.

    Raises InputError for a recipe that does not fit the data or diverges, EnvironmentFault for a full disk, too little
    memory or a missing GPU, DamagedRecord for damaged data.
    """
    _prepare(recipe, context)
    recipe = start.resolve(recipe, context.inputs.get("start"))
    continued.check_data(recipe, context)
    data_folder = context.inputs["data"]
    described = read_json(data_folder / "data.json")
    if described["vocab_size"] != recipe.model.vocab_size:
        mend = f"the data's tokenizer has {described['vocab_size']} entries; use that number"
        raise InputError.of("model.vocab_size", recipe.model.vocab_size, mend)
    check_mixture(recipe, context.inputs)
    batches = windows(recipe, context.inputs, context.seed)
    try:
        before = _score_start(recipe, context)
        if recipe.parallel.processes > 1:
            compilation, (state, place) = Compilation(), launch.train(recipe, context)
            TimedBatches(batches).load(place)
        else:
            state = new_state(recipe, context.seed)
            compilation = _compile(recipe, state, context)
            # A run that began compiled cannot go on plain: the bits would be those of neither.
            choices = [recipe.model_dump(mode="json", exclude=set(recipe.circumstance)), compilation.used]
            made = [one.input for one in recipe.mixture.sources if one.input in context.inputs]
            others = [read_json(context.inputs[name] / "data.json") for name in made]
            identity = hash_value([*choices, described, context.seed, context.threads, *others])
            try:
                Loop(recipe, state, batches, context).run(identity)
            finally:
                if not isinstance(batches, ShuffledWindows):
                    batches.close()
        validation = _validate(recipe, state.model, data_folder, context)
        after = {} if before is None else continued.score_all(recipe, state.model, context, "after")
    except (RuntimeError, MemoryError) as error:
        raise _explained(error, recipe) from error
    save_pretrained(state.model, context.out / "model", data_folder / "tokenizer")
    summary = _summary(recipe, state, validation, context.out)
    summary["compile"] = asdict(compilation) | {"asked": recipe.compile}
    if recipe.parallel.context == 1:
        model = state.model
        summary["attention"] = kernel_choice.of_training(model.config, model.embedding.device, model.dtype)
    write_json(context.out / "train.json", summary)
    if recipe.keep_optimiser:
        start.keep(state.optimisers, context.out / "model")
    forgot = () if before is None else continued.evidence(recipe, context, before, after)
    mixed = mixing_evidence(recipe, batches, state.cursor, context) if isinstance(batches, MixedWindows) else ()
    return (*_evidence(recipe, state, summary, context), *forgot, *mixed)


def _score_start(recipe: TrainRecipe, context: StepContext) -> continued.Scores | None:
    """Held-out texts under the start, in this run's precision; None when there is no start."""
    if recipe.start is None:
        return None
    return continued.score_all(recipe, new_model(recipe, context.seed), context, "before")


def _prepare(recipe: TrainRecipe, context: StepContext) -> None:
    if recipe.device == "cuda":
        if not torch.cuda.is_available():
            raise EnvironmentFault(
                'device = "cuda": torch sees no GPU here; set device = "cpu" or install a CUDA build'
            )
        # Without it deterministic mode refuses cuBLAS products; read once, at the first one (torch/aten/src/ATen/Context.cpp).
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        # Every empty tensor would be filled with NaN first, to show reads of what was never written: a debugging aid.
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    if recipe.precision == "float16" and (fault := half_fault(recipe.device)):
        raise EnvironmentFault(f'precision = "float16": {fault}; use bfloat16 or float32')
    torch.set_num_threads(context.threads)
    keep_freed_memory()


def _compile(recipe: TrainRecipe, state: TrainState, context: StepContext) -> Compilation:
    if recipe.compile != "off":
        context.tell(message="compiling the blocks")
    found = compile_for(recipe, state.model, context.out / "checkpoint" / "compiled")
    if found.fault:
        context.tell(message=f'compile = "{recipe.compile}": {found.fault}; training goes on without it')
    return found


def _explained(error: RuntimeError | MemoryError, recipe: TrainRecipe) -> Exception:
    """A sentence for memory that ran out; any other error as it is."""
    text = str(error)
    if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "can't allocate memory" not in text:
        return error
    micro = recipe.micro_batch_sequences or recipe.batch_sequences
    return EnvironmentFault(
        f"memory ran out at {micro} windows of {recipe.model.context_tokens} tokens per pass; set micro_batch_sequences to a "
        "smaller divisor of batch_sequences: the result stays the same to rounding"
    )


def _validate(recipe: TrainRecipe, model: Decoder, data_folder: Path, context: StepContext) -> dict[str, Any]:
    """Loss and bits per byte of a fixed draw of validation documents, in the recipe's precision."""
    split = read_split(data_folder, "validation")
    documents = choose_documents(split, recipe.validation_bytes, context.seed)
    if not documents:
        raise InputError.of(
            "data.validation", 0, "the split has no document; give more data or a larger validation share"
        )
    ids = [split.ids(document) for document in documents]
    scores = score(
        model,
        ids,
        stride=recipe.model.context_tokens,
        tell=lambda done, total: context.tell(done, total, "tokens", "validating"),
    )
    bits, tokens = math.fsum(s.bits for s in scores), sum(s.tokens for s in scores)
    size_bytes = sum(document.size_bytes for document in documents)
    return {
        "loss": bits * math.log(2) / tokens,
        "bits_per_byte": bits / size_bytes,
        "documents": len(documents),
        "bytes": size_bytes,
        "tokens": tokens,
    }


def _summary(recipe: TrainRecipe, state: TrainState, validation: dict[str, Any], out: Path) -> dict[str, Any]:
    step_s = statistics.median(state.step_s)
    wall_s = math.fsum(state.step_s)
    worked = state.cursor * recipe.model.context_tokens
    return {
        "parameters": recipe.model.parameters(),
        "steps": recipe.steps,
        "batch_tokens": recipe.batch_tokens(),
        "tokens": recipe.tokens(),
        "validation": validation,
        "curve": curve(read_losses(out / "metrics.jsonl"), recipe.tokens_until),
        "step_s_median": step_s,
        "updates_s": wall_s,
        "tokens_per_s": worked / wall_s,
        "flops_per_s": worked * flops_per_token(recipe) / wall_s,
        "peak_memory_bytes": state.peak_memory_bytes,
        "skipped_steps": state.guard.skipped_steps,
        "cuts": state.guard.cuts,
        "overflows": None if state.scaler is None else state.scaler.overflowed,
        "rewinds": state.guard.rewinds,
        "alerts": state.alerts.fired,
        "blamed_batches": state.blamed,
        "blamed": read_lines(out / BLAMED)[:BLAMED_TOLD],
        "weights_sha256": hash_file(out / "model" / WEIGHTS_NAME),
    }


def _evidence(
    recipe: TrainRecipe, state: TrainState, summary: dict[str, Any], context: StepContext
) -> tuple[Evidence, ...]:
    held = summary["validation"]
    scored = (
        f"{held['documents']} validation documents ({held['bytes']} bytes), context {recipe.model.context_tokens}, "
    )
    scored += f"{recipe.precision} products"
    loop = f"wall time of {len(state.step_s)} updates on {recipe.device}, {context.threads} threads"
    compilation = summary["compile"]
    compiled = (
        context.measured(
            "compile_time",
            compilation["seconds"],
            "s",
            f"torch.compile before the first update; used: {compilation['used']}"
            + (f", because {compilation['fault']}" if compilation["fault"] else ""),
            repeats="machine",
        ),
    )
    weights = context.measured("weights", 1, "count", "model/model.safetensors after the last update")
    return (
        context.measured("loss", held["loss"], "nat/token", f"cross-entropy on {scored}", n=held["documents"]),
        context.measured("bits_per_byte", held["bits_per_byte"], "bit/byte", scored, n=held["documents"]),
        context.measured("parameters", summary["parameters"], "count", "number of weights, embedding once"),
        context.measured(
            "training_memory",
            summary["peak_memory_bytes"],
            "byte",
            "largest resident memory of the process at the end of an update, with the GPU's on a GPU",
            repeats="machine",
        ),
        context.measured("tokens", summary["tokens"], "token", "steps x windows x context"),
        context.measured("tokens_per_s", summary["tokens_per_s"], "token/s", loop, repeats="machine"),
        context.measured(
            "flops_per_s", summary["flops_per_s"], "flop/s", f"model FLOPs over {loop}", repeats="machine"
        ),
        context.measured("step_time", summary["step_s_median"], "s", f"median {loop}", repeats="machine"),
        context.measured(
            "skipped_steps", summary["skipped_steps"], "count", "updates that the spike guard did not believe"
        ),
        context.measured("rate_cuts", summary["cuts"], "count", "cuts of the learning rates after several skips"),
        context.measured("rewinds", summary["rewinds"], "count", "returns to a snapshot"),
        *_blamed(summary["blamed"], context),
        *_alerts(read_lines(context.out / ALERTS), context),
        *(compiled if recipe.compile != "off" else ()),
        weights.model_copy(update={"artefact_sha256": summary["weights_sha256"]}),
    )


def _blamed(rows: list[dict[str, Any]], context: StepContext) -> Iterator[Evidence]:
    """The loss of the worst sample of each batch that was not believed, told apart by step and rewinds before it."""
    for place, row in enumerate(rows, start=1):
        worst = row["samples"][0]
        if worst["loss"] is not None:
            source = f"cross-entropy of sample {worst['index']} before update {row['step']}, which was judged: {row['judgement']}"
            yield context.measured("blamed_loss", worst["loss"], "nat/token", source, label=f"batch-{place}")


def _alerts(rows: list[dict[str, Any]], context: StepContext) -> Iterator[Evidence]:
    """How many alerts were given, and of each kind the first one's value."""
    yield context.measured("alerts", len(rows), "count", "alerts while it trained, in alerts.jsonl", repeats="machine")
    first = {row["key"]: row for row in reversed(rows)}
    for key, row in first.items():
        source = f"first alert {key}, at update {row['step']}, threshold {row['threshold']:g}"
        yield context.measured("alert_value", row["value"], "ratio", source, label=key, repeats="machine")
