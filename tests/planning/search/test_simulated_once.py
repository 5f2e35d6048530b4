"""A simulation that would be the same step by step is not made again, and no figure changes by it."""

from aether.planning.search.problem import problem_of
from aether.planning.search.serving import ServingSearch
from aether.planning.search.serving_options import simulated
from aether.policy.brief_file import to_brief

BRIEF = to_brief(
    {
        "targets": ["ttft_p99 <= 500 ms"],
        "model": {"name": "llama-3.1-8b", "task": "serve"},
        "hardware": {"name": "H100-SXM-80GB", "count": 4},
        "load": {"requests_per_s": 20.0, "prompt_tokens": 1000, "output_tokens": 200},
    },
    "test",
)


def test_what_is_known_is_what_a_simulation_says():
    search = ServingSearch(problem_of(BRIEF))
    finalists, _ = search.finalists()
    variants = [one for first in finalists[:1] for one in search._variants(first)]
    known: dict = {}
    told = [simulated(one, BRIEF.load, 0, known) for one in variants]
    assert told == [simulated(one, BRIEF.load, 0) for one in variants]
    assert sum(map(len, known.values())) < len(variants)
