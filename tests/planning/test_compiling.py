"""torch.compile is planned where the time left repays it, and nowhere else."""

import pytest
from toy_plans import demo, run_pilots, toy_facts, toy_machine

from aether.hardware.compiler import COMPILER
from aether.planning.candidates import Knowledge, candidate
from aether.planning.ladder import decoder
from aether.planning.recipes import compiles
from aether.planning.timing import StepTime, fit_step_time
from aether.stages.train.estimate import COMPILE_S, COMPILED_STEP_SHARE

SHAPE = decoder(256, 4, 4096, 256)


def knowledge(machine, **changes) -> Knowledge:
    time = fit_step_time(machine, run_pilots(demo(), machine, toy_facts()))
    facts = toy_facts().model_copy(update={"train_tokens": 10**9})
    return Knowledge(facts, StepTime(**(vars(time) | changes)), None, "bfloat16", compiles(machine))


def test_minutes_are_not_worth_compiling_and_an_hour_is():
    known = knowledge(toy_machine(supports=("avx2", COMPILER)))
    short, long = candidate(SHAPE, 300.0, known), candidate(SHAPE, 3600.0, known)
    assert short is not None and long is not None
    assert (short.recipe.compile, long.recipe.compile) == ("off", "blocks")


def test_the_time_to_compile_and_the_faster_steps_are_in_the_plans_time():
    known = knowledge(toy_machine(supports=(COMPILER,)), noise=0.0)
    plain = knowledge(toy_machine(), noise=0.0)
    long, without = candidate(SHAPE, 3600.0, known), candidate(SHAPE, 3600.0, plain)
    assert long is not None and without is not None and without.recipe.compile == "off"
    assert long.training_s <= 3600.0 and long.tokens > without.tokens
    step_s = known.step_time.seconds(long.recipe.model_copy(update={"compile": "off"}))
    expected = known.step_time.fixed_s + COMPILE_S + long.recipe.steps * step_s * COMPILED_STEP_SHARE
    assert long.training_s == pytest.approx(expected)


@pytest.mark.parametrize("changes", [{}, {"supports": (COMPILER,), "accelerator": "a GPU"}])
def test_no_compiler_or_a_gpu_means_plain(changes):
    assert not compiles(toy_machine(**changes))
