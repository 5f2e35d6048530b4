"""The search for a deployment: every layout bounded, the rest estimated at a steady load, the best simulated and ranked.

Layouts that pass the hard bounds get the least number of replicas at which the steady estimate meets the targets. Of those
that no other beats, engines and batch limits are varied; a handful is simulated request by request. What is offered has the
simulation's numbers, corrected and widened as the fit of the engines says (`planning.serving.answers`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from aether.planning.search.corrected import Corrected
from aether.planning.search.pareto import Merit, front
from aether.planning.search.problem import Problem
from aether.planning.search.reasons import Pruned, Reason
from aether.planning.search.serving_space import CHUNKS, FORMATS, SEQUENCES, VARIANTS, Layout, ServingSpace
from aether.planning.search.steady import BUSIEST, Batch, Steady, capacity_per_s
from aether.planning.serving.memory import ServingMemory, serving_memory
from aether.planning.serving.setup import Engine, ServingSetup
from aether.spec.brief import Target

LATENCIES = ("ttft", "itl", "tpot", "e2e")
FINALISTS = 8
"""Candidates that are simulated."""
_LAYOUTS = 10
"""Layouts whose engines and batch limits are varied."""
_SCREENING = Batch(0, 256, 8192)
"""Batch limits of the first estimate."""
_TYPICAL = 32
"""Sequences at which the fitted correction is looked up in the first estimate."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A layout with its engine, its limits and the number of replicas."""

    layout: Layout
    setup: ServingSetup
    cost: Corrected
    batch: Batch
    memory: ServingMemory
    capacity_per_s: float
    """Of one replica."""
    replicas: int
    state: Steady
    excess: float
    """Sum of the logarithms by which estimates miss targets; 0: none is missed."""
    risk: float = 0.0
    """The same for the bad ends of the estimates' intervals."""

    @property
    def devices(self) -> int:
        """Of all replicas."""
        return self.replicas * self.layout.devices

    @property
    def device_bytes(self) -> float:
        """What the fullest device holds at the load."""
        live = min(self.state.sequences, self.memory.sequences) / self.setup.attn_dp
        return self.memory.fixed_bytes + live * self.memory.sequence_bytes

    @property
    def complexity(self) -> int:
        """Things that can go wrong: several nodes, experts spread, weights converted, engines to compile."""
        layout = self.layout
        parts = (
            layout.pp > 1,
            layout.groups > 1 or layout.ep > 1,
            layout.converted,
            self.setup.engine == "trtllm",
        )
        return sum(parts)


def _firsts(ordered: Sequence[Candidate], trait: str) -> list[Candidate]:
    """The first of each format or device."""
    found: dict[str, Candidate] = {}
    for one in ordered:
        found.setdefault(one.layout.form if trait == "form" else one.layout.priced.device.name, one)
    return list(found.values())


@dataclass
class Screened:
    """What the estimates say, before anything is simulated."""

    feasible: list[Candidate] = field(default_factory=list)
    missing: list[Candidate] = field(default_factory=list)
    """Keep up with the load, but miss a target."""
    slow: list[tuple[float, Layout]] = field(default_factory=list)
    """(requests per second of all replicas, layout) where that is below the load."""
    crowded: list[tuple[float, Layout]] = field(default_factory=list)
    """(bytes that are missing on each device, layout)."""


@dataclass(frozen=True)
class _Basis:
    """A layout's first estimate before any load: it does not change with the devices, the rate or the targets."""

    setup: ServingSetup
    memory: ServingMemory
    cost: Corrected | None
    """None: no request fits."""
    sized: tuple[tuple[ServingSetup, Batch, float], ...]
    """By chunk: setup, batch limits, requests per second that a replica takes."""


_KEPT = 8192
"""Layouts that are kept (chosen: more than a search for near briefs visits)."""
_bases: dict[tuple, _Basis] = {}


