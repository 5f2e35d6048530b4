"""How long one step of a serving engine takes, operator by operator: prompt chunks and decode tokens in one fused pass.

Roofline for each operator with fitted efficiency (`efficiency`): matrix products see prompt and decode tokens together, as
chunked prefill does (Sarathi-Serve, arXiv 2403.02310); decode attention streams the cache; experts are activated like balls
in bins; all-reduces pay latency and bytes. Pipeline ranks work on equal micro-batches. Not here: waiting, arrivals, memory.
Shapes: G grid points of tokens.
"""

import copy
import functools
import math
from bisect import bisect_right
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aether.planning.serving.efficiency import Coefficients, Roofline, coefficients, generation
from aether.planning.serving.grid import GRID, GRID_G, Position, line
from aether.planning.serving.operators import Matrix, Mixing, Operators, operators
from aether.planning.serving.rooflines import (
    HIDDEN_BYTES,
    ProductFit,
    Rates,
    grouped_s,
    peak_flops_per_s,
    product_s,
    reduce_s,
    smooth_max,
)
from aether.planning.serving.setup import STORED_BYTES, Format, ServingSetup
from aether.planning.serving.simulator_replica import DecodeCost, StepCost

Floats = NDArray[np.float64]


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
        self._share = _share(setup)
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
        self._dense_line = line([sum(values) for values in zip(*parts, strict=True)])
        self._head_line = line(self._head_G)
        self.seconds = self.costing()

    def with_setup(self, setup: ServingSetup) -> "StepModel":
        """The same tables for a setup that differs in nothing that they depend on (`_tables_of`)."""
        assert _tables_of(setup) == _tables_of(self.setup)
        made = copy.copy(self)
        made.setup, made._share = setup, _share(setup)
        made.seconds = made.costing()
        return made

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
        total_G, engine = np.zeros_like(GRID_G), self.engine
        for matrix in matrices:
            fit, stored = self.fitted.of("matrix", self.generation, matrix.stored_as), STORED_BYTES[matrix.stored_as]
            shape = (matrix.outputs, matrix.inputs, stored)
            spent_G = _grid_product_s(
                shape, self._rates(matrix.stored_as), ProductFit(*(getattr(fit, n) for n in ProductFit._fields))
            )
            total_G += matrix.count * (engine.matrix_scale * spent_G + engine.launch_scale * fit.launch_s)
        return total_G

    def _expert_times(self) -> Floats:
        total_G = np.zeros_like(GRID_G)
        for part in self.operators.experts:
            fit = self.fitted.of("experts", self.generation, part.stored_as)
            tokens_G, rates = GRID_G * self.setup.attn_dp, self._rates(part.stored_as)
            spent_G = grouped_s(part, tokens_G, rates, fit, self.fitted.expert_skew)
            total_G += part.count * (self.engine.expert_scale * spent_G + self.engine.launch_scale * fit.launch_s)
        return total_G

    def _communication(self) -> Floats:
        setup, total_G = self.setup, np.zeros_like(GRID_G)
        hidden_bytes_G = GRID_G * setup.architecture.hidden_size * HIDDEN_BYTES
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
        moved_G = self.hidden_vectors * GRID_G * setup.architecture.hidden_size * HIDDEN_BYTES
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
        at = Position(max(1.0, prompt + decode))
        return StepTime(
            matrices_s=at.of(self._matrices_G) + Position(sampled).of(self._head_G),
            experts_s=at.of(self._experts_G),
            prefill_attention_s=self._prefill_attention_s(prompt, prefill_context),
            cache_s=self._cache_s(decode, decode_context),
            communication_s=at.of(self._communication_G),
            overhead_s=at.of(self._layers_G) + self.engine.step_s + self.engine.sequence_s * decode_sequences,
        )

    def costing(self, slower: float = 1.0) -> StepCost:
        """The total of `time`, times `slower`, as a function for loops that take thousands of steps: the innermost one of every
        search and simulation, so everything is looked up beforehand and written out."""
        share, step_s, sequence_s = self._share, self.engine.step_s, self.engine.sequence_s
        (intercepts, slopes), (head_intercepts, head_slopes) = self._dense_line, self._head_line
        grid, last = GRID, len(GRID) - 2
        prefilling, decoding = self._prefilling, [(*d[:3], *d.compute_s, *d.memory_s, d.order) for d in self._decoding]

        def seconds(prompts: float, prompt_context: float, sequences: float, context: float) -> float:
            prompt, decode = prompts * share, sequences * share
            tokens, sampled = prompt + decode, decode + (1.0 if prompt else 0.0)
            tokens, sampled = tokens if tokens > 1.0 else 1.0, sampled if sampled > 1.0 else 1.0
            place, head_place = bisect_right(grid, tokens) - 1, bisect_right(grid, sampled) - 1
            place, head_place = place if place < last else last, head_place if head_place < last else last
            total = step_s + sequence_s * sequences + (intercepts[place] + slopes[place] * tokens)
            total += head_intercepts[head_place] + head_slopes[head_place] * sampled
            if prompt > 0:
                spent = 0.0
                for launch_s, scale_s, window, seen_flops, any_flops, fixed_flops in prefilling:
                    seen = prompt_context if prompt_context < window else window
                    spent += launch_s + prompt * scale_s * (
                        seen * seen_flops + prompt_context * any_flops + fixed_flops
                    )
                total += spent
            if decode > 0:
                spent = 0.0
                for launch_s, scale, window, f_seen, f_any, f_fixed, m_seen, m_any, m_fixed, order in decoding:
                    seen = context if context < window else window
                    compute_s, memory_s = (
                        seen * f_seen + context * f_any + f_fixed,
                        seen * m_seen + context * m_any + m_fixed,
                    )
                    spent += launch_s + decode * scale * (compute_s**order + memory_s**order) ** (1.0 / order)
                total += spent
            return slower * total

        return seconds

    def decoding(self, slower: float = 1.0) -> DecodeCost:
        """`costing` of steps that only decode, by their sequences: what does not depend on the context is added up once for all of them, in
        the same order."""
        share, decoding = self._share, [(*d[:3], *d.compute_s, *d.memory_s, d.order) for d in self._decoding]

        def of(sequences: float) -> Callable[[float], float]:
            decode, rest_s = sequences * share, self._beside_attention_s(sequences)

            def at(context: float) -> float:
                spent = 0.0
                for launch_s, scale, window, f_seen, f_any, f_fixed, m_seen, m_any, m_fixed, order in decoding:
                    seen = context if context < window else window
                    compute_s, memory_s = (
                        seen * f_seen + context * f_any + f_fixed,
                        seen * m_seen + context * m_any + m_fixed,
                    )
                    spent += launch_s + decode * scale * (compute_s**order + memory_s**order) ** (1.0 / order)
                return slower * (rest_s + spent)

            return at

        return of

    def _beside_attention_s(self, sequences: float) -> float:
        decode = sequences * self._share
        tokens = decode if decode > 1.0 else 1.0
        (intercepts, slopes), (head_intercepts, head_slopes) = self._dense_line, self._head_line
        place = min(bisect_right(GRID, tokens) - 1, len(GRID) - 2)
        total = self.engine.step_s + self.engine.sequence_s * sequences + (intercepts[place] + slopes[place] * tokens)
        return total + (head_intercepts[place] + head_slopes[place] * tokens)

    def _shares(self, prefill_tokens: float, decode_sequences: float) -> tuple[float, float, float]:
        """Prompt tokens, sequences and sampled tokens of one device's micro-batch."""
        prompt, decode = prefill_tokens * self._share, decode_sequences * self._share
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


