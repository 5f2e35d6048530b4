import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from aether.stages.data.estimate import estimate
from aether.stages.data.recipe import DataRecipe

RECIPE = DataRecipe(sources=("python:stdlib",), out_of_distribution=("python:package/numpy",))


def test_the_demo_is_predicted():
    """The measured run: about 22 CPU seconds, 220 MB, 7.3 M training tokens for 31.5 MB."""
    found = estimate(RECIPE, 31_525_224, threads=1, documents=1790)
    for value, measured in ((found.time, 22.0), (found.memory, 220e6), (found.train_tokens, 7.35e6)):
        assert value.interval is not None and value.interval.low < measured < value.interval.high
        assert value.value is not None and abs(sum(t.value for t in value.terms) - value.value) < 1e-6 * value.value


@given(st.integers(1, 10**13), st.integers(1, 64))
def test_more_input_takes_more_and_threads_never_slow_down(size, threads):
    one, twice = estimate(RECIPE, size, threads), estimate(RECIPE, 2 * size, threads)
    assert (one.time.value or 0) < (twice.time.value or 0)
    assert (estimate(RECIPE, size, threads + 1).time.value or 0) <= (one.time.value or 0)


def test_planning_loads_nothing_heavy():
    code = (
        "import sys\nimport aether.stages.data.estimate, aether.stages.data.sources\n"
        "heavy = {'torch', 'transformers', 'tokenizers', 'pyarrow', 'rensa', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
