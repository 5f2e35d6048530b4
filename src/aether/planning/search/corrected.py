"""The step time and the front end of a served setup with the fitted residuals of its engine, cheap enough to ask thousands of times."""

import functools
import math
from typing import NamedTuple

from aether.planning.search.steady import Batch, Steady, steady_within
from aether.planning.serving.answers import UNMEASURED_WIDTH, distance, model_class, residual_of, traits
from aether.planning.serving.closed_loop import ClosedLoop
from aether.planning.serving.efficiency import coefficients
from aether.planning.serving.setup import ServingSetup
from aether.planning.serving.step import step_model
from aether.spec.brief import Load


class Known(NamedTuple):
    """Half widths of the 80 % intervals, in logs, and how they were come by."""

    ttft: float
    token: float
    method: str


METHOD = "errors of the fit on models left out of it"


def known_of(setup: ServingSetup) -> Known:
    """As `aether estimate` has it, but never narrower than for a model that the fit had not seen: a plan's traffic is not the one that
    was measured."""
    key = (setup.engine, setup.device.name, model_class(setup.architecture))
    if key not in _known:
        fitted, far = coefficients(), distance(setup, coefficients())
        wider = UNMEASURED_WIDTH if far.unmeasured else 1.0
        familiarity = "far" if far.familiarity == "far" else "near"
        ttft, token = (wider * fitted.width(quantity, familiarity) for quantity in ("ttft", "token"))
        _known[key] = Known(ttft, token, METHOD if familiarity == "near" else f"{METHOD}; {far.words}")
    return _known[key]


_known: dict[tuple[str, str, str], Known] = {}


class Corrected:
    """A setup's step time and front end, with the fitted residuals of its engine at some concurrency."""

    def __init__(self, setup: ServingSetup, load: Load, sequences: float) -> None:
        fitted, self.setup, self.load = coefficients(), setup, load
        self.model = step_model(setup)
        traffic = ClosedLoop(
            prompt_tokens=load.prompt_tokens, output_tokens=load.output_tokens, concurrency=max(1, round(sequences))
        )
        found = traits(setup, traffic)
        self.slower = math.exp(residual_of("token", found, fitted))
        self.seconds = self.model.costing(self.slower)
        self.decoding = self.model.decoding(self.slower)
        """Of one step: (prompt tokens, positions that each sees, decoding sequences, positions that each attends to)."""
        self.first_slower = math.exp(residual_of("ttft", found, fitted))
        self._states: dict[tuple[float, Batch], Steady] = {}

    @functools.cached_property
    def known(self) -> Known:
        """How wide the interval is, by how much of the setup was measured."""
        return known_of(self.setup)

    def steady_at(self, requests_per_s: float, batch: Batch) -> Steady:
        """A replica at a rate that it is known to keep up with; kept, since searches for near briefs ask for it again and again."""
        key = (requests_per_s, batch)
        if key not in self._states:
            self._states[key] = steady_within(self.seconds, self.load, requests_per_s, batch)
        return self._states[key]

    def first_s(self, simulated_s: float, state: Steady) -> float:
        """Time to first token as a client sees it, from the engine's own."""
        engine = self.model.engine
        front_s = engine.request_s + engine.client_s * state.sequences + engine.prompt_token_s * self.load.prompt_tokens
        return self.first_slower * (engine.waiting_scale * simulated_s + front_s + engine.waiting_steps * state.token_s)