@functools.lru_cache(maxsize=2048)
def _grid_product_s(shape: tuple[float, float, float], rates: Rates, fit: ProductFit) -> Floats:
    """`product_s` over the grid. Layouts of one search share most of their products."""
    outputs, inputs, stored_bytes = shape
    return product_s(GRID_G, outputs, inputs, stored_bytes, rates, fit)


def _share(setup: ServingSetup) -> float:
    """Of the replica's tokens in one device's micro-batch."""
    return 1.0 / (setup.attn_dp * setup.pp)


_KEPT = 2048
"""Step models that are kept (chosen: more than one search has)."""
_kept: dict[Hashable, StepModel] = {}


def _tables_of(setup: ServingSetup) -> Hashable:
    """What the tables of a step model depend on: not pipeline stages, batch limits or the cache. The architecture and the device are
    told apart as objects; a kept model holds them, so that their numbers are not given away."""
    shape = (setup.tp, setup.attn_dp, setup.ep, setup.engine, setup.compiled)
    return id(setup.architecture), id(setup.device), setup.precision, shape


def step_model(setup: ServingSetup) -> StepModel:
    """The model of a setup. Setups of one search share most of their tables, which are kept."""
    key = _tables_of(setup)
    found = _kept.get(key)
    if found is None:
        if len(_kept) >= _KEPT:
            _kept.clear()
        found = _kept[key] = StepModel(setup)
    return found if found.setup is setup else found.with_setup(setup)


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
