"""What a replica gives its clients, as predicted numbers: simulation, the engine's waiting, the fitted residual.

The residual is the log of measured over computed by traits of the setup (generation, engine, format, class of model) and of
the load, shrunk towards zero where rows are few: an unseen combination falls back on the physics. Intervals are conformal:
their width is what 80 % of the rows of models left out of the fit lay within. Estimates with their terms: see `estimate`.
"""

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aether.planning.serving.closed_loop import ClosedLoop, Observed, closed_loop
from aether.planning.serving.efficiency import UNMEASURED, Coefficients, Familiarity, coefficients, generation
from aether.planning.serving.setup import ServingSetup
from aether.planning.serving.step import StepModel
from aether.spec.architecture import Architecture, Experts, LatentAttention, Recurrence
from aether.spec.evidence import Kind

Z_80 = 1.2815515655446004
"""The standard normal's quantile at 0.9: half of an 80 % interval."""


def model_class(arch: Architecture) -> str:
    """What decides which kernels run: dense, experts, latent attention, sparse attention, hybrid."""
    mixers = [group.mixer for group in arch.groups]
    if any(isinstance(mixer, Recurrence) for mixer in mixers):
        return "hybrid"
    latent = [mixer for mixer in mixers if isinstance(mixer, LatentAttention)]
    if latent:
        return "sparse" if any(mixer.index_heads for mixer in latent) else "latent"
    return "experts" if any(isinstance(group.mlp, Experts) for group in arch.groups) else "dense"


_PAIRS = (
    ("engine", "generation"),
    ("engine", "class"),
    ("engine", "format"),
    ("class", "format"),
    ("generation", "format"),
    ("class", "generation"),
)


@functools.lru_cache(maxsize=1024)
def _fixed_traits(
    named: tuple[tuple[str, str], ...], device: str, version: str, grouped: bool
) -> tuple[tuple[str, float], ...]:
    """Those that no load changes: a search asks for the same ones again and again."""
    words = dict(named)
    found = [(f"{name}={value}", 1.0) for name, value in (*named, ("device", device))]
    if release := re.search(r"(\d+)\.(\d+)", version):
        found.append((f"version={words['engine']} {release[0]}", 1.0))
    if grouped:
        found += [("groups", 1.0), (f"groups&engine={words['engine']}", 1.0)]
    found += [(f"{first}={words[first]}&{second}={words[second]}", 1.0) for first, second in _PAIRS]
    return tuple(found)


def traits(setup: ServingSetup, traffic: ClosedLoop) -> list[tuple[str, float]]:
    """What the residual knows of a setup and its load: names with their values."""
    kind, engine = model_class(setup.architecture), setup.engine
    stored = setup.precision.weights if kind == "dense" else setup.precision.expert_format
    named = (("engine", engine), ("generation", generation(setup.device)), ("class", kind), ("format", stored))
    found = list(_fixed_traits(named, setup.device.name, setup.engine_version or "", setup.attn_dp > 1))
    load = (math.log2(traffic.concurrency) - 5) / 4
    ranks = (math.log2(setup.tp * setup.attn_dp) - 1.5) / 2
    prompt = math.log2(traffic.prompt_tokens / 1024) / 3
    for name, value in (("load", load), ("ranks", ranks), ("prompt", prompt)):
        bounded = max(-1.5, min(1.5, value))
        found += [(name, bounded), (f"{name}&engine={engine}", bounded)]
        if name != "prompt":
            found.append((f"{name}&class={kind}", bounded))
    return found


def residual_log(quantity: str, setup: ServingSetup, traffic: ClosedLoop, fitted: Coefficients) -> float:
    """Log of measured over computed that the fit expects here."""
    return residual_of(quantity, traits(setup, traffic), fitted)


def residual_of(quantity: str, found: Sequence[tuple[str, float]], fitted: Coefficients) -> float:
    """The same from the traits, for callers that ask for several quantities."""
    known = fitted.residuals[quantity]
    return sum(known.get(trait, 0.0) * value for trait, value in found)


UNMEASURED_WIDTH = 1.5
"""Factor on the width for devices of no fitted generation (assumed: the only such rows known, two, are too few to fit it)."""
TAIL = 0.75
"""Quantiles beyond this are tails, with intervals of their own."""


@dataclass(frozen=True)
class Distance:
    """How far a setup is from what was measured."""

    rows: int
    """Measured rows of the same engine, generation and class of model."""
    unmeasured: bool
    """No operator of this kind of device was measured."""
    words: str
    familiarity: Familiarity = "near"


def distance(setup: ServingSetup, fitted: Coefficients) -> Distance:
    """How many measured rows are like the setup."""
    where, kind = generation(setup.device), model_class(setup.architecture)
    rows = fitted.rows_of(setup.engine, where, kind)
    words = f"{rows} measured rows of {setup.engine}, {where}, {kind} models"
    if where == UNMEASURED:
        words = f"no operator was measured on a {setup.device.name}: shares of the data sheet as on another generation"
    familiarity = fitted.familiarity(setup.engine, where, kind, setup.measured_as)
    if familiarity == "far" and where != UNMEASURED:
        words += ": extrapolated, the interval is that of combinations left out"
    elif familiarity == "seen":
        words += ", this model among them"
    return Distance(rows, where == UNMEASURED, words, familiarity)


