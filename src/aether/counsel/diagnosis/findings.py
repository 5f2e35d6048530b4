"""Finds symptoms in the series of a training log. Each rule is one function over the points, its threshold a constant that says its status.

The rules are ours; robust scale is 1.4826 times the median absolute deviation (as for a normal distribution). They see what was
logged, not what was not: a symptom that is not found may still be there. What it may mean is data (`knowledge.training_symptoms`).
"""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from aether.counsel.diagnosis.logs import Log, Point

_ROBUST = 1.4826
LEAST_POINTS = 20
"""Fewer points of a series say too little for a trend (assumed)."""
SPIKE_SIGMAS = 8.0
"""A loss this many robust deviations above the median around it is a spike (assumed; residuals of smooth curves reach four)."""
SPIKE_RISE = 0.1
"""And at least this share above it (assumed)."""
DIVERGED_RISE = 0.2
"""The end of a curve this share above its lowest stretch has diverged (assumed)."""
PLATEAU_SHARE = 0.3
"""The last share of the steps in which nothing improved (assumed)."""
PLATEAU_FALL = 0.01
"""And over which it fell by less than this share (assumed)."""
OVERFIT_RISE = 0.02
"""Held-out loss this share above its minimum, while the training loss fell (assumed)."""
OVERFIT_SIGMAS = 3.0
"""And by at least this many deviations of its noise, where there are enough points to know it (assumed)."""
_KNOWN_NOISE = 8
STALL_FACTOR = 5.0
"""A step this many times the median is a stall (assumed)."""
INPUT_SHARE = 0.2
"""Waiting for data this share of a step is slow input (assumed)."""
DECAY = 0.85
"""Throughput of the last fifth below this share of that of the second fifth (assumed)."""
GROWTH = 4.0
"""The gradient norm of the last fifth over that of the second fifth (assumed)."""
NO_SIGNAL = 0.55
"""Mean accuracy of rewards at the end of a preference training, a coin being one half (assumed)."""
KL_RUNAWAY = 10.0
"""The divergence at the end over its median in the first half (assumed)."""
_LINES = 3


@dataclass(frozen=True)
class Fact:
    """A number that was measured on the log."""

    name: str
    value: float
    unit: str = "count"


@dataclass(frozen=True)
class Found:
    """A symptom with the lines and the numbers that show it."""

    key: str
    facts: tuple[Fact, ...]
    lines: tuple[int, ...]


def find(log: Log) -> tuple[Found, ...]:
    """Every symptom, in the order of the rules."""
    return tuple(found for rule in RULES for found in rule(log))


def _not_finite(log: Log) -> Iterator[Found]:
    bad = [
        p for name in ("loss", "val_loss", "grad_norm") for p in log.series.get(name, []) if not math.isfinite(p.value)
    ]
    counted = [p for p in log.series.get("nan_steps", []) if p.value > 0]
    if found := sorted(bad + counted, key=lambda p: p.line):
        first = found[0]
        facts = (Fact("first step", first.step), Fact("lines with it", len(found)))
        yield Found("not-finite", facts, _lines(found))


def _messages(log: Log) -> Iterator[Found]:
    for key, lines in log.said.items():
        symptom = "loss-scale-collapse" if key == "overflow" else key
        if key == "overflow" and len(lines) < LEAST_POINTS:
            continue  # a dynamic scale starts high on purpose: a few skips are how it finds its place
        yield Found(symptom, (Fact("lines with it", len(lines)),), tuple(lines[:_LINES]))


