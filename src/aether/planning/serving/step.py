"""How long one step of a serving engine takes, operator by operator: prompt chunks and decode tokens in one fused pass.

Roofline for each operator with fitted efficiency (`efficiency`): matrix products see prompt and decode tokens together, as
chunked prefill does (Sarathi-Serve, arXiv 2403.02310); decode attention streams the cache; experts are activated like balls
in bins; all-reduces pay latency and bytes. Pipeline ranks work on equal micro-batches. Not here: waiting, arrivals, memory.
Shapes: G grid points of tokens.
"""

import functools
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aether.knowledge.library import Device
from aether.planning.serving.efficiency import Coefficients, Reduction, Roofline, coefficients, generation
from aether.planning.serving.operators import ExpertPart, Matrix, Mixing, Operators, operators
from aether.planning.serving.setup import MULTIPLIED_IN, STORED_BYTES, Format, ServingSetup

Floats = NDArray[np.float64]

_GRID_G = np.unique(np.round(np.geomspace(1, 131_072, 60)))
"""Tokens at which the parts that depend on tokens alone are computed; between them they are interpolated."""

_HIDDEN_BYTES = 2.0
"""Activations travel in 16 bits."""


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step, by part."""

    matrices_s: float
    """Dense matrix products: streaming the weights or arithmetic, whichever is longer."""
    experts_s: float
    prefill_attention_s: float
    cache_s: float
    """Decode attention: streaming keys and values, and recurrent states."""
    communication_s: float
    overhead_s: float
    """Small kernels of each layer, scheduling, sampling."""

    @property
    def total_s(self) -> float:
        """The whole step."""
        return sum(self.parts().values())

    def parts(self) -> dict[str, float]:
        """Seconds by the part's name."""
        return {
            "matrix products": self.matrices_s,
            "experts": self.experts_s,
            "prefill attention": self.prefill_attention_s,
            "cache traffic": self.cache_s,
            "communication": self.communication_s,
            "overhead": self.overhead_s,
        }

    @property
    def binding(self) -> str:
        """The part that takes longest."""
        parts = self.parts()
        return max(parts, key=lambda name: parts[name])


def peak_flops_per_s(device: Device, stored_as: Format) -> float:
    """The data sheet's rate for a format; what the device cannot multiply, it does in 16 bits.

    Devices that multiply four bits take MXFP4 weights with eight-bit activations.
    """
    rates = device.flops_per_s
    if stored_as == "mxfp4" and "float4" in rates:
        return rates["float8"]
    sixteen = rates.get("bfloat16") or rates.get("float16") or max(rates.values())
    return rates.get(MULTIPLIED_IN[stored_as], sixteen)


def smooth_max(compute_s: Any, memory_s: Any, order: float) -> Any:
    """(a^p + b^p)^(1/p)."""
    return (compute_s**order + memory_s**order) ** (1.0 / order)


class Rates(NamedTuple):
    """What the data sheet promises for one format."""

    flops_per_s: Any
    bytes_per_s: Any


def product_s(rows: Any, outputs: Any, inputs: Any, stored_bytes: float, rates: Rates, fit: "Roofline | _Fit") -> Any:
    """Seconds of a matrix product without its launch; numbers or arrays."""
    compute = 2 * (rows + fit.rows) * (outputs + fit.columns) * inputs / (rates.flops_per_s * fit.compute)
    moved = outputs * inputs * stored_bytes + _HIDDEN_BYTES * rows * (inputs + outputs)
    return smooth_max(compute, moved / (rates.bytes_per_s * fit.memory), fit.order)


def grouped_s(part: ExpertPart, tokens: Any, rates: Rates, fit: Roofline, skew: float) -> Any:
    """Seconds of one layer's routed experts for `tokens` of the whole model, without their launch."""
    reached = activated_experts(part, tokens, skew)
    rows = tokens * part.active * part.local / part.experts
    values = part.matrices * part.hidden
    compute = 2 * (rows + fit.rows * reached) * values * (part.inner + fit.columns) / (rates.flops_per_s * fit.compute)
    moved = reached * part.expert_bytes + _HIDDEN_BYTES * rows * (2 * part.hidden + part.matrices * part.inner)
    return smooth_max(compute, moved / (rates.bytes_per_s * fit.memory), fit.order)


