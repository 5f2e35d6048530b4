"""The guard on losses and gradient norms of real healthy trainings (benchmarks/spikes.py, `--traces`), as they were and with trouble planted."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from aether.stages.train.recipe_watch import Spikes
from aether.stages.train.spikes import SpikeGuard

TRACES = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "golden" / "healthy_trainings.jsonl").read_text().splitlines()
]
PLACES = st.integers(100, 190)
TRACE = st.sampled_from(range(len(TRACES)))


def judged(losses: list[float], norms: list[float]) -> list[str]:
    guard = SpikeGuard(Spikes(skips_before_rewind=10**9))
    return [guard.judge(loss, norm) for loss, norm in zip(losses, norms, strict=True)]


def test_no_healthy_training_is_cut_and_few_of_its_updates_are_skipped():
    said = [judged(one["losses"], one["norms"]) for one in TRACES]
    assert len(said) >= 20 and sum(map(len, said)) > 5000
    assert not any("cut" in each for each in said)
    assert 0 < sum(each.count("skip") for each in said) / sum(map(len, said)) < 0.003, (
        "none at all would be a blind guard"
    )


@settings(max_examples=25, deadline=None)
@given(TRACE, PLACES, st.floats(20, 1000), st.sampled_from(["losses", "norms"]))
def test_a_planted_spike_is_never_applied(which, place, times, where):
    trace = {key: list(TRACES[which][key]) for key in ("losses", "norms")}
    trace[where][place] *= times
    assert judged(trace["losses"], trace["norms"])[place] != "apply"


@settings(max_examples=20, deadline=None)
@given(TRACE, PLACES, st.floats(1.3, 2))
def test_norms_that_grow_without_end_are_cut(which, place, growth):
    """By the same factor at each update: a mean and its deviation would grow with them."""
    losses = TRACES[which]["losses"][: place + 10]
    norms = TRACES[which]["norms"][: place + 10]
    losses, norms = losses + losses[-50:], norms + [norms[-1] * growth**n for n in range(1, 51)]
    assert "cut" in judged(losses, norms)


def test_a_constant_factor_of_the_norm_changes_nothing():
    for one in TRACES[:3]:
        scaled = [1e3 * norm for norm in one["norms"]]
        assert judged(one["losses"], scaled) == judged(one["losses"], one["norms"])