def _spikes(log: Log) -> Iterator[Found]:
    points = log.finite("loss")
    if len(points) < LEAST_POINTS:
        return
    values = [p.value for p in points]
    spikes: list[tuple[Point, float]] = []
    half = max(5, min(25, len(points) // 8))
    for i, point in enumerate(points):
        around = values[max(0, i - half) : i] + values[i + 1 : i + 1 + half]
        middle = statistics.median(around)
        deviation = _ROBUST * statistics.median(abs(v - middle) for v in around)
        early = i < half and point.value <= max(values[:half])
        if (
            not early
            and point.value > middle * (1 + SPIKE_RISE)
            and point.value > middle + SPIKE_SIGMAS * max(deviation, 1e-3 * middle)
        ):
            spikes.append((point, point.value / middle))
    if spikes:
        worst = max(spikes, key=lambda s: s[1])
        facts = (
            Fact("spikes", len(spikes)),
            Fact("step of the largest", worst[0].step),
            Fact("its loss over the loss around it", worst[1], "ratio"),
        )
        yield Found("spike", facts, _lines([point for point, _ in spikes]))


def _diverged(log: Log) -> Iterator[Found]:
    points = log.finite("loss")
    if len(points) < LEAST_POINTS:
        return
    smooth = _smoothed([p.value for p in points])
    lowest = min(range(len(smooth)), key=smooth.__getitem__)
    end = smooth[-1]
    if lowest < len(points) - 5 and smooth[lowest] > 0 and end > smooth[lowest] * (1 + DIVERGED_RISE):
        facts = (
            Fact("step of the lowest loss", points[lowest].step),
            Fact("lowest loss", smooth[lowest], "nat/token"),
            Fact("loss at the end", end, "nat/token"),
        )
        yield Found("diverged", facts, _lines([points[lowest], points[-1]]))
        warming = log.finite("learning_rate")
        if warming and points[lowest].step <= max(warming, key=lambda p: p.value).step * 1.2:
            peak = max(warming, key=lambda p: p.value)
            yield Found(
                "learning-rate-high",
                (Fact("highest rate", peak.value), Fact("at step", peak.step)),
                _lines([peak, points[lowest]]),
            )


def _plateau(log: Log) -> Iterator[Found]:
    points = log.finite("loss")
    if len(points) < 2 * LEAST_POINTS or next(_diverged(log), None) is not None:
        return
    last = points[int(len(points) * (1 - PLATEAU_SHARE)) :]
    half = len(last) // 2
    middle, low, high = _difference([p.value for p in last[:half]], [p.value for p in last[half:]])
    flat = abs(_slope(last)) * (last[-1].step - last[0].step) < PLATEAU_FALL * abs(last[0].value)
    if flat and (low <= 0 <= high or middle <= 0):
        facts = (Fact("first step without improvement", last[0].step), Fact("last step", last[-1].step))
        yield Found("plateau", facts, _lines([last[0], last[-1]]))


def _overfitting(log: Log) -> Iterator[Found]:
    held, trained = log.finite("val_loss"), log.finite("loss")
    if len(held) < 3 or len(trained) < 3:
        return
    best = min(held, key=lambda p: p.value)
    values = [p.value for p in held]
    end = statistics.median(values[-3:]) if len(values) >= _KNOWN_NOISE else values[-1]
    rise = max(best.value * OVERFIT_RISE, OVERFIT_SIGMAS * _noise(values))
    if held[-1].step > best.step and end > best.value + rise:
        after = [p.value for p in trained if p.step >= best.step]
        before = [p.value for p in trained if p.step < best.step][-len(after) :]
        if not before:  # it rose from the first evaluation on
            before, after = after[: len(after) // 2], after[len(after) // 2 :]
        if after and before and statistics.fmean(after) < statistics.fmean(before):
            facts = (
                Fact("step of the lowest held-out loss", best.step),
                Fact("lowest held-out loss", best.value, "nat/token"),
                Fact("held-out loss at the end", held[-1].value, "nat/token"),
            )
            yield Found("overfitting", facts, _lines([best, held[-1]]))


def _leak(log: Log) -> Iterator[Found]:
    if "kl" in log.series or next(_not_finite(log), None) is not None:
        return  # the loss of a policy is around nothing, and a step that was not finite is logged as nothing
    held, trained = log.finite("val_loss"), log.finite("loss")
    if held and trained and len(trained) >= LEAST_POINTS:
        end = statistics.fmean(p.value for p in trained[-5:])
        if 0 <= held[-1].value < 0.5 * end:
            facts = (Fact("held-out loss", held[-1].value, "nat/token"), Fact("training loss", end, "nat/token"))
            yield Found("leak", facts, _lines([held[-1], trained[-1]]))
            return
    if held and held[-1].value > 1.0:
        return  # learnt by heart: held-out text does not give its answers away
    if len(trained) >= LEAST_POINTS and 0 <= statistics.fmean(p.value for p in trained[-5:]) < 0.01:
        yield Found("leak", (Fact("training loss at the end", trained[-1].value, "nat/token"),), _lines(trained[-1:]))


def _rates(log: Log) -> Iterator[Found]:
    rates = log.finite("learning_rate")
    if len(rates) >= 5:
        gone = 0
        for point in reversed(rates):
            if point.value > 0:
                break
            gone += 1
        if gone >= max(3, len(rates) // 20) and gone < len(rates):
            first = rates[len(rates) - gone]
            yield Found(
                "learning-rate-ended",
                (Fact("first step at zero", first.step), Fact("last step", rates[-1].step)),
                _lines([first, rates[-1]]),
            )
    losses, norms = log.finite("loss"), log.finite("grad_norm")
    if len(rates) >= LEAST_POINTS and len(losses) >= LEAST_POINTS and len(norms) >= LEAST_POINTS:
        peak = max(p.value for p in rates)
        still_warming = rates[-1].value >= peak * 0.999 and rates[0].value < peak * 0.5
        moved = 1 - losses[-1].value / losses[0].value if losses[0].value > 0 else 1.0
        steady = statistics.median(p.value for p in norms[-10:]) >= 0.9 * statistics.median(p.value for p in norms[:10])
        if still_warming and 0 <= moved < 0.05 and steady:
            yield Found(
                "learning-rate-low",
                (Fact("fall of the loss", moved, "fraction"), Fact("highest rate", peak)),
                _lines([losses[0], losses[-1]]),
            )


def _gradients(log: Log) -> Iterator[Found]:
    norms = log.finite("grad_norm")
    if len(norms) < LEAST_POINTS:
        return
    fifth = len(norms) // 5
    early = statistics.median(p.value for p in norms[fifth : 2 * fifth])
    late = statistics.median(p.value for p in norms[-fifth:])
    if late < 1e-6:
        yield Found("gradient-vanished", (Fact("median norm at the end", late),), _lines(norms[-1:]))
    elif early > 0 and late > GROWTH * early:
        facts = (
            Fact("median norm early", early),
            Fact("median norm at the end", late),
            Fact("growth", late / early, "ratio"),
        )
        yield Found("gradient-growth", facts, _lines([norms[fifth], norms[-1]]))


def _loss_scale(log: Log) -> Iterator[Found]:
    scales = log.finite("loss_scale")
    if len(scales) >= LEAST_POINTS and scales[-1].value <= 1.0 < scales[0].value:
        facts = (Fact("first scale", scales[0].value), Fact("last scale", scales[-1].value))
        yield Found("loss-scale-collapse", facts, _lines([scales[0], scales[-1]]))
    skipped = _fresh(log.finite("skipped"))
    late = [p for p in skipped[len(skipped) // 2 :] if p.value > 0]
    if len(skipped) >= LEAST_POINTS and len(late) > len(skipped) // 4:
        yield Found("loss-scale-collapse", (Fact("lines with skipped steps", len(late)),), _lines(late))


def _fresh(skipped: list[Point]) -> list[Point]:
    """Skips since the line before. Some count from the beginning (DeepSpeed, Aether), some from line to line (Megatron-LM)."""
    values = [p.value for p in skipped]
    if values != sorted(values) or values[:1] == values[-1:]:
        return skipped
    return [Point(p.step, p.value - before, p.line) for before, p in zip([values[0], *values], skipped, strict=False)]


def _times(log: Log) -> Iterator[Found]:
    steps = log.finite("step_time_s")[2:]  # the first ones compile and fill caches
    if len(steps) >= LEAST_POINTS:
        middle = statistics.median(p.value for p in steps)
        slow = [p for p in steps if middle > 0 and p.value > STALL_FACTOR * middle]
        lost = sum(p.value - middle for p in slow) / max(sum(p.value for p in steps), 1e-12)
        if slow and lost > 0.02:
            facts = (
                Fact("slow steps", len(slow)),
                Fact("median step", middle, "s"),
                Fact("share of the time lost", lost, "fraction"),
            )
            yield Found("stall", facts, _lines(slow))
    waits = log.finite("data_time_s")
    if len(waits) >= LEAST_POINTS and steps:
        share = statistics.median(p.value for p in waits) / max(statistics.median(p.value for p in steps), 1e-12)
        if share > INPUT_SHARE:
            yield Found(
                "slow-input", (Fact("wait for data over the step", min(share, 1.0), "fraction"),), _lines(waits[-1:])
            )
    speeds = log.finite("tokens_per_s")
    if len(speeds) >= LEAST_POINTS:
        fifth = len(speeds) // 5
        early, late = (
            statistics.median(p.value for p in part) for part in (speeds[fifth : 2 * fifth], speeds[-fifth:])
        )
        if early > 0 and late < DECAY * early:
            facts = (
                Fact("early", early, "token/s"),
                Fact("at the end", late, "token/s"),
                Fact("kept", late / early, "fraction"),
            )
            yield Found("throughput-decay", facts, _lines([speeds[fifth], speeds[-1]]))
        if not steps:
            middle = statistics.median(p.value for p in speeds)
            slow = [p for p in speeds[2:] if p.value < middle / STALL_FACTOR]
            if slow:
                yield Found(
                    "stall", (Fact("slow steps", len(slow)), Fact("median speed", middle, "token/s")), _lines(slow)
                )


def _preference(log: Log) -> Iterator[Found]:
    accuracies = log.finite("reward_accuracy")
    if len(accuracies) >= LEAST_POINTS:
        end = statistics.fmean(p.value for p in accuracies[-len(accuracies) // 4 :])
        if end < NO_SIGNAL:
            yield Found(
                "no-preference-signal",
                (Fact("accuracy of rewards at the end", end, "fraction"),),
                _lines(accuracies[-1:]),
            )
    divergences = log.finite("kl")
    if len(divergences) >= LEAST_POINTS:
        usual = statistics.median(p.value for p in divergences[: len(divergences) // 2])
        end = statistics.median(p.value for p in divergences[-5:])
        if end > KL_RUNAWAY * max(usual, 1e-6) and end > 1:
            yield Found(
                "kl-runaway",
                (Fact("divergence early", usual), Fact("divergence at the end", end)),
                _lines(divergences[-1:]),
            )


def _resumes(log: Log) -> Iterator[Found]:
    points = log.finite("loss")
    for step in log.restarts:
        at = next((i for i in range(1, len(points)) if points[i].step == step and points[i - 1].step > step), None)
        if at is None or at < 5 or at + 3 > len(points):
            continue
        same = [p.value for p in points[:at] if p.step <= step][-5:]
        after = [p.value for p in points[at : at + 3]]
        if same and statistics.fmean(after) > statistics.fmean(same) * (1 + SPIKE_RISE):
            facts = (
                Fact("step of the resume", step),
                Fact("loss before", statistics.fmean(same), "nat/token"),
                Fact("loss after", statistics.fmean(after), "nat/token"),
            )
            yield Found("resume-jump", facts, _lines([points[at - 1], points[at]]))
            return


def _ends(log: Log) -> Iterator[Found]:
    last = max((p.step for points in log.series.values() for p in points[-1:]), default=0)
    steps = [p.step for p in log.series.get("loss", [])]
    apart = max((b - a for a, b in pairwise(steps)), default=0)  # the last steps need not have a line of their own
    if log.total_steps and last + apart < log.total_steps:
        facts = (Fact("last step", last), Fact("steps that the log announces", log.total_steps))
        yield Found("stopped-early", facts, _lines([points[-1] for points in log.series.values()][-1:]))


RULES: tuple[Callable[[Log], Iterator[Found]], ...] = (
    _not_finite, _messages, _diverged, _spikes, _resumes, _loss_scale, _overfitting, _leak, _rates, _gradients, _plateau, _times,
    _preference, _ends,
)  # fmt: skip


def _lines(points: Sequence[Point]) -> tuple[int, ...]:
    """The lines of the first points, in the order of the file."""
    return tuple(sorted({p.line for p in points if p.line})[:_LINES])


def _smoothed(values: Sequence[float]) -> list[float]:
    """A running median over a tenth of the points, at most fifteen."""
    half = max(1, min(7, len(values) // 20))
    return [statistics.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]


def _noise(values: Sequence[float]) -> float:
    """The deviation around a smooth curve, from second differences, whose variance is six times that of the noise; 0 for few points."""
    if len(values) < _KNOWN_NOISE:
        return 0.0
    bends = [abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    return _ROBUST * statistics.median(bends) / math.sqrt(6)


def _slope(points: Sequence[Point]) -> float:
    """Loss per step by the median of slopes between the halves (Theil-Sen over matched pairs)."""
    half = len(points) // 2
    pairs = zip(points[:half], points[half:], strict=False)
    return statistics.median((b.value - a.value) / max(1, b.step - a.step) for a, b in pairs)


def _difference(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float]:
    """Mean before less mean after, with its 95 % interval (Welch, normal quantile)."""
    middle = statistics.fmean(before) - statistics.fmean(after)
    error = math.sqrt(sum(statistics.variance(part) / len(part) for part in (before, after)))
    return middle, middle - 1.96 * error, middle + 1.96 * error