def waiting_parts(simulated_s: float, token_s: float, traffic: ClosedLoop) -> np.ndarray:
    """What the engine's waiting coefficients multiply: waiting_scale, request_s, client_s, prompt_token_s, waiting_steps."""
    return np.array([simulated_s, 1.0, traffic.concurrency, traffic.prompt_tokens, token_s])


@dataclass(frozen=True)
class Range:
    """A predicted value with its 80 % interval."""

    value: float
    low: float
    high: float
    words: str = ""
    """How far the setup is from what was measured."""
    kind: Kind = "computed"
    """`assumed` where no operator of such a device was measured."""

    def times(self, factor: float) -> "Range":
        """In another unit; a factor."""
        return replace(self, value=self.value * factor, low=self.low * factor, high=self.high * factor)

    def inverse(self, numerator: float = 1.0) -> "Range":
        """numerator / value, with the interval turned round."""
        return replace(self, value=numerator / self.value, low=numerator / self.high, high=numerator / self.low)


class Answers:
    """The predictions for one setup under one load, as the laboratories of the fit would measure it, or as one `elsewhere` would."""

    def __init__(
        self, setup: ServingSetup, traffic: ClosedLoop, fitted: Coefficients | None = None, elsewhere: bool = False
    ) -> None:
        self.setup, self.traffic, self.fitted = setup, traffic, fitted or coefficients()
        self.elsewhere = elsewhere
        self.distance = distance(setup, self.fitted)
        self.model = StepModel(setup, self.fitted)
        self.seen: Observed = closed_loop(self.model, traffic)
        self.slower = math.exp(residual_log("token", setup, traffic, self.fitted))
        """Measured over computed step time."""

    def _range(self, quantity: str, value: float, share: float | None = None) -> Range:
        kind = f"{quantity}, tail" if share is not None and share > TAIL else quantity
        value *= math.exp(self.fitted.shift(kind, self.distance.familiarity))
        found = self._around(value, math.exp(self._width(kind, quantity)))
        if self.elsewhere:
            return found
        apart = math.exp(self.fitted.width(kind, "new source"))
        words = f"{found.words}; a laboratory that none of the rows is from may lie a factor of {apart:.2g} off"
        return replace(found, words=words)

    def _width(self, kind: str, quantity: str) -> float:
        """Half of the interval, in logs. On a device of which nothing was measured a tail is known no better than the middle."""
        width = self.fitted.width(kind, self.distance.familiarity)
        if self.elsewhere:
            width = max(width, self.fitted.width(kind, "new source"))
        if self.distance.unmeasured:
            width = UNMEASURED_WIDTH * max(width, self.fitted.width(quantity, self.distance.familiarity))
        return width

    def _around(self, value: float, factor: float) -> Range:
        kind = "assumed" if self.distance.unmeasured else "computed"
        return Range(value, value / factor, value * factor, self.distance.words, kind)

    def token_s(self, share: float | None = None) -> Range:
        """Time per output token: the mean over requests, or a quantile of them."""
        value = self.seen.mean_token_s if share is None else self.seen.token_quantile_s(share)
        return self._range("token", value * self.slower, share)

    def gap_s(self, share: float) -> Range:
        """A quantile of the time between two tokens, those of all requests pooled (inter-token latency)."""
        return self._range("token", self.seen.gap_quantile_s(share) * self.slower)

    def ttft_s(self, share: float | None = None) -> Range:
        """Time to first token: the mean over requests, or a quantile of them."""
        engine = self.model.engine
        simulated = self.seen.mean_ttft_s if share is None else self.seen.ttft_quantile_s(share)
        parts = waiting_parts(simulated, self.seen.mean_token_s, self.traffic)
        costs = [engine.waiting_scale, engine.request_s, engine.client_s, engine.prompt_token_s, engine.waiting_steps]
        value = float(parts @ np.array(costs))
        corrected = value * math.exp(residual_log("ttft", self.setup, self.traffic, self.fitted))
        return self._range("ttft", corrected, share)

    def e2e_s(self, share: float | None = None) -> Range:
        """From sending a request to its last token."""
        tokens = self.traffic.output_tokens * (1 - self.traffic.spread / 2) - 1
        first, token = self.ttft_s(share), self.token_s(share)
        value = first.value + tokens * token.value
        # Sums of independent parts are known better than their worst part; the wider of the two factors is on the careful side.
        width = max(first.high / first.value, token.high / token.value)
        return self._around(value, width)

    def output_tokens_per_s(self) -> Range:
        """Output of the whole replica."""
        return self._range("rate", self.seen.output_tokens_per_s / self.slower)

    def decode_tokens_per_s(self, sequences: float = 1) -> Range:
        """Output of so many sequences while they decode, prompts not counted."""
        return self._range("rate", self.seen.mean_token_s * self.slower).inverse(sequences)

    def prefill_tokens_per_s(self) -> Range:
        """Prompt tokens per second of one batch of prompts alone, until the last of them has its first token."""
        value = self.ttft_s(1.0).value / math.exp(self.fitted.shift("ttft, tail", self.distance.familiarity))
        return self._range("ttft", value).inverse(self.traffic.concurrency * self.traffic.prompt_tokens)
