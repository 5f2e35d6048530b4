"""Which short runs are made before the plan: sizes, tokens and steps, derived from the probe alone, so that they repeat.

Three sizes a factor of about two apart with equal work each, so that the curve sees N and D move; and the smallest size
once more at a quarter of its tokens, which alone tells what more tokens are worth at one size. Sizes sit around what the
time left can train best: 20 tokens a parameter at an assumed utilisation. Batch follows `batch` as in the main run.
"""

import math

from aether.hardware.machine import Machine
from aether.planning.batch import LEAST_STEPS, coarse, settle
from aether.planning.budget import STARTS_S, budget_of, load_test_s, working_price
from aether.planning.facts import DataFacts
from aether.planning.ladder import context_for, ladder
from aether.planning.recipes import precision_for, train_recipe, train_step
from aether.planning.timing import UTILISATION_UNPROVEN, step_flops
from aether.spec.brief import Brief
from aether.spec.recipe import Step
from aether.stages.train.recipe import TrainRecipe

SHARE_OF_TIME = 0.12
"""Of the build's time, all pilots together (chosen: 72 s of 10 minutes)."""

MOST_PILOT_S = 3600.0
"""However long the build, its pilots take no longer than this (chosen)."""

TOKENS_PER_PARAMETER = 2.0
"""What a build of minutes reaches when its loss is best: batches and exponents of tiny models favour more parameters
and fewer tokens than the 20 of arXiv 2203.15556 (measured on two cores; see docs/planning.md)."""

_PIECES = 3.25
"""Equal pilots, and a quarter one."""


def pilot_steps(brief: Brief, machine: Machine, facts: DataFacts) -> tuple[Step, ...]:
    """The pilots of a brief on a machine: steps `pilot-0` .. `pilot-3` of the train stage. Raises InputError without a time bound."""
    budget = budget_of(brief, 0.0, working_price(brief, machine))
    spent_s = min(MOST_PILOT_S, SHARE_OF_TIME * budget.limit_s)
    flops_per_s = _round_rate(machine.peak_flops_per_s("train") * UTILISATION_UNPROVEN)
    # C = 6 N D with D = r N gives the size that the main run is likely to be.
    main_flops = flops_per_s * max(30.0, 0.8 * budget.limit_s - spent_s - sum(STARTS_S.values()) - load_test_s(brief))
    main = math.sqrt(main_flops / (6.0 * TOKENS_PER_PARAMETER))
    context = context_for(brief.load.prompt_tokens, brief.load.output_tokens)
    shapes = ladder(facts.vocab_size, context, 0.0, math.inf)
    sizes: list[int] = []
    for share in (0.3, 0.6, 1.2):
        fresh = [i for i in range(len(shapes)) if i not in sizes]
        sizes.append(min(fresh, key=lambda i: abs(math.log(shapes[i].parameters() / (share * main)))))
    each = spent_s * flops_per_s / _PIECES
    precision = precision_for(machine)
    recipes = [_fitting(train_recipe(shapes[i], LEAST_STEPS, 1, precision), each, facts) for i in sorted(sizes)]
    recipes.insert(0, _fitting(recipes[0], each / 4, facts))
    return tuple(train_step(f"pilot-{i}", recipe, brief, machine) for i, recipe in enumerate(recipes))


def _fitting(recipe: TrainRecipe, flops: float, facts: DataFacts) -> TrainRecipe:
    """`recipe` with the batch and the steps that spend `flops`, on no more than one pass over the data."""

    def steps_for(sequences: int) -> int:
        trial = recipe.model_copy(update={"batch_sequences": sequences})
        return coarse(min(flops / step_flops(trial), facts.train_tokens / trial.batch_tokens()))

    context = recipe.model.context_tokens
    sequences = settle(lambda n: steps_for(n) * n * context, context)
    return recipe.model_copy(update={"batch_sequences": sequences, "steps": max(LEAST_STEPS, steps_for(sequences))})


def _round_rate(flops_per_s: float) -> float:
    """The rate rounded down to a half power of two: two probes of one machine mostly give the same pilots."""
    return 2.0 ** (math.floor(2.0 * math.log2(flops_per_s)) / 2.0)
