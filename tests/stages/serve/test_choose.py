import pytest

from aether.spec.brief import Target
from aether.spec.errors import EnvironmentFault, InputError
from aether.stages.serve.choose import Trial, best, candidates, missed
from aether.stages.serve.recipe import EngineRecipe

AUTO = EngineRecipe()


def trial(engine, dtype, throughput, e2e_p50, **metrics):
    chosen = EngineRecipe(engine=engine, dtype=dtype)
    known = {} if e2e_p50 is None else {"e2e_p50": e2e_p50}
    return Trial(engine=chosen, metrics={"throughput": throughput} | known | metrics, requests=16)


def named(found):
    return [(one.engine, one.dtype) for one in found]


def test_everything_that_is_open_and_here_is_a_candidate():
    ours = [("packed", "float32"), ("packed", "bfloat16")]
    assert named(candidates(AUTO, True, True)) == [*ours, ("llama.cpp", "float16")]
    assert named(candidates(AUTO, False, False)) == [("packed", "float32")]
    assert named(candidates(EngineRecipe(dtype="float32"), True, True)) == [
        ("packed", "float32"), ("llama.cpp", "float32")
    ]  # fmt: skip
    assert named(candidates(EngineRecipe(dtype="float16"), True, True)) == [("llama.cpp", "float16")]
    assert named(candidates(EngineRecipe(engine="packed", dtype="bfloat16"), False, True)) == [("packed", "bfloat16")]


def test_what_is_not_here_or_cannot_be_is_refused():
    with pytest.raises(EnvironmentFault, match="pip install"):
        candidates(EngineRecipe(engine="llama.cpp"), True, False)
    with pytest.raises(InputError, match="packed computes"):
        EngineRecipe(engine="packed", dtype="float16")


def test_the_higher_score_wins_and_a_tie_goes_to_the_first():
    slow, fast = trial("packed", "float32", 1000, 0.010), trial("llama.cpp", "float16", 1100, 0.005)
    assert best([slow, fast], ()) is fast
    level = trial("llama.cpp", "float16", 1050, 0.010)
    assert best([slow, level], ()) is slow and best([level, slow], ()) is level


def test_targets_go_before_the_score():
    targets = (Target.model_validate("throughput >= 2000 token/s"), Target.model_validate("itl_p99 <= 10 ms"))
    busy = trial("packed", "float32", 2500, 0.5, itl_p99=0.009)
    quick = trial("llama.cpp", "float16", 1500, 0.001, itl_p99=0.001)
    assert (missed(busy, targets), missed(quick, targets)) == (0, 1)
    assert best([quick, busy], targets) is busy and best([quick, busy], ()) is quick


def test_a_request_that_took_too_long_meets_no_target():
    never = trial("packed", "float32", 9000, None)
    assert missed(never, (Target.model_validate("e2e_p99 <= 100 s"),)) == 1
    assert missed(never, (Target.model_validate("serving_memory <= 1 GB"),)) == 0
    assert best([never, trial("llama.cpp", "float16", 1, 1.0)], ()).engine.engine == "llama.cpp"