def activated_experts(part: ExpertPart, tokens: Any, skew: float) -> Any:
    """Experts of this device that `tokens` of the whole model reach: balls in bins, with fewer balls under skewed routing."""
    missed = (1.0 - part.active / part.experts) ** (tokens * skew)
    return part.local * (1.0 - missed)


def reduce_s(message_bytes: Any, ranks: Any, link_bytes_per_s: Any, fit: Reduction) -> Any:
    """Seconds of one all-reduce; numbers or arrays."""
    moved = 2 * (ranks - 1) / ranks * message_bytes / (link_bytes_per_s * fit.share)
    return smooth_max(fit.latency_s + fit.latency_rank_s * (ranks - 1), moved, fit.order)


class _Prefilling(NamedTuple):
    """One kind of attention over prompts: seconds of its launches, of a FLOP in all layers, and the FLOPs of a token."""

    launch_s: float
    scale_s: float
    window: float
    seen_flops: float
    """For each position in the window."""
    any_flops: float
    """For each position, in the window or not."""
    fixed_flops: float


class _Decoding(NamedTuple):
    """One kind of attention over a cache: seconds of its launches, layers, and seconds of one sequence's arithmetic and reads.

    Three numbers each: for a position in the window, for any position, and whatever the context.
    """

    launch_s: float
    scale: float
    window: float
    compute_s: tuple[float, float, float]
    memory_s: tuple[float, float, float]
    order: float


