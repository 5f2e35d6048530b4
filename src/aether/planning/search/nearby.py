"""The nearest briefs that can be met: one change along each axis, each planned again by the same search before it is said.

Axes: what is asked (a looser target), less traffic, the number format, a smaller model of the family, more of the same devices,
other devices, fewer tokens. When no single change helps, two together are tried. The briefs are searched, not proved nearest: along
an axis the first feasible of a ladder is taken, for loads and counts of devices the nearest of a fine ladder, by leaps and halving.
Counts are those that are rented and split: powers of two inside a node, whole nodes beyond. Deployments that the steady estimate
rules out with the good ends of its intervals are not simulated, so that a brief which only a simulation would find feasible is lost.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

from aether.knowledge.library import device
from aether.knowledge.models_library import published_model, spelled
from aether.models.accounting import parameters
from aether.planning.search.decide import Found, search
from aether.planning.search.problem import Problem, problem_of
from aether.planning.search.serving import ServingSearch
from aether.planning.search.standing import certain_end, standing_of
from aether.spec.brief import Brief, Hardware, Target
from aether.spec.errors import InputError
from aether.spec.fleet import FleetOption, Nearby
from aether.spec.units import humanize

AXES = ("target", "load", "precision", "model", "count", "hardware", "tokens")
LADDER = ("L40S", "H100-SXM-80GB", "H200-SXM-141GB", "B200", "GB300", "MI300X", "MI355X")
"""Devices that are tried in place of the brief's, small ones first."""
_NODES = tuple(sorted(share << power for power in range(14) for share in (1, 3)))
"""Whole nodes that are tried: powers of two, and three times those."""
_LEAPS = 5
"""Rungs of a ladder that are tried, ever farther apart, before the nearest is sought between the last two (chosen)."""
_TRIES = 2
"""Models and devices that are tried along one axis."""

_MOST_DEVICES = 131_072
_LARGER = 4
"""Times the usual batch of pretraining: some 16 M tokens (assumed: as large dense runs report)."""

Change = tuple[Brief, str, tuple[str, ...]]
"""A brief, what was changed in words, and as settings."""


def nearest(problem: Problem, found: Found, axes: Sequence[str] = AXES) -> tuple[Nearby, ...]:
    """A feasible brief along each of these axes that has one; where none has, one that changes two things."""
    brief, offered = problem.brief, []
    for axis in axes:
        changes = _changes(axis, brief, problem, found)
        if axis in ("load", "count"):
            made = _closest(axis, list(changes))
        else:
            made = next((one for change in changes if (one := _checked(axis, change)) is not None), None)
        if made is None and axis == "count" and (larger := _larger_batch(brief, problem)) is not None:
            made = _closest("several", list(_more(larger[0], problem_of(larger[0]), found, larger)))
        if made is not None:
            offered.append(made)
    if offered:
        return tuple(offered)
    for base in (
        *_first(_more(brief, problem, found)),
        *_first(_other(brief, problem)),
        *_first(_smaller(brief, problem)),
    ):
        for second in (_relaxed, _fitting_tokens):
            made = _second(base, second)
            if made is not None:
                offered.append(made)
        if offered:
            break
    return tuple(offered)


def _closest(axis: str, ladder: Sequence[Change]) -> Nearby | None:
    """The nearest feasible rung of a ladder whose later rungs ask for less: the nearest that the steady estimates do not rule out, and
    from there on by simulation."""

    @functools.cache
    def problem(place: int) -> Problem | None:
        return _promising(ladder[place][0])

    @functools.cache
    def offer(place: int) -> Nearby | None:
        found = problem(place)
        return None if found is None else _offered(axis, ladder[place], found)

    first = nearest_rung(0, len(ladder), lambda place: problem(place) is not None)
    best = None if first is None else nearest_rung(first, len(ladder), lambda place: offer(place) is not None)
    return None if best is None else offer(best)


def nearest_rung(start: int, end: int, holds: Callable[[int], bool]) -> int | None:
    """The first rung that holds: leaps from `start` until one does, then halving."""
    low = start - 1
    for high in (start + 2**n - 1 for n in range(_LEAPS)):
        if high >= end:
            return None
        if holds(high):
            break
        low = high
    else:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _first(changes: Iterator[Change]) -> list[Change]:
    return list(itertools.islice(changes, 2))


def _second(base: Change, then: Callable[[Brief], Change | None]) -> Nearby | None:
    """Two changes at once."""
    try:
        second = then(base[0])
    except InputError:
        return None
    if second is None:
        return None
    return _checked("several", (second[0], f"{base[1]}, and {second[1]}", (*base[2], *second[2])))


def _checked(axis: str, change: Change) -> Nearby | None:
    """The change as an offer, when the same search finds it feasible."""
    problem = _promising(change[0])
    return None if problem is None else _offered(axis, change, problem)


def _promising(brief: Brief) -> Problem | None:
    """The problem of a brief that no estimate rules out before simulations."""
    try:
        problem = problem_of(brief)
        if problem.task == "serve" and not ServingSearch(problem).promising():
            return None
    except InputError:
        return None
    return problem


