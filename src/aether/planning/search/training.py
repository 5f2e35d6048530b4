"""The search for a training run: every layout bounded, the promising estimated, the best ranked.

For each layout the least recomputation that fits is taken. What is estimated is the fitted step time
(`planning.training.step`); a whole run adds what failures cost (`planning.reliability`).
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from aether.knowledge.library import Device
from aether.planning.exports.training import TOOLS, expressible
from aether.planning.reliability import TrainingJob, best_interval_s, shares
from aether.planning.search.pareto import Merit, front
from aether.planning.search.problem import Problem
from aether.planning.search.quality import quality_of
from aether.planning.search.reasons import Pruned, Reason
from aether.planning.search.training_space import RECOMPUTE, TrainingLayout, TrainingSpace
from aether.planning.training.calibration import calibration
from aether.planning.training.estimate import MEMORY_HALFWIDTH, step_parts
from aether.planning.training.memory import Memory, ledger
from aether.planning.training.setup import Recompute, TrainingSetup
from aether.spec.plan import Estimate

ESTIMATED, LEAST_ESTIMATED = 420, 40
"""Layouts whose step time is estimated, in all and for each device and precision; a coarse one ranks the others below
(chosen: half a second)."""
FINALISTS = 7
CHECKPOINT_S, RESTART_S = 30.0, 600.0
"""What a checkpoint holds training up, and a restart (assumed: asynchronous saves, a warm spare)."""
_SAFE = 1 + MEMORY_HALFWIDTH


@dataclass(frozen=True, eq=False)
class TrainingCandidate:
    """A layout with its memory and its step time."""

    layout: TrainingLayout
    setup: TrainingSetup
    memory: Memory
    step_s: float
    halfwidth: float
    """Of the 80 % interval, in the logarithm of time."""
    run_s: float
    """The whole run, failures included."""
    goodput: float

    @property
    def hours(self) -> float:
        """Device-hours of the run."""
        return self.run_s * self.setup.devices / 3600

    @property
    def fits_surely(self) -> bool:
        """Whether the bad end of the memory's interval fits."""
        return self.memory.total_bytes * _SAFE <= self.layout.priced.device.memory_bytes

    @property
    def complexity(self) -> int:
        """Kinds of parallelism beyond data parallelism, and low precision."""
        one = self.layout.layout
        degrees = (one.tp > 1, one.pp > 1, one.cp > 1, one.ep > 1, self.layout.precision != "bf16")
        return sum(degrees)


@dataclass
class TrainingScreened:
    """What was seen on the way."""

    found: list[TrainingCandidate] = field(default_factory=list)
    least_excess: tuple[float, TrainingLayout] | None = None
    """The smallest memory that a layout lacks, in bytes, and which."""


class _Held:
    """A layout with its recomputation, what it takes of memory and, where that is asked for, of time: neither changes with the targets or
    the tokens of a brief."""

    def __init__(self, setup: TrainingSetup, recompute: Recompute, device: Device) -> None:
        self.setup, self.device, self.memory = setup, device, ledger(setup, recompute)

    @cached_property
    def step_s(self) -> float:
        """Seconds of a step."""
        return sum(step_parts(self.setup, self.device).values())


_KEPT = 16_384
"""Layouts that are kept (chosen: more than the searches for near briefs visit)."""
_held: dict[tuple, _Held] = {}