class StepModel:
    """The step time of one setup: what depends on tokens alone is tabulated once, so that a step costs microseconds."""

    def __init__(self, setup: ServingSetup, fitted: Coefficients | None = None) -> None:
        self.setup = setup
        self.fitted = fitted or coefficients()
        self.generation = generation(setup.device)
        self.engine = self.fitted.cost(setup.engine)
        self.operators: Operators = operators(setup)
        self._peak = peak_flops_per_s(setup.device, "bf16")
        self._bandwidth = setup.device.memory_bandwidth_bytes_per_s
        fits = [(mixing, *self._attention_fits(mixing)) for mixing in self.operators.mixing]
        self._prefilling = [self._prefilling_of(mixing, prefill) for mixing, prefill, _ in fits]
        self._decoding = [self._decoding_of(mixing, decode) for mixing, _, decode in fits]
        self._matrices_G = self._matrix_times(self.operators.matrices).tolist()
        self._experts_G = self._expert_times().tolist()
        self._communication_G = self._communication().tolist()
        self._layers_G = self._small_kernels().tolist()
        self._head_G = self._matrix_times((self.operators.head,)).tolist()
        parts = (self._matrices_G, self._experts_G, self._communication_G, self._layers_G)
        self._dense_line = _line([sum(values) for values in zip(*parts, strict=True)])
        self._head_line = _line(self._head_G)

    def _attention_fits(self, mixing: Mixing) -> tuple[Roofline, Roofline]:
        kind = "recurrence" if mixing.state_bytes else "latent" if mixing.latent else self.setup.precision.cache
        prefill = self.fitted.of("prefill_attention", self.generation, "latent" if mixing.latent else "bf16")
        decode = self.fitted.of("decode_attention", self.generation, kind)
        return prefill, decode

    def _prefilling_of(self, mixing: Mixing, fit: Roofline) -> _Prefilling:
        engine, seen = self.engine, mixing.flops_prefill
        return _Prefilling(
            mixing.count * engine.launch_scale * fit.launch_s,
            mixing.count * engine.attention_scale / (self._peak * fit.compute),
            mixing.window or math.inf,
            seen,
            mixing.index_flops,
            mixing.state_flops + (fit.rows * seen if seen else 0.0),
        )

    def _decoding_of(self, mixing: Mixing, fit: Roofline) -> _Decoding:
        rate, bandwidth = self._peak * fit.compute, self._bandwidth * fit.memory
        return _Decoding(
            mixing.count * self.engine.launch_scale * fit.launch_s,
            mixing.count * self.engine.cache_scale,
            mixing.window or math.inf,
            (mixing.flops_decode / rate, mixing.index_flops / rate, mixing.state_flops / rate),
            (
                mixing.cache_bytes_per_token / bandwidth,
                mixing.index_bytes_per_token / bandwidth,
                mixing.state_bytes / bandwidth,
            ),
            fit.order,
        )

    def _rates(self, stored_as: Format) -> Rates:
        return Rates(peak_flops_per_s(self.setup.device, stored_as), self._bandwidth)

    def _matrix_times(self, matrices: tuple[Matrix, ...]) -> Floats:
        total_G, engine = np.zeros_like(_GRID_G), self.engine
        for matrix in matrices:
            fit, stored = self.fitted.of("matrix", self.generation, matrix.stored_as), STORED_BYTES[matrix.stored_as]
            shape = (matrix.outputs, matrix.inputs, stored)
            spent_G = _grid_product_s(
                shape, self._rates(matrix.stored_as), _Fit(*(getattr(fit, n) for n in _Fit._fields))
            )
            total_G += matrix.count * (engine.matrix_scale * spent_G + engine.launch_scale * fit.launch_s)
        return total_G

    def _expert_times(self) -> Floats:
        total_G = np.zeros_like(_GRID_G)
        for part in self.operators.experts:
            fit = self.fitted.of("experts", self.generation, part.stored_as)
            tokens_G, rates = _GRID_G * self.setup.attn_dp, self._rates(part.stored_as)
            spent_G = grouped_s(part, tokens_G, rates, fit, self.fitted.expert_skew)
            total_G += part.count * (self.engine.expert_scale * spent_G + self.engine.launch_scale * fit.launch_s)
        return total_G

    def _communication(self) -> Floats:
        setup, total_G = self.setup, np.zeros_like(_GRID_G)
        hidden_bytes_G = _GRID_G * setup.architecture.hidden_size * _HIDDEN_BYTES
        if setup.tp > 1:
            total_G += self.operators.reductions * self.all_reduce_s(hidden_bytes_G, setup.tp)
        if self.operators.exchanges:
            ranks = setup.tp * setup.attn_dp
            total_G += self.operators.exchanges * self.all_reduce_s(hidden_bytes_G * setup.attn_dp, ranks)
        return total_G * self.engine.communication_scale

    def all_reduce_s(self, message_bytes: Floats | float, ranks: int) -> Floats | float:
        """Seconds of one all-reduce over `ranks` devices of this kind."""
        device = self.setup.device
        link = device.intra_node_bytes_per_s or _LINK_BYTES_PER_S
        if device.devices_per_node and ranks > device.devices_per_node:
            link = device.inter_node_bytes_per_s or _NETWORK_BYTES_PER_S
        return reduce_s(message_bytes, ranks, link, self.fitted.link(self.generation))

    def _small_kernels(self) -> Floats:
        setup, engine = self.setup, self.engine
        moved_G = self.hidden_vectors * _GRID_G * setup.architecture.hidden_size * _HIDDEN_BYTES
        launches = engine.layer_s * self.small_kernels
        launches += 0.0 if setup.compiled else engine.eager_layer_s * self.operators.layers
        return launches + engine.hidden_copies * moved_G / self._bandwidth

    @property
    def hidden_vectors(self) -> float:
        """Hidden vectors of one token that pass all layers: one, and one for each expert that it is sent to."""
        return self.operators.layers + sum(part.count * part.active for part in self.operators.experts)

    @property
    def small_kernels(self) -> float:
        """Layers, where routing to four experts counts as much again (fitted)."""
        return self.operators.layers + sum(part.count * part.active / 4 for part in self.operators.experts)

    def time(
        self, prefill_tokens: float, prefill_context: float, decode_sequences: float, decode_context: float
    ) -> StepTime:
        """One step. Tokens and sequences are of the whole replica; see `step_time`."""
        prompt, decode, sampled = self._shares(prefill_tokens, decode_sequences)
        at = _Position(max(1.0, prompt + decode))
        return StepTime(
            matrices_s=at.of(self._matrices_G) + _Position(sampled).of(self._head_G),
            experts_s=at.of(self._experts_G),
            prefill_attention_s=self._prefill_attention_s(prompt, prefill_context),
            cache_s=self._cache_s(decode, decode_context),
            communication_s=at.of(self._communication_G),
            overhead_s=at.of(self._layers_G) + self.engine.step_s + self.engine.sequence_s * decode_sequences,
        )

    def seconds(
        self, prefill_tokens: float, prefill_context: float, decode_sequences: float, decode_context: float
    ) -> float:
        """The total of `time`, for loops that take thousands of steps."""
        prompt, decode, sampled = self._shares(prefill_tokens, decode_sequences)
        total = self.engine.step_s + self.engine.sequence_s * decode_sequences
        for line, tokens in ((self._dense_line, prompt + decode), (self._head_line, sampled)):
            tokens = tokens if tokens > 1.0 else 1.0
            place = min(len(_GRID) - 2, bisect_right(_GRID, tokens) - 1)
            total += line[0][place] + line[1][place] * tokens
        return total + self._prefill_attention_s(prompt, prefill_context) + self._cache_s(decode, decode_context)

    def _shares(self, prefill_tokens: float, decode_sequences: float) -> tuple[float, float, float]:
        """Prompt tokens, sequences and sampled tokens of one device's micro-batch."""
        share = 1.0 / (self.setup.attn_dp * self.setup.pp)
        prompt, decode = prefill_tokens * share, decode_sequences * share
        return prompt, decode, max(1.0, decode + (1.0 if prompt else 0.0))

    def _prefill_attention_s(self, prompt: float, context: float) -> float:
        if prompt <= 0:
            return 0.0
        total = 0.0
        for launch_s, scale_s, window, seen_flops, any_flops, fixed_flops in self._prefilling:
            seen = context if context < window else window
            total += launch_s + prompt * scale_s * (seen * seen_flops + context * any_flops + fixed_flops)
        return total

    def _cache_s(self, decode: float, context: float) -> float:
        if decode <= 0:
            return 0.0
        total = 0.0
        for launch_s, scale, window, flops, moved, order in self._decoding:
            seen = context if context < window else window
            compute_s = seen * flops[0] + context * flops[1] + flops[2]
            memory_s = seen * moved[0] + context * moved[1] + moved[2]
            total += launch_s + decode * scale * smooth_max(compute_s, memory_s, order)
        return total


