"""Which short runs are made before the plan: sizes, tokens and steps, derived from the probe alone, so that they repeat.

Three sizes: the smallest and the largest see the same tokens, the middle one half, and the smallest once more a quarter, so
that one pair says what tokens are worth at one size and another what size is worth at the same tokens. Measured: with
equal work instead, the largest pilot sees a few hundred short steps, lies off every curve, and predictions of longer runs
came out 4 % too high (docs/planning.md). Sizes sit below what the time left can train best; batch follows `batch`, as
in the main run.
"""

import math
from collections.abc import Sequence

from aether.hardware.machine import Machine
from aether.models.config import DecoderConfig
from aether.planning.batch import LEAST_STEPS, coarse, settle
from aether.planning.budget import STARTS_S, budget_of, load_test_s, working_price
from aether.planning.facts import DataFacts
from aether.planning.ladder import context_for, ladder
from aether.planning.recipes import precision_for, train_recipe, train_step
from aether.planning.timing import counted_step_time
from aether.spec.brief import Brief
from aether.spec.recipe import Step
from aether.stages.train.estimate import flops_per_step
from aether.stages.train.recipe import TrainRecipe

SHARE_OF_TIME = 0.12
"""Of the build's time, all pilots together (chosen: 72 s of 10 minutes)."""

MOST_PILOT_S = 3600.0
"""However long the build, its pilots take no longer than this (chosen)."""

TOKENS_PER_PARAMETER = 2.0
"""What a build of minutes reaches when its loss is best: batches and exponents of tiny models favour more parameters
and fewer tokens than the 20 of arXiv 2203.15556 (measured on two cores; see docs/planning.md)."""

_SIZES = (0.3, 0.5, 0.8)
"""Parameters of the three pilots over those of the likely main run (chosen)."""

_TOKENS = (1.0, 0.5, 1.0)
"""Their tokens over those of the longest (chosen)."""

_ROUNDS = 4
"""Of size and rate, each from the other (chosen: they settle within three on every machine tried)."""

_AGAIN = 0.25
"""Tokens of the smallest size's second run, over those of its first (chosen)."""


def pilot_steps(brief: Brief, machine: Machine, facts: DataFacts) -> tuple[Step, ...]:
    """The pilots of a brief on a machine: steps `pilot-0` .. `pilot-3` of the train stage. Raises InputError without a time bound."""
    budget = budget_of(brief, 0.0, working_price(brief, machine))
    spent_s = min(MOST_PILOT_S, SHARE_OF_TIME * budget.limit_s)
    context = context_for(brief.load.prompt_tokens, brief.load.output_tokens)
    shapes = ladder(facts.vocab_size, context, 0.0, math.inf)
    main_s = max(30.0, 0.8 * budget.limit_s - spent_s - sum(STARTS_S.values()) - load_test_s(brief))
    main, flops_per_s = _likely(shapes, main_s, machine)
    sizes: list[int] = []
    for share in _SIZES:
        fresh = [i for i in range(len(shapes)) if i not in sizes]
        sizes.append(min(fresh, key=lambda i: abs(math.log(shapes[i].parameters() / (share * main)))))
    precision = precision_for(machine)
    plain = [train_recipe(shapes[i], LEAST_STEPS, 1, precision) for i in sorted(sizes)]
    runs = [(plain[0], _AGAIN), *zip(plain, _TOKENS, strict=True)]
    tokens = _longest(runs, spent_s * flops_per_s, facts)
    return tuple(
        train_step(f"pilot-{i}", _over(recipe, share * tokens), brief, machine)
        for i, (recipe, share) in enumerate(runs)
    )


def _likely(shapes: Sequence[DecoderConfig], seconds: float, machine: Machine) -> tuple[float, float]:
    """Parameters of the main run that `seconds` are likely to train, and the FLOP/s that it reaches."""
    time, precision = counted_step_time(machine), precision_for(machine)
    parameters, rate = 0.0, machine.peak_flops_per_s("train")
    for _ in range(_ROUNDS):
        # C = 6 N D with D = r N gives the size.
        parameters = math.sqrt(rate * seconds / (6.0 * TOKENS_PER_PARAMETER))
        shape = min(shapes, key=lambda one: abs(math.log(one.parameters() / parameters)))
        recipe = _over(train_recipe(shape, LEAST_STEPS, 1, precision), TOKENS_PER_PARAMETER * parameters)
        rate = _round_rate(flops_per_step(recipe) / time.seconds(recipe))
    return parameters, rate


def _over(recipe: TrainRecipe, tokens: float) -> TrainRecipe:
    """`recipe` over about `tokens`, in the batch that asks for."""
    context = recipe.model.context_tokens
    sequences = settle(lambda n: tokens, context)
    return recipe.model_copy(
        update={"batch_sequences": sequences, "steps": max(LEAST_STEPS, coarse(tokens / (sequences * context)))}
    )


def _longest(runs: list[tuple[TrainRecipe, float]], flops: float, facts: DataFacts) -> float:
    """The tokens of the longest pilot, such that all of them together take `flops`; at most one pass over the data."""

    def all_flops(tokens: float) -> float:
        fitted = (_over(recipe, share * tokens) for recipe, share in runs)
        return sum(flops_per_step(one) * one.steps for one in fitted)

    low, high = 1.0, float(facts.train_tokens)
    if all_flops(high) <= flops:
        return high
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if all_flops(middle) <= flops else (low, middle)
    return low


def _round_rate(flops_per_s: float) -> float:
    """The rate rounded down to a half power of two: two probes of one machine mostly give the same pilots."""
    return 2.0 ** (math.floor(2.0 * math.log2(flops_per_s)) / 2.0)
