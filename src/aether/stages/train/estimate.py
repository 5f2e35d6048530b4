"""What a training run costs, from its recipe: FLOPs, seconds, bytes. Pure arithmetic, no torch.

FLOPs count matrix products only, as DecoderConfig does; the achieved rate that turns them into seconds therefore has
everything else in it and must come from a measurement (a pilot). Memory is a sum of parts, each named.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from aether.evidence.hashing import hash_file
from aether.models.accounting import training_flops_per_token
from aether.models.accounting_activations import activation_bytes
from aether.models.config import DecoderConfig
from aether.models.config_mixers import matrices
from aether.models.config_parts import Latent
from aether.models.folders import model_folder, model_hash
from aether.spec.errors import InputError
from aether.stages.train.optimisers.portions import portion
from aether.stages.train.parallel import memory as shared
from aether.stages.train.parallel.recipe import largest_pass
from aether.stages.train.recipe import TrainRecipe

RUNTIME_BYTES = 450_000_000
"""Resident memory of Python with torch loaded, before any model. Measured: torch 2.13 CPU wheel, 430 to 470 MB."""
COMPILE_S = 25.0
"""Wall seconds of torch.compile before the first update, on a CPU. Measured: 18 to 21 s from nothing on two cores, 1 to 4 s from
kept kernels (`benchmarks/records/training_step.md`); rounded up for a machine with other work."""
COMPILED_STEP_SHARE = 0.91
"""Time of a compiled update over that of a plain one, on a CPU in bfloat16. Measured: 0.90 and 0.91 for widths 128 and 256,
0.84 for 64 (`benchmarks/records/training_step.md`)."""
_COMPILER_BYTES = 100_000_000.0
"""Resident memory that torch.compile adds. Measured: 332 to 433 MB with a model of 30,000 parameters, torch 2.13."""
_LARGEST_COPIES = {"adamw": 0, "lion": 1, "adafactor": 1, "schedule_free": 2}
"""Values that a rule by entries makes for each one of the largest weight, which is updated by itself; torch's AdamW is fused."""
_STREAM_COPIES = 16
"""Values that a layer keeps per token and hidden unit for its backward pass. Counted from `kernels` and `decoder`."""


def attended_tokens(recipe: TrainRecipe) -> float:
    """Mean positions that a token attends to in a window of one document."""
    return (recipe.model.context_tokens + 1) / 2


def flops_per_token(recipe: TrainRecipe) -> float:
    """Training FLOPs per token: forward, and twice that backward."""
    model = recipe.model
    if not model.plain:
        return training_flops_per_token(model.architecture(), model.context_tokens)
    return 3.0 * model.flops_per_token(attended_tokens(recipe))


def flops_per_step(recipe: TrainRecipe) -> float:
    """FLOPs of one training step: forward and backward over the batch, and the optimiser's products."""
    return flops_per_token(recipe) * recipe.batch_tokens() + optimiser_flops_per_step(recipe)


def optimiser_flops_per_step(recipe: TrainRecipe) -> float:
    """FLOPs of the optimiser's matrix products for one update, m x n a matrix with m <= n; zero for a rule by entries.

    Muon's Newton-Schulz: 4 m^2 n + 2 m^3 per step. SOAP: three changes of basis and two preconditioners, 8 (m^2 n + m n^2), and
    now and then a power iteration, 2 m^3 + 2 n^3 (its QR decompositions are not counted).
    """
    settings, total = recipe.optimiser, 0.0
    for shape in _matrix_shapes(recipe.model):
        small, large = sorted(shape)
        if settings.kind == "muon":
            total += settings.newton_schulz_steps * (4.0 * small**2 * large + 2.0 * small**3)
        elif settings.kind == "soap":
            total += 8.0 * (small**2 * large + small * large**2)
            total += 2.0 * (small**3 + large**3) / settings.soap_every_steps
    return total


def optimiser_bytes(recipe: TrainRecipe) -> float:
    """Bytes of the optimiser's state, in float32."""
    model, kind = recipe.model, recipe.optimiser.kind
    parameters, in_matrices = model.parameters(), model.matrix_parameters()
    if kind == "muon":
        return 4.0 * in_matrices + 8.0 * (parameters - in_matrices)
    shapes = list(_matrix_shapes(model))
    if kind == "adafactor":
        sides = sum(rows + columns for rows, columns in shapes)
        return 4.0 * (sides + model.vocab_size + model.hidden_size)
    squares = sum(rows**2 + columns**2 for rows, columns in shapes)
    return (4.0 if kind == "lion" else 8.0) * parameters + (8.0 * squares if kind == "soap" else 0.0)


def optimiser_work_bytes(recipe: TrainRecipe) -> float:
    """The most that the rule makes and drops within an update, once the pass's memory is free. Counted from the rules; the tests count again."""
    kind = recipe.optimiser.kind
    if kind not in ("muon", "soap"):
        return 4.0 * _LARGEST_COPIES[kind] * _largest_weight(recipe.model)
    width, most = (4 if recipe.precision == "float32" else 2), 0.0
    for shape, count in Counter(_matrix_shapes(recipe.model)).items():
        small, large = sorted(shape)
        # Muon: the momentum, the iterate before and after, and two squares of the shorter side. SOAP: four of the whole size.
        bytes_of_value = 4 + 2 * width * (1 + small / large) if kind == "muon" else 16
        most = max(most, bytes_of_value * min(count, portion(shape)) * small * large)
    return most