_LINK_BYTES_PER_S = 32e9
"""One direction of PCIe 4.0 x16, for a device whose link is not known (assumed)."""
_NETWORK_BYTES_PER_S = 25e9
"""200 Gbit/s for each device, where a group spans nodes and the network is not known (assumed)."""


class _Position:
    """A place between two points of the grid."""

    def __init__(self, tokens: float) -> None:
        right = min(len(_GRID) - 1, max(1, bisect_right(_GRID, tokens)))
        self.left = right - 1
        self.share = (tokens - _GRID[self.left]) / (_GRID[right] - _GRID[self.left])

    def of(self, values: Sequence[float]) -> float:
        """The value there, on the line through the two points (beyond the grid too)."""
        low = values[self.left]
        return low + self.share * (values[self.left + 1] - low)


class _Fit(NamedTuple):
    """What a product takes of a `Roofline`, as a key."""

    compute: float
    memory: float
    rows: float
    columns: float
    order: float


@functools.lru_cache(maxsize=2048)
def _grid_product_s(shape: tuple[float, float, float], rates: Rates, fit: _Fit) -> Floats:
    """`product_s` over the grid. Layouts of one search share most of their products."""
    outputs, inputs, stored_bytes = shape
    return product_s(_GRID_G, outputs, inputs, stored_bytes, rates, fit)


_GRID = [float(v) for v in _GRID_G]


_GAPS = np.diff(_GRID_G)


def _line(values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Intercepts and slopes of the lines between the points of the grid."""
    slopes = (np.diff(values) / _GAPS).tolist()
    return [value - slope * tokens for value, slope, tokens in zip(values, slopes, _GRID, strict=False)], slopes


_latest: list[StepModel] = []


def step_model(setup: ServingSetup) -> StepModel:
    """The model of a setup; the latest one is kept, because callers ask for many steps of one setup."""
    if not _latest or (_latest[0].setup is not setup and _latest[0].setup != setup):
        _latest[:] = [StepModel(setup)]
    return _latest[0]


def step_time(
    setup: ServingSetup,
    prefill_tokens: float,
    prefill_context: float,
    decode_sequences: float,
    decode_context: float,
) -> StepTime:
    """One fused step of the whole replica.

    `prefill_tokens` prompt tokens that each see `prefill_context` positions in the mean (half of the prompt for a prompt
    that is taken whole), and `decode_sequences` sequences that each attend to `decode_context` positions.
    """
    return step_model(setup).time(prefill_tokens, prefill_context, decode_sequences, decode_context)
