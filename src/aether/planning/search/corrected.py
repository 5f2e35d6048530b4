"""The step time and the front end of a served setup with the fitted residuals of its engine, cheap enough to ask thousands of times."""

import math

from aether.planning.search.steady import Steady
from aether.planning.serving.answers import residual_of, traits
from aether.planning.serving.closed_loop import ClosedLoop
from aether.planning.serving.efficiency import coefficients
from aether.planning.serving.setup import ServingSetup
from aether.planning.serving.step import step_model
from aether.spec.brief import Load


class Corrected:
    """A setup's step time and front end, with the fitted residuals of its engine at some concurrency."""

    def __init__(self, setup: ServingSetup, load: Load, sequences: float) -> None:
        fitted, self.load = coefficients(), load
        self.model = step_model(setup)
        traffic = ClosedLoop(
            prompt_tokens=load.prompt_tokens, output_tokens=load.output_tokens, concurrency=max(1, round(sequences))
        )
        found = traits(setup, traffic)
        self.slower = math.exp(residual_of("token", found, fitted))
        self.seconds = self.model.costing(self.slower)
        """Of one step: (prompt tokens, positions that each sees, decoding sequences, positions that each attends to)."""
        self.first_slower = math.exp(residual_of("ttft", found, fitted))

    def first_s(self, simulated_s: float, state: Steady) -> float:
        """Time to first token as a client sees it, from the engine's own."""
        engine = self.model.engine
        front_s = engine.request_s + engine.client_s * state.sequences + engine.prompt_token_s * self.load.prompt_tokens
        return self.first_slower * (engine.waiting_scale * simulated_s + front_s + engine.waiting_steps * state.token_s)
