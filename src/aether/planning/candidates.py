"""Every shape with the tokens that the time left allows it, and the loss that the pilots say it reaches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aether.knowledge.library import constants
from aether.models.config import DecoderConfig
from aether.planning.batch import LEAST_STEPS, coarse, settle
from aether.planning.facts import DataFacts, PilotResult
from aether.planning.forecast import Forecast, Prediction
from aether.planning.laws import effective_tokens
from aether.planning.recipes import Compile, Precision, train_recipe
from aether.planning.timing import StepTime
from aether.stages.train.estimate import COMPILE_S
from aether.stages.train.recipe import TrainRecipe

MOST_EPOCHS = 8.0
"""Beyond about this many passes, repeated data add little: half the value of fresh tokens is gone at R* ln 2 = 10.7
(published: arXiv 2305.16264); chosen below that."""

_WORTH_COMPILING = 1.05
"""Tokens in the same time, compiled over plain, from which compiling is chosen: with less, a slower compiler or a step share off by a
few percent takes the gain (chosen). By the measured constants that is from about ten minutes of training on."""

_SAFE = 1.2816
"""One-sided 90 %: the chance that training takes longer than its share is one in ten."""


@dataclass(frozen=True)
class Candidate:
    """A shape, how long it is trained, and what is predicted of it."""

    recipe: TrainRecipe
    training_s: float
    loss: Prediction | None

    @property
    def decoder(self) -> DecoderConfig:
        """The shape."""
        return self.recipe.model

    @property
    def tokens(self) -> int:
        """Tokens trained on."""
        return self.recipe.tokens()


@dataclass(frozen=True)
class Knowledge:
    """What predictions rest on: the data, the step times, and the curve (None before any pilot)."""

    facts: DataFacts
    step_time: StepTime
    curve: Forecast | None
    precision: Precision
    compiles: bool = False
    """Whether torch.compile can be used in training, on a CPU: what it is worth on a GPU is not measured."""

    def loss(self, decoder: DecoderConfig, tokens: float) -> Prediction | None:
        """Predicted validation loss after `tokens`, repeats counted at what they are worth."""
        if self.curve is None:
            return None
        return self.curve.loss(decoder.matrix_parameters(), effective_tokens(tokens, self.facts.train_tokens))


def candidate(decoder: DecoderConfig, training_s: float, known: Knowledge) -> Candidate | None:
    """`decoder` trained for at most `training_s` with nine chances in ten; None when that is no training at all."""
    plain = _fitted(decoder, training_s, known, "off")
    compiled = _fitted(decoder, training_s, known, "blocks") if known.compiles else None
    if plain is None or compiled is None:
        return plain
    return compiled if compiled.tokens >= _WORTH_COMPILING * plain.tokens else plain


def _fitted(decoder: DecoderConfig, training_s: float, known: Knowledge, how: Compile) -> Candidate | None:
    time, precision = known.step_time, known.precision
    fixed_s = time.fixed_s + (COMPILE_S if how != "off" else 0.0)
    if training_s <= fixed_s:
        return None

    def steps_for(sequences: int) -> int:
        trial = train_recipe(decoder, 1, sequences, precision, how)
        most = MOST_EPOCHS * known.facts.train_tokens / trial.batch_tokens()
        safe_s = time.seconds(trial) * (1.0 + _SAFE * time.spread(trial))
        return coarse(min((training_s - fixed_s) / safe_s, most))

    context = decoder.context_tokens
    sequences = settle(lambda n: steps_for(n) * n * context, context)
    steps = steps_for(sequences)
    if steps < LEAST_STEPS:
        return None
    recipe = train_recipe(decoder, steps, sequences, precision, how)
    return Candidate(recipe, steps * time.seconds(recipe) + fixed_s, known.loss(decoder, recipe.tokens()))


def candidates(found: Sequence[Candidate]) -> list[Candidate]:
    """Lowest predicted loss first; without pilots, nearest to the published optimum of tokens per parameter first."""
    return sorted(found, key=lambda c: (c.loss.value, 0) if c.loss is not None else _off_optimum(c))


def _off_optimum(one: Candidate) -> tuple[float, int]:
    optimal = constants()["tokens_per_parameter_optimal"].value
    return abs(math.log(one.tokens / one.decoder.parameters() / optimal)), one.decoder.parameters()


def within_reach(shapes: Sequence[DecoderConfig], pilots: Sequence[PilotResult]) -> tuple[DecoderConfig, ...]:
    """The shapes that the pilots' sizes speak for: up to 2.5 times the largest and down to half the smallest (chosen)."""
    if not pilots:
        return tuple(shapes)
    sizes = [p.decoder.parameters() for p in pilots]
    kept = tuple(s for s in shapes if 0.5 * min(sizes) <= s.parameters() <= 2.5 * max(sizes))
    return kept or tuple(p.decoder for p in pilots)