class TrainingSearch:
    """One search."""

    def __init__(self, problem: Problem, bounded: bool = True) -> None:
        self.problem, self.pruned = problem, Pruned()
        self.space = TrainingSpace(problem, self.pruned, bounded)
        self.quality: dict[str, Estimate] = {
            form: quality_of(problem.model, problem.counts.total, form, problem.task, self.space.training.method)
            for form in problem.formats
        }

    def finalists(self) -> tuple[list[TrainingCandidate], TrainingScreened]:
        """Those that no other beats, best first. None: nothing fits into memory."""
        seen = self._screen()
        best = self._spread(self._expressible(front(seen.found, self.merit)))
        chosen = {id(one) for one in best}
        for one in seen.found:
            if id(one) not in chosen:
                missed = self._missed(one) and not all(map(self._missed, best))
                self.pruned.add(Reason.ESTIMATE if missed else Reason.DOMINATED, one.layout.named)
        return best, seen

    def _expressible(self, found: Sequence[TrainingCandidate]) -> list[TrainingCandidate]:
        """Those that can be written out for a tool, or are of a framework that nothing is written for; all, where no tool knows the
        model."""
        kept = [one for one in found if one.setup.software.framework not in TOOLS or expressible(one.setup)]
        if not kept:
            return list(found)
        for one in found:
            if one not in kept:
                self.pruned.add(Reason.TOOL, one.layout.named)
        return kept

    def merit(self, one: TrainingCandidate) -> Merit:
        """Coordinates of a candidate."""
        price = one.layout.priced.price_usd_per_hour
        return Merit(
            format=one.layout.precision,
            quality_loss=self.quality[one.layout.precision].value,
            speed_s=one.run_s,
            memory_bytes=one.memory.total_bytes,
            cost=None if price is None else one.hours * price,
            device_hours=one.hours,
            device=one.layout.priced.device.name,
            complexity=one.complexity,
        )

    def _spread(self, best: Sequence[TrainingCandidate]) -> list[TrainingCandidate]:
        """The fastest that surely fits in each precision on each device, the simplest, the smallest, then others by time."""
        ordered = sorted(best, key=lambda one: (not one.fits_surely, one.run_s))
        heads: dict[tuple[str, ...], TrainingCandidate] = {}
        for one in ordered:
            heads.setdefault((one.layout.precision, one.layout.priced.device.name), one)
        for one in sorted(ordered, key=lambda one: (one.complexity, one.run_s))[:1]:
            heads.setdefault(("simplest",), one)
        for one in sorted(ordered, key=lambda one: one.memory.total_bytes)[:1]:
            heads.setdefault(("smallest",), one)
        chosen: list[TrainingCandidate] = []
        for one in (*heads.values(), *ordered):
            if len(chosen) < FINALISTS and all(one is not other for other in chosen):
                chosen.append(one)
        return sorted(chosen, key=lambda one: one.run_s)

    def _missed(self, one: TrainingCandidate) -> bool:
        time = self.problem.target("build_time")
        return time is not None and one.run_s > time.value

    def _screen(self) -> TrainingScreened:
        seen = TrainingScreened()
        every = sorted(self.space.layouts(), key=lambda one: one.coarse_s)
        groups = Counter((one.priced.device.name, one.precision) for one in every)
        quota = max(LEAST_ESTIMATED, ESTIMATED // max(1, len(groups)))
        estimated: Counter[tuple[str, str]] = Counter()
        for one in every:
            group = (one.priced.device.name, one.precision)
            if estimated[group] == quota:
                self.pruned.add(Reason.COARSE, one.named, len(RECOMPUTE))
                continue
            fitting = self._fitting(one, seen)
            if fitting is not None:
                estimated[group] += 1
                seen.found.append(self._candidate(one, fitting))
        return seen

    def _fitting(self, one: TrainingLayout, seen: TrainingScreened) -> _Held | None:
        """With the least recomputation that surely fits, else with the most if it fits at all."""
        room = one.priced.device.memory_bytes
        last: _Held | None = None
        for index, recompute in enumerate(RECOMPUTE):
            if recompute == "selective" and self.space.training.method == "qlora":
                # Four-bit weights are TRL's alone, whose Trainer recomputes everything or nothing.
                self.pruned.add(Reason.TOOL, f"{one.named}, recompute {recompute}")
                continue
            held = self._held_by(one, recompute)
            memory = held.memory
            if memory.total_bytes * _SAFE <= room:
                self.pruned.add(Reason.RECOMPUTE, one.named, len(RECOMPUTE) - 1 - index)
                if last is not None:
                    self.pruned.add(Reason.ACTIVATIONS, one.named)
                return held
            if memory.total_bytes <= room:
                if last is not None:
                    self.pruned.add(Reason.ACTIVATIONS, one.named)
                last = held
                continue
            lacks = memory.total_bytes - room
            if seen.least_excess is None or lacks < seen.least_excess[0]:
                seen.least_excess = (lacks, one)
            self.pruned.add(Reason.ACTIVATIONS, f"{one.named}, micro-batch {one.micro_batch}, recompute {recompute}")
        return last

    def _held_by(self, one: TrainingLayout, recompute: Recompute) -> _Held:
        """Kept: searches for the nearest feasible brief ask for the same layouts again and again."""
        training, arch, device = self.space.training, self.problem.architecture, one.priced.device
        run = (training.sequence_tokens, training.global_batch, training.method)
        # What is kept holds the architecture and the device, so that their numbers are not given away.
        key = (id(arch), id(device), one.priced.count, one.precision, one.layout, one.micro_batch, recompute, run)
        found = _held.get(key)
        if found is None:
            if len(_held) >= _KEPT:
                _held.clear()
            found = _held[key] = _Held(self.space.setup_of(one, recompute), recompute, device)
        return found

    def _candidate(self, one: TrainingLayout, held: _Held) -> TrainingCandidate:
        setup, device, step_s = held.setup, one.priced.device, held.step_s
        work_s = step_s * self.space.steps
        goodput = self.goodput(setup.devices)
        return TrainingCandidate(
            layout=one,
            setup=setup,
            memory=held.memory,
            step_s=step_s,
            halfwidth=calibration().halfwidth(setup, device),
            run_s=work_s / goodput,
            goodput=goodput,
        )

    def goodput(self, devices: int) -> float:
        """The share of the time that trains, at the published rate of failures."""
        if devices not in self._goodput:
            job = TrainingJob(devices=devices, work_s=1.0, checkpoint_s=CHECKPOINT_S, restart_s=RESTART_S)
            self._goodput[devices] = shares(job, best_interval_s(job)).training
        return self._goodput[devices]

    @cached_property
    def _goodput(self) -> dict[int, float]:
        return {}


def relative_ends(candidate: TrainingCandidate) -> tuple[float, float]:
    """The factors of the 80 % interval."""
    return math.exp(-candidate.halfwidth), math.exp(candidate.halfwidth)