class ServingSearch:
    """One search."""

    def __init__(self, problem: Problem, bounded: bool = True) -> None:
        self.problem, self.load, self.pruned = problem, problem.load, Pruned()
        self.space = ServingSpace(problem, self.pruned, bounded)
        self._mended = [t for t in problem.targets if t.metric != "cost_per_million_tokens"]
        """Targets that more replicas come nearer to."""
        self.simulations: dict = {}
        """What was simulated of this load, see `serving_options`."""

    def finalists(self) -> tuple[list[Candidate], Screened]:
        """The candidates to simulate, best first, and what was seen on the way. None: nothing keeps up with the load."""
        seen = self._screen()
        best = self._spread(seen.feasible, _LAYOUTS) or sorted(seen.missing, key=lambda c: c.excess)[:3]
        every = len(seen.feasible) + len(seen.missing)
        left = [c for c in (*seen.feasible, *seen.missing) if c not in best]
        for one in left:
            reason = Reason.ESTIMATE if one.excess else Reason.DOMINATED
            self.pruned.add(reason, one.layout.named, VARIANTS)
        assert len(left) + len(best) == every
        varied = [v for one in best for v in self._variants(one)]
        good = [v for v in varied if not v.excess]
        chosen = self._spread(good, FINALISTS) or sorted(varied, key=lambda c: c.excess)[:FINALISTS]
        named = chosen[0].layout.named if chosen else ""
        self.pruned.add(Reason.VARIANT, f"{named} with other limits", VARIANTS * len(best) - len(chosen))
        return chosen, seen

    def grown(self, one: Candidate) -> Candidate | None:
        """The same with another replica; None where there are no devices for it."""
        replicas = one.replicas + 1
        if replicas * one.layout.devices > one.layout.priced.count:
            return None
        state = one.cost.steady_at(self.load.requests_per_s / replicas, one.batch)
        return replace(one, replicas=replicas, state=state)

    def promising(self) -> bool:
        """Whether some layout keeps up with the load and, at the good ends of its steady estimates, misses no target."""
        for layout in self.space.layouts():
            basis = self._basis_of(layout)
            one = self._best_of(layout, basis) if self._may_meet(layout, basis) else None
            if isinstance(one, Candidate) and not any(self._excess(one, t, -1.0) for t in self.problem.targets):
                return True
        return False

    def _may_meet(self, layout: Layout, basis: _Basis) -> bool:
        """Whether no target is missed for certain at the good ends of the estimates: by all the devices where more replicas mend it, by the
        fewest where they cost more."""
        replicas = layout.priced.count // layout.devices
        for shaped, batch, capacity in basis.sized:
            assert basis.cost is not None
            rate = self.load.requests_per_s / max(1, replicas)
            if replicas and rate <= BUSIEST * capacity:
                state = basis.cost.steady_at(rate, batch)
                one = Candidate(layout, shaped, basis.cost, batch, basis.memory, capacity, replicas, state, 0.0)
                least = replace(one, replicas=max(1, math.ceil(self.load.requests_per_s / (BUSIEST * capacity))))
                of_each = [(one if target in self._mended else least, target) for target in self.problem.targets]
                if not any(self._excess(*pair, -1.0) for pair in of_each):
                    return True
        return False

    def merit(self, one: Candidate) -> Merit:
        """Coordinates of a candidate by its estimates."""
        hours = self.device_hours(one.devices)
        price = one.layout.priced.price_usd_per_hour
        return Merit(
            format=one.layout.form,
            quality_loss=self.space.quality[one.layout.form].value,
            speed_s=self.latency_s(one, "e2e_p50"),
            memory_bytes=one.device_bytes,
            cost=None if price is None else hours * price,
            device_hours=hours,
            device=one.layout.priced.device.name,
            complexity=one.complexity,
        )

    def device_hours(self, devices: int) -> float:
        """For a million output tokens at the brief's load."""
        return devices / (self.load.requests_per_s * self.load.output_tokens) * 1e6 / 3600

    def _spread(self, found: Sequence[Candidate], most: int) -> list[Candidate]:
        """The front; where it is long, the cheapest of known quality on each device and of each format, then some between."""
        best = sorted(front(found, self.merit), key=self._cost)
        known = [one for one in best if self.space.quality[one.layout.form].value is not None]
        safe = [one for one in known if not one.risk]
        heads = [*_firsts(safe, "device"), *_firsts(known, "device"), *_firsts(best, "form"), *_firsts(best, "device")]
        heads = list(dict.fromkeys(heads))[:most]
        rest = [one for one in dict.fromkeys((*known, *best)) if one not in heads]
        room = most - len(heads)
        if room < len(rest):
            rest = [rest[round(i * (len(rest) - 1) / max(1, room - 1))] for i in range(room)]
        return sorted(heads + rest, key=self._cost)

    def price(self, one: Candidate) -> float:
        """US dollars for a million tokens; device hours where no price is known."""
        hours, price = self.device_hours(one.devices), one.layout.priced.price_usd_per_hour
        return hours if price is None else hours * price

    def _cost(self, one: Candidate) -> tuple[bool, float, int, float]:
        """Known prices first: hours of a device without one are not dollars."""
        merit = self.merit(one)
        return (merit.cost is None, self.price(one), one.complexity, merit.speed_s)

    def _screen(self) -> Screened:
        seen = Screened()
        for layout in self.space.layouts():
            basis = self._basis_of(layout)
            one = self._best_of(layout, basis)
            if isinstance(one, Candidate):
                (seen.missing if one.excess else seen.feasible).append(one)
            elif basis.memory.sequences < 1:
                self.pruned.add(Reason.CACHE, layout.named, VARIANTS)
                seen.crowded.append((basis.memory.sequence_bytes - basis.memory.cache_bytes, layout))
            else:
                self.pruned.add(Reason.RATE, layout.named, VARIANTS)
                seen.slow.append((one, layout))
        return seen

    def _basis_of(self, layout: Layout) -> _Basis:
        """What a layout's first estimate rests on, kept: searches for the nearest feasible brief ask for it again and again."""
        load, arch, device = self.load, self.problem.architecture, layout.priced.device
        shape = (layout.form, layout.tp, layout.groups, layout.ep, layout.pp)
        # The kept setup holds the architecture and the device, so that their numbers are not given away.
        key = (id(arch), id(device), shape, load.prompt_tokens, load.output_tokens)
        found = _bases.get(key)
        if found is None:
            if len(_bases) >= _KEPT:
                _bases.clear()
            found = _bases[key] = self._new_basis(layout)
        return found

    def _new_basis(self, layout: Layout) -> _Basis:
        setup = self.setup_of(layout, "vllm", _SCREENING.sequences, _SCREENING.step_tokens)
        memory = serving_memory(setup, self.load.prompt_tokens + self.load.output_tokens)
        chunks = (512, 8192)
        if memory.sequences < 1:
            # The activations of small chunks of few requests take less: what barely fits is served so.
            setup = self.setup_of(layout, "vllm", min(SEQUENCES), min(CHUNKS))
            memory, chunks = serving_memory(setup, self.load.prompt_tokens + self.load.output_tokens), (min(CHUNKS),)
        if memory.sequences < 1:
            return _Basis(setup, memory, None, ())
        cost, sized = Corrected(setup, self.load, _TYPICAL), []
        for chunk in chunks:
            batch = Batch(memory.sequences, setup.max_sequences, chunk * setup.attn_dp)
            shaped = setup.model_copy(update={"chunk_tokens": chunk})
            sized.append((shaped, batch, capacity_per_s(cost.seconds, self.load, batch)))
        return _Basis(setup, memory, cost, tuple(sized))

    def _best_of(self, layout: Layout, basis: _Basis) -> Candidate | float:
        """The chunk with the least excess; the rate that all replicas take where none keeps up (0: no request fits)."""
        most, found = 0.0, []
        for shaped, batch, capacity in basis.sized:
            assert basis.cost is not None
            one = self._sized(layout, shaped, basis.memory, basis.cost, (batch, capacity))
            if isinstance(one, Candidate):
                found.append(one)
            else:
                most = max(most, one)
        return min(found, key=lambda c: (c.excess, c.devices), default=most)

    def _variants(self, best: Candidate) -> list[Candidate]:
        """Every engine and batch limit of a layout."""
        found = []
        for engine in self.space.engines:
            if engine == "trtllm" and best.layout.priced.device.vendor.lower() != "nvidia":
                continue
            setup = self.setup_of(best.layout, engine, max(SEQUENCES), max(CHUNKS))
            cost = Corrected(setup, self.load, best.state.sequences)
            for chunk in CHUNKS:
                shaped = setup.model_copy(update={"chunk_tokens": chunk})
                memory = serving_memory(shaped, self.load.prompt_tokens + self.load.output_tokens)
                for sequences in SEQUENCES:
                    limited = shaped.model_copy(update={"max_sequences": sequences})
                    if memory.sequences < 1:
                        memory = serving_memory(limited, self.load.prompt_tokens + self.load.output_tokens)
                    if memory.sequences < 1 or sequences > chunk * setup.attn_dp:
                        continue
                    batch = Batch(min(sequences, memory.sequences), sequences, chunk * setup.attn_dp)
                    taken = (batch, capacity_per_s(cost.seconds, self.load, batch))
                    one = self._sized(best.layout, limited, memory, cost, taken)
                    if isinstance(one, Candidate):
                        found.append(one)
        return found

    def _sized(
        self,
        layout: Layout,
        setup: ServingSetup,
        memory: ServingMemory,
        cost: Corrected,
        taken: tuple[Batch, float],
    ) -> Candidate | float:
        """With the least replicas that meet the targets with room to spare, else at all, else with all the devices. `taken`: the batch
        limits and the requests per second that a replica takes with them."""
        rate, (batch, capacity) = self.load.requests_per_s, taken
        most = layout.priced.count // layout.devices
        least = math.ceil(rate / (BUSIEST * capacity))
        if least > most:
            return capacity * most

        known: dict[int, Candidate] = {}

        def at(replicas: int) -> Candidate:
            if replicas not in known:
                state = cost.steady_at(rate / replicas, batch)
                known[replicas] = Candidate(layout, setup, cost, batch, memory, capacity, replicas, state, 0.0)
            return known[replicas]

        def misses(one: Candidate, margin: float) -> bool:
            return any(self._excess(one, target, margin) for target in self._mended)

        def found(margin: float) -> Candidate:
            """The least replicas for what more of them mend; then everything is weighed, the cost too."""
            low, high = least - 1, most
            fails = misses(at(most), margin)
            while high - low > 1 and not fails:
                middle = (low + high) // 2
                low, high = (middle, high) if misses(at(middle), margin) else (low, middle)
            last = at(high)
            excess, risk = (sum(self._excess(last, t, m) for t in self.problem.targets) for m in (0.0, 1.0))
            return replace(last, excess=excess, risk=risk)

        comfortable = found(1.0)
        return comfortable if not comfortable.excess else found(0.0)

    def _excess(self, one: Candidate, target: Target, margin: float) -> float:
        """By how much a target is missed, as a logarithm; `margin` widens the estimate by its 80 % interval."""
        kind = target.metric.partition("_")[0]
        if kind in LATENCIES:
            width = one.cost.known.ttft if kind == "ttft" else one.cost.known.token
            value = self.latency_s(one, target.metric) * math.exp(margin * width)
        elif target.metric == "throughput":
            most = one.capacity_per_s * self.load.output_tokens * one.replicas
            value = most * math.exp(-margin * one.cost.known.token)
        elif target.metric == "device_memory":
            value = one.device_bytes
        else:
            price = one.layout.priced.price_usd_per_hour
            if price is None:
                return 0.0
            value = self.device_hours(one.devices) * price
        if value <= target.value if target.comparison == "<=" else value >= target.value:
            return 0.0
        return abs(math.log(value / target.value))

    def latency_s(self, one: Candidate, metric: str) -> float:
        """A latency as the steady estimate and the fitted front end have it."""
        value = one.state.latency_s(metric, self.load.output_tokens)
        kind, _, share = metric.partition("_")
        if kind not in ("ttft", "e2e"):
            return value
        first_s = one.state.latency_s(f"ttft_{share}", self.load.output_tokens)
        return value - first_s + one.cost.first_s(first_s, one.state)

    def setup_of(self, layout: Layout, engine: Engine, sequences: int, chunk: int) -> ServingSetup:
        """The layout as the estimators take it."""
        return ServingSetup(
            architecture=self.problem.architecture,
            device=layout.priced.device,
            precision=FORMATS[layout.form],
            tp=layout.tp,
            attn_dp=layout.groups,
            ep=layout.ep,
            pp=layout.pp,
            engine=engine,
            max_sequences=sequences,
            chunk_tokens=chunk,
        )
