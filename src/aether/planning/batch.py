"""How many tokens a step sees: the published optimum for the tokens of the run, in whole sequences.

Follows Li et al. 2025 (arXiv 2503.04715, Step Law): B(D) = 0.58 D^0.571 tokens, but never under `LEAST_TOKENS`, where the
optimiser's own work would outweigh the model's. Powers of two, so that a small change of the budget changes nothing.
Learning rates stay those of the recipe's defaults.
"""

import math
from collections.abc import Callable

from aether.knowledge.library import constants

LEAST_STEPS = 32
"""Fewer steps than this is a warmup and nothing else (assumed)."""

LEAST_TOKENS = 1024
"""Tokens a step at least. Measured on Zen 4, one thread, width 256, 4 layers: Muon's update takes 99 ms, the forward and
backward pass of 1,024 tokens about 135 ms."""


def batch_sequences(tokens: float, context_tokens: int) -> int:
    """Sequences of `context_tokens` per step for a run of `tokens`; a power of two, at least 1."""
    known = constants()
    optimal = known["optimal_batch_coefficient"].value * tokens ** known["optimal_batch_exponent"].value
    optimal = min(max(optimal, LEAST_TOKENS), tokens / LEAST_STEPS)
    return max(1, 2 ** round(math.log2(max(1.0, optimal / context_tokens))))


def settle(tokens_for: Callable[[int], float], context_tokens: int) -> int:
    """The batch (sequences) whose own run's tokens ask for it. `tokens_for(sequences)`: tokens the run would then see.

    The batch depends on the tokens and the tokens on the batch; it grows from 1 by at most a factor of two a round.
    """
    sequences = 1
    for _ in range(16):
        fitting = batch_sequences(max(1.0, tokens_for(sequences)), context_tokens)
        if fitting <= sequences:
            break
        sequences *= 2
    return sequences


def coarse(steps: float) -> int:
    """`steps` rounded down to two significant digits: small changes of a budget give the same recipe."""
    if steps < 10:
        return max(1, int(steps))
    grain = 10 ** (int(math.log10(steps)) - 1)
    return int(steps // grain * grain)
