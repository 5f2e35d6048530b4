"""Seconds of an update before any pilot has run, by part.

On an accelerator FLOPs over an assumed share of its peak, and calls. On a processor what an update does, over what the probe
measured: matrix products, each at the rate of the square product of equal arithmetic intensity; values that elementwise work and
the optimiser read and write, over the bandwidth of a copy; values that need an exponential or a sum over a row, at the rate of
a softmax; calls, from what one more layer of the smallest decoder takes. Counted from `models.kernels` and the optimiser.
It does not know caches (a copy is larger than they are), counts other mixers and experts as the attention and the feed-forward
part of their width, and their products by their FLOPs.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aether.hardware.machine import Machine, bytes_per_value
from aether.models.config import DecoderConfig
from aether.stages.train import estimate
from aether.stages.train.recipe import TrainRecipe

SPREAD = 0.4
"""Relative spread of these predictions, as a standard deviation: wider than what they were held against (`docs/planning.md`),
which were two processors."""

SOFTMAX_VALUES_PER_CORE_S = 1e9
"""Where no probe timed a softmax (measured on one core with AVX-512: 1.1e9 in bfloat16, 2.4e9 in float32)."""

_UTILISATION = 0.35
"""Share of its peak that training reaches on an accelerator (assumed)."""

PROBED = ("products", "elementwise and optimiser", "exponentials and sums", "calls")
"""The parts of an update on a processor."""

_ROWS_OF_LOSS = 1024
"""Rows of logits at a time (`models.kernels.ROWS_PER_CHUNK`)."""
_CALLS = 10.0
"""Calls of a layer's update, backward pass and optimiser with them, over those of one layer of the smallest decoder's step: about 200
over 20, counted."""
_STATE_BYTES = 80.0
"""Bytes that move for each parameter of an update: a cast to the products' type and the gradient's back (12), the norm of the
gradients and their scaling (12), moments, orthogonalised copies and the step itself (56). Counted."""


@dataclass(frozen=True)
class Work:
    """What one update does: products as (rows, inner, columns) with their FLOPs, values moved and values of rows."""

    products: tuple[tuple[float, float], ...]
    """Edge of the square product of equal arithmetic intensity, FLOPs."""
    moved_bytes: float
    row_values: float
    """Values that go through a softmax, a gate or a sum over a row."""


@dataclass(frozen=True)
class Counted:
    """What a step is counted to take on a machine: `seconds` by part of a plain update, in the order of `names`.

    `relative_spread`: how far off that is, as a standard deviation.
    """

    machine: Machine
    names: tuple[str, ...]
    seconds_on: Callable[[Machine, TrainRecipe], tuple[float, ...]]
    relative_spread: float

    def seconds(self, recipe: TrainRecipe) -> tuple[float, ...]:
        """Seconds of each part of one plain update."""
        return self.seconds_on(self.machine, recipe)


def counted_on(machine: Machine) -> Counted:
    """By the probe's rates on a processor, by the data sheet on an accelerator."""
    if machine.accelerator is None:
        return Counted(machine, PROBED, _probed, SPREAD)
    return Counted(machine, ("arithmetic", "calls"), _by_data_sheet, math.log(2.0))


def _probed(machine: Machine, recipe: TrainRecipe) -> tuple[float, ...]:
    work = work_of(recipe)
    dtype = recipe.precision if recipe.precision in machine.matmul_flops_per_s else machine.fastest_dtype()
    softmax = machine.softmax_values_per_s.get(dtype) or SOFTMAX_VALUES_PER_CORE_S * machine.threads
    return (
        sum(flops / machine.rate_between(dtype, edge) for edge, flops in work.products),
        work.moved_bytes / machine.memory_bandwidth_bytes_per_s,
        work.row_values / softmax,
        recipe.model.layers * _CALLS * (machine.layer_overhead_s or 0.0),
    )


def _by_data_sheet(machine: Machine, recipe: TrainRecipe) -> tuple[float, ...]:
    arithmetic_s = estimate.flops_per_step(recipe) / (machine.peak_flops_per_s("train") * _UTILISATION)
    return arithmetic_s, recipe.model.layers * _CALLS * (machine.layer_overhead_s or 0.0)


def work_of(recipe: TrainRecipe) -> Work:
    """One update of a recipe, counted."""
    model, tokens = recipe.model, float(recipe.batch_tokens())
    wide = bytes_per_value(recipe.precision) if recipe.precision in ("float32", "bfloat16") else 2
    scores = float(model.heads * model.context_tokens)
    values = model.layers * _layer_values(model, scores) + 3.0 * model.vocab_size
    chunks = math.ceil(tokens / _ROWS_OF_LOSS)
    head_bytes = 12.0 * chunks * model.vocab_size * model.hidden_size
    rows = model.layers * (2.0 * scores + 2.0 * model.mlp_size + 2.0 * model.hidden_size) + model.vocab_size
    return Work(
        tuple(_products(recipe)),
        wide * tokens * values + head_bytes + _STATE_BYTES * model.parameters(),
        tokens * rows,
    )


def _layer_values(model: DecoderConfig, scores: float) -> float:
    """Values of elementwise work that a layer reads and writes for a token, forward and backward."""
    turned = model.head_size * (model.heads + model.kv_heads)
    stream = 36.0 * model.hidden_size  # two norms (3 and 9 each), two sums (3 and 3 each)
    attention = 32.0 * turned + 4.0 * model.head_size * model.kv_heads + 10.0 * model.head_size * model.heads
    return stream + attention + 7.0 * scores + 14.0 * model.mlp_size


def _products(recipe: TrainRecipe) -> Iterator[tuple[float, float]]:
    """Edge and FLOPs of the products: forward, and twice that backward; and the optimiser's."""
    model, tokens = recipe.model, float(recipe.batch_tokens())
    width, queries = model.hidden_size, model.head_size * model.heads
    yield _edge(width, width, width), estimate.optimiser_flops_per_step(recipe)
    if not model.plain:
        yield _edge(tokens, width, width), estimate.flops_per_token(recipe) * tokens
        return
    for columns in (queries + 2 * model.head_size * model.kv_heads, queries, 2 * model.mlp_size, model.mlp_size):
        yield _edge(tokens, width, columns), 6.0 * tokens * width * columns * model.layers
    context = model.context_tokens
    # By products every score is made, those that the mask hides too.
    yield _edge(context, context, model.head_size), 12.0 * tokens * context * queries * model.layers
    yield _edge(min(tokens, _ROWS_OF_LOSS), width, model.vocab_size), 6.0 * tokens * width * model.vocab_size


def _edge(*sizes: float) -> float:
    """The edge of the square product with as many FLOPs for each value that is read or written."""
    return len(sizes) / sum(1.0 / size for size in sizes)