def _offered(axis: str, change: Change, problem: Problem) -> Nearby | None:
    try:
        found = search(problem, wanted="one")
    except InputError:
        return None
    if found.shortfalls or not found.feasible:
        return None
    assert axis in ("target", "load", "precision", "model", "count", "hardware", "tokens", "several")
    return Nearby(axis=axis, change=change[1], settings=change[2], decided=found.options[0].name)


def _changes(axis: str, brief: Brief, problem: Problem, found: Found) -> Iterator[Change]:
    if axis == "target":
        change = None if any(s.subject == "memory" for s in found.shortfalls) else _relaxed(brief)
        if change is not None:
            yield change
    elif axis == "load":
        yield from _lighter(brief, problem, found)
    elif axis == "precision":
        yield from _formats(brief, problem)
    elif axis == "model":
        yield from _smaller(brief, problem)
    elif axis == "count":
        yield from _more(brief, problem, found)
    elif axis == "hardware":
        yield from _other(brief, problem)
    elif problem.training is not None and not any(s.subject == "memory" for s in found.shortfalls):
        change = _fitting_tokens(brief)
        if change is not None:
            yield change


def _relaxed(brief: Brief) -> Change | None:
    """The targets that cannot be met, at what the option that comes nearest to all of them keeps at 90 %."""
    options = search(problem_of(brief), bounded=False).options
    changes = [changed for option in options if (changed := _ends(option, brief.targets))]
    if not changes:
        return None

    def distance(changed: dict[str, float]) -> float:
        return sum(abs(math.log(changed[t.metric] / t.value)) for t in brief.targets if t.metric in changed)

    best = min(changes, key=distance)
    targets = tuple(t.model_copy(update={"value": best.get(t.metric, t.value)}) for t in brief.targets)
    changed = [t for t in targets if t.metric in best]
    words = "ask for " + " and ".join(str(t) for t in changed)
    return brief.model_copy(update={"targets": targets}), words, tuple(str(t).replace(",", "") for t in changed)


def _ends(option: FleetOption, targets: Sequence[Target]) -> dict[str, float]:
    """Missed targets at what the option keeps at 90 %."""
    found = {}
    for target in targets:
        estimate = option.estimate(target.metric)
        if estimate is not None and estimate.value is not None and standing_of(target, estimate) == "missed":
            found[target.metric] = _rounded(certain_end(target, estimate), up=target.comparison == "<=")
    return found


def _fitting_tokens(brief: Brief) -> Change | None:
    """As many tokens as time and money are enough for."""
    if brief.model is None or brief.model.tokens is None:
        return None
    bounded = [t for t in brief.targets if t.metric in ("build_time", "build_cost")]
    options = search(problem_of(brief.model_copy(update={"targets": ()}))).options
    if not bounded or not options:
        return None
    factors = []
    for option in options:
        ends = [e for t in bounded if (e := option.estimate(t.metric)) is not None and e.interval is not None]
        if len(ends) == len(bounded):
            factors.append(max(certain_end(t, e) / t.value for t, e in zip(bounded, ends, strict=True)))
    if not factors or min(factors) <= 1:
        return None
    return _with_tokens(brief, brief.model.tokens / min(factors) / 1.05)


def _with_tokens(brief: Brief, tokens: float) -> Change:
    assert brief.model is not None
    tokens = floored(tokens)
    model = brief.model.model_copy(update={"tokens": tokens})
    words = f"train on {humanize(tokens, 'count')} tokens (what that costs in quality: `aether fit-scaling`)"
    return brief.model_copy(update={"model": model}), words, (f"model.tokens={tokens:.6g}",)


def _rounded(value: float, up: bool) -> float:
    """Two digits, away from what was missed, with a twentieth to spare for the chance in a simulation."""
    value *= 1.05 if up else 1 / 1.05
    scale = 10.0 ** (math.floor(math.log10(value)) - 1)
    return (math.ceil if up else math.floor)(value / scale) * scale


def _lighter(brief: Brief, problem: Problem, found: Found) -> Iterator[Change]:
    """Fewer requests: what the devices were found to take, then ever smaller shares of it."""
    rate = next((s for s in found.shortfalls if s.subject == "load.requests_per_s"), None)
    if problem.task != "serve" or any(s.subject == "memory" for s in found.shortfalls):
        return
    most = rate.best if rate else brief.load.requests_per_s / 2
    for share in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05):
        asked = floored(most * share)
        load = brief.load.model_copy(update={"requests_per_s": asked})
        words = f"send {asked:g} requests/s instead of {brief.load.requests_per_s:g}"
        yield brief.model_copy(update={"load": load}), words, (f"load.requests_per_s={asked:g}",)


def floored(value: float) -> float:
    """Two digits, downwards."""
    scale = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.floor(value / scale) * scale


def _formats(brief: Brief, problem: Problem) -> Iterator[Change]:
    assert brief.model is not None
    if brief.model.formats:
        model = brief.model.model_copy(update={"formats": ()})
        yield brief.model_copy(update={"model": model}), "allow every number format", ("model.formats=[]",)
    if problem.task == "serve" and brief.quality_loss_bound < 0.05:
        words = "accept a published loss of quality of up to 5 %"
        yield brief.model_copy(update={"quality_loss_bound": 0.05}), words, ("quality_loss_bound=0.05",)


