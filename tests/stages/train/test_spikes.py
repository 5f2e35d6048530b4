"""The ladder: believed, skipped, rewound."""

import json
import math

import pytest

from aether.stages.train.recipe_watch import Spikes
from aether.stages.train.spikes import LEAST_HISTORY_STEPS, SpikeGuard


def steady(guard: SpikeGuard, steps: int = 64) -> None:
    for step in range(steps):
        assert guard.judge(3.0 + 0.01 * (step % 5), 1.0 + 0.05 * (step % 3)) == "apply"


def test_a_spike_of_loss_or_gradient_is_skipped_and_counted():
    guard = SpikeGuard(Spikes())
    steady(guard)
    assert guard.judge(3.5, 1.0) == "skip"
    assert guard.judge(3.0, 9.0) == "skip"
    assert guard.judge(3.0, 1.0) == "apply"
    assert (guard.skipped_steps, guard.rewinds) == (2, 0)


def test_a_lower_loss_is_no_spike_and_a_short_history_calls_none():
    guard = SpikeGuard(Spikes())
    steady(guard, LEAST_HISTORY_STEPS - 1)
    assert guard.judge(30.0, 1.0) == "apply"
    guard = SpikeGuard(Spikes())
    steady(guard)
    assert guard.judge(0.1, 0.01) == "apply"


@pytest.mark.parametrize("loss, norm", [(math.nan, 1.0), (math.inf, 1.0), (3.0, math.nan), (3.0, math.inf)])
def test_what_is_not_finite_is_never_applied(loss, norm):
    guard = SpikeGuard(Spikes())
    assert guard.judge(loss, norm) == "skip"


def test_skips_in_a_row_rewind():
    guard = SpikeGuard(Spikes(skips_before_rewind=3))
    steady(guard)
    assert [guard.judge(9.0, 1.0) for _ in range(4)] == ["skip", "skip", "rewind", "skip"]
    assert (guard.skipped_steps, guard.rewinds) == (4, 1)


def test_the_state_is_json_and_exact():
    guard, other = SpikeGuard(Spikes()), SpikeGuard(Spikes())
    steady(guard, 50)
    guard.judge(math.nan, 1.0)
    other.load(json.loads(json.dumps(guard.state())))
    assert other.state() == guard.state()
    for loss, norm in ((3.2, 1.1), (3.06, 1.3), (9.0, 1.0)):
        assert guard.judge(loss, norm) == other.judge(loss, norm)


def test_skips_within_the_window_cut_the_rate_and_accepted_steps_bring_it_back():
    guard = SpikeGuard(Spikes(recover_steps=10))
    steady(guard)
    judged = []
    for _ in range(4):
        judged.append(guard.judge(9.0, 1.0))
        guard.judge(3.0, 1.0)
    assert judged == ["skip", "skip", "skip", "cut"] and guard.cuts == 1
    assert guard.rate_share == pytest.approx(0.5 * 2**0.1)
    steady(guard, 10)
    assert guard.rate_share == 1.0


def test_a_cut_below_the_least_share_rewinds_and_the_rates_stay_cut():
    guard = SpikeGuard(Spikes(skips_before_cut=1, rewinds=1))
    steady(guard)
    before = guard.state()
    assert [guard.judge(9.0, 1.0) for _ in range(4)] == ["cut", "cut", "cut", "rewind"]
    guard.rewind_to(before)
    assert guard.rate_share == 0.125 and (guard.skipped_steps, guard.cuts, guard.rewinds) == (4, 3, 1)
    assert guard.judge(9.0, 1.0) == "stop"


def test_old_skips_leave_the_window():
    guard = SpikeGuard(Spikes(window_steps=40))
    steady(guard)
    for _ in range(4):
        assert guard.judge(9.0, 1.0) == "skip"
        assert not guard.calm
        steady(guard, 40)
        assert guard.calm


def test_the_ladders_fields_at_their_default_are_not_in_a_dump():
    assert set(Spikes().model_dump()) == {
        "sigmas", "window_steps", "skips_before_rewind", "snapshot_every_steps", "rewinds"
    }  # fmt: skip
    assert Spikes.model_validate(Spikes(cut_factor=0.25).model_dump()) == Spikes(cut_factor=0.25)
    assert Spikes(cut_factor=0.25).model_dump()["cut_factor"] == 0.25