def _largest_weight(model: DecoderConfig) -> int:
    """Values of the largest parameter, matrices that lie fused in one together."""
    width, parts = model.hidden_size, 3 if model.gated else 2
    found = [model.vocab_size, model.head_size * (model.heads + 2 * model.kv_heads) if model.latent is None else 0]
    found.append((parts - 1) * model.mlp_size * (1 if model.experts is None else model.experts.count))
    for mixer in filter(None, map(model.recurrence_at, range(model.layers))):
        found += [sum(rows) for rows, columns in matrices(mixer, width).values() if columns == width]
    return width * max(found)


def _matrix_shapes(model: DecoderConfig) -> Iterator[tuple[int, int]]:
    """Every matrix of the layers, fused ones apart."""
    queries, keys = model.head_size * model.heads, model.head_size * model.kv_heads
    parts = 3 if model.gated else 2
    inner = [(model.mlp_size, model.hidden_size)] * (parts if model.mlp_size else 0)
    if model.experts is not None:
        shared = model.experts.shared_size
        inner = inner * model.experts.count + [(model.experts.count, model.hidden_size)]
        inner += [(shared, model.hidden_size)] * parts if shared else []
    attention = [(queries, model.hidden_size)] * 2 + [(keys, model.hidden_size)] * 2
    if model.latent is not None:
        attention = list(_latent_shapes(model, model.latent))
    for mixer in map(model.recurrence_at, range(model.layers)):
        yield from inner
        if mixer is None:
            yield from attention
        else:
            fused = matrices(mixer, model.hidden_size).values()
            yield from ((one, columns) for rows, columns in fused for one in rows)


def _latent_shapes(model: DecoderConfig, latent: Latent) -> Iterator[tuple[int, int]]:
    """The matrices of one layer of latent attention, fused ones apart."""
    queries, width = model.heads * model.head_size, model.hidden_size
    if latent.query_rank is None:
        yield queries, width
    else:
        yield from ((latent.query_rank, width), (queries, latent.query_rank))
    yield from ((latent.kv_rank, width), (latent.rope_size, width))
    for size in (model.head_size - latent.rope_size, latent.value_size):
        yield model.heads * size, latent.kv_rank
    yield width, model.heads * latent.value_size


def flops(recipe: TrainRecipe) -> float:
    """Model FLOPs of the run (the optimiser's apart)."""
    return flops_per_token(recipe) * recipe.tokens()


def step_share(recipe: TrainRecipe) -> float:
    """Time of one update over that of a plain one."""
    return 1.0 if recipe.compile == "off" else COMPILED_STEP_SHARE


def compile_s(recipe: TrainRecipe) -> float:
    """Wall seconds before the first update."""
    return 0.0 if recipe.compile == "off" else COMPILE_S


def seconds(recipe: TrainRecipe, flops_per_s: float) -> float:
    """Wall time of compiling and of the updates, at the rate of model FLOPs that plain updates achieve."""
    assert flops_per_s > 0
    return compile_s(recipe) + flops(recipe) / flops_per_s * step_share(recipe)


def memory_bytes(recipe: TrainRecipe) -> dict[str, float]:
    """Peak resident bytes by part; their sum is the prediction. Of several processes those of the one that holds most."""
    model, parallel = recipe.model, recipe.parallel
    width = 4 if recipe.precision == "float32" else 2
    if parallel.processes > 1:
        windows = largest_pass(recipe.batch_sequences, parallel.readers, recipe.micro_batch_sequences)
        found = shared.memory_bytes(model, parallel, windows, width, recipe.optimiser.kind == "muon")
        return {"runtime": RUNTIME_BYTES} | found
    tokens = (recipe.micro_batch_sequences or recipe.batch_sequences) * model.context_tokens
    parameters = model.parameters()
    state = optimiser_bytes(recipe)
    activations = _plain_activations(model, tokens, width) if model.plain else activation_bytes(model, tokens, width)
    logits = 3.0 * width * min(tokens, 1024) * model.vocab_size + 8.0 * model.vocab_size * model.hidden_size
    return {
        "runtime": RUNTIME_BYTES,
        **({} if recipe.compile == "off" else {"compiler": _COMPILER_BYTES}),
        "weights": 4.0 * parameters,
        "gradients": 4.0 * parameters,
        "optimiser": state,
        "working_weights": float(width) * parameters,
        "snapshot": 4.0 * parameters + state,
        "checkpoint": 8.0 * parameters + 2 * state,
        "activations": activations,
        "logits": logits,
        # It begins when the pass's memory is free.
        "update": max(0.0, optimiser_work_bytes(recipe) - activations - logits),
    }


def _plain_activations(model: DecoderConfig, tokens: int, width: int) -> float:
    """Bytes that the default decoder keeps, which has its own kernels; up to `PRODUCTS_TOKENS` every weight of attention."""
    fused = model.head_size * (model.heads + 2 * model.kv_heads)
    per_layer = _STREAM_COPIES * model.hidden_size + 4 * fused + 4 * model.mlp_size + model.heads * model.context_tokens
    return float(width) * tokens * model.layers * per_layer


def pin(recipe: TrainRecipe) -> TrainRecipe:
    """The recipe with its start and texts fixed by content, so that others are another step."""
    files = {name: Path(text).expanduser().resolve() for name, text in recipe.texts_by_source().items()}
    for file in files.values():
        if not file.is_file():
            raise InputError.of("texts", str(file), "there is no such file")
    if files:
        paths, hashes = {n: str(f) for n, f in files.items()}, {n: hash_file(f) for n, f in files.items()}
        alone = isinstance(recipe.texts, str)
        changes = {"texts": paths[""] if alone else paths, "texts_sha256": hashes[""] if alone else hashes}
        recipe = recipe.model_copy(update=changes)
    if recipe.start is None:
        return recipe
    folder = model_folder(Path(recipe.start).expanduser().resolve())
    return recipe.model_copy(update={"start": str(folder), "start_sha256": model_hash(folder)})