def _smaller(brief: Brief, problem: Problem) -> Iterator[Change]:
    """Smaller published models, those whose names begin alike first, large ones first."""
    assert brief.model is not None
    own, size = problem.model.lower(), problem.counts.total
    series, family = own.rsplit("-", 1)[0], own.split("-")[0]
    alike = (published_model(name) for name in spelled() if name.startswith(family))
    sizes = {model.name: parameters(model.architecture).total for model in alike}
    smaller = [name for name, count in sizes.items() if count < 0.8 * size]
    smaller.sort(key=lambda name: (not name.startswith(series), -sizes[name]))
    tried: list[float] = []
    for name in smaller:
        if tried and sizes[name] > 0.6 * tried[-1]:
            continue
        tried.append(sizes[name])
        model = brief.model.model_copy(update={"name": name})
        words = f"take the smaller {name} ({sizes[name] / 1e9:.3g} B parameters); its quality is another, and must be measured"
        yield brief.model_copy(update={"model": model}), words, (f"model.name={name}",)
        if len(tried) == _TRIES:
            return


def _larger_batch(brief: Brief, problem: Problem) -> Change | None:
    """Pretraining with a larger batch where the brief left it open: the usual one keeps no more than some thousand devices busy."""
    training = problem.training
    assert brief.model is not None
    if training is None or problem.task != "pretrain" or brief.model.batch_tokens is not None:
        return None
    batch = _LARGER * training.global_batch * training.sequence_tokens
    model = brief.model.model_copy(update={"batch_tokens": batch})
    words = f"steps of {humanize(batch, 'count')} tokens (with a learning rate for that batch)"
    return brief.model_copy(update={"model": model}), words, (f"model.batch_tokens={batch}",)


def _more(brief: Brief, problem: Problem, found: Found, besides: Change | None = None) -> Iterator[Change]:
    """More of the same devices: only counts that the known factor does not rule out. `besides`: what `brief` changes already."""
    assert brief.hardware is not None
    shared = ("memory", "load.requests_per_s", "build_time", "throughput")
    least = max((s.factor for s in found.shortfalls if s.subject in shared), default=1.0)
    if problem.training is not None and not any(s.subject in ("memory", "layout") for s in found.shortfalls):
        # So many devices at least, were the fastest run to lose nothing by more of them.
        options, time = search(problem, bounded=False).options, problem.target("build_time")
        ends = [certain_end(time, e) / time.value for o in options if time and (e := o.estimate("build_time"))]
        least = max(least, min(ends, default=1.0))
    counts, here = counts_of(problem), max(map(brief.hardware.count_of, brief.hardware.names))
    if any(s.subject == "layout" for s in found.shortfalls):
        # Degrees of parallelism do not multiply to this number: some devices stand by as spares.
        for count in (n for n in reversed(counts) if n < here):
            hardware, settings = counted(brief.hardware, count)
            words = f"use {count:,} of the {here:,} devices, the others as spares"
            yield brief.model_copy(update={"hardware": hardware}), words, settings
        return
    for count in counts:
        if count > here and count >= 0.99 * least * here:
            hardware, settings = counted(brief.hardware, count)
            words = f"take {count} devices"
            if besides is not None:
                words, settings = f"{words}, and {besides[1]}", (*settings, *besides[2])
            yield brief.model_copy(update={"hardware": hardware}), words, settings


def counted(hardware: Hardware, count: int) -> tuple[Hardware, tuple[str, ...]]:
    """So many of every kind, and the settings that say so."""
    settings = (f"hardware.count={count}", *(("hardware.counts={}",) if hardware.counts else ()))
    return hardware.model_copy(update={"count": count, "counts": {}}), settings


def counts_of(problem: Problem) -> list[int]:
    """Counts that can be had: powers of two inside a node (or NVLink domain, or pod) of the largest kind, whole nodes beyond."""
    node = max(priced.device.devices_per_node or 1 for priced in problem.hardware)
    inside = {1 << power for power in range(node.bit_length()) if 1 << power < node}
    return sorted(inside | {node * many for many in _NODES if node * many <= _MOST_DEVICES})


def _other(brief: Brief, problem: Problem) -> Iterator[Change]:
    assert brief.hardware is not None
    own = {p.device.name for p in problem.hardware}
    best = max(p.device.memory_bandwidth_bytes_per_s for p in problem.hardware)
    better = [n for n in LADDER if n not in own and device(n).memory_bandwidth_bytes_per_s > best]
    for name in better[:_TRIES]:
        here = max(map(brief.hardware.count_of, brief.hardware.names))
        hardware, said = counted(brief.hardware, here)
        hardware = hardware.model_copy(update={"name": name, "others": ()})
        settings = (f"hardware.name={name}", *(said if brief.hardware.counts else ()))
        yield brief.model_copy(update={"hardware": hardware}), f"take {here} {name}", settings
