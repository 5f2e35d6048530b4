"""What no software can do: the brief against the data sheets of all the devices together.

Weights must lie somewhere, each token must read the active ones, arithmetic runs at the peak rate at best. The bound is that
of the best device and format that the brief allows, with every device working on one request, which no engine reaches: a brief
that is refused here is refused for good. Nothing fitted enters.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from aether.models.accounting import flops_per_token
from aether.planning.search.problem import Priced, Problem
from aether.planning.search.serving_space import FORMATS, Layout, ServingSpace
from aether.planning.serving.setup import STORED_BYTES
from aether.spec.brief import Target
from aether.spec.fleet import Shortfall
from aether.spec.plan import Term
from aether.spec.units import humanize

if TYPE_CHECKING:
    from aether.planning.search.training_space import TrainingSpace


def _terms(*parts: tuple[str, float, str, str]) -> tuple[Term, ...]:
    return tuple(Term(name=n, value=v, unit=u, kind="computed", source=s) for n, v, u, s in parts)


def shortfall(target: Target, best: float, binding: str, arithmetic: str, terms: tuple[Term, ...]) -> Shortfall:
    """A target that is beyond a bound."""
    ratio = best / target.value if target.comparison == "<=" else target.value / best
    return Shortfall(
        subject=target.metric,
        verdict="impossible",
        binding=binding,
        asked=target.value,
        best=best,
        unit=target.unit,
        factor=max(1.0, ratio),
        arithmetic=arithmetic,
        terms=terms,
    )


def serving_bounds(problem: Problem, space: ServingSpace) -> tuple[Shortfall, ...]:
    """Everything that is impossible about a deployment."""
    allowed = list(_allowed(problem, space))
    if not allowed:
        return ()
    found = [*_memory(problem, space, allowed), *_rate(problem, space, allowed)]
    for target in problem.targets:
        if target.metric.partition("_")[0] in ("itl", "tpot", "ttft", "e2e"):
            found += _latency(problem, space, allowed, target)
    return tuple(found)


def _allowed(problem: Problem, space: ServingSpace) -> Iterator[Layout]:
    """One imaginary layout for each device and format: all devices as one."""
    for priced in problem.hardware:
        for form in problem.formats:
            if space.forbids(priced, form) is None:
                yield Layout(priced, form, priced.count, 1, 1, 1)


def _memory(problem: Problem, space: ServingSpace, allowed: list[Layout]) -> list[Shortfall]:
    def need(layout: Layout) -> float:
        stored = space.bytes_of(layout.form)
        return stored.dense + stored.experts

    def room(layout: Layout) -> float:
        return float(layout.priced.count * layout.priced.device.memory_bytes)

    best = min(allowed, key=lambda one: need(one) / room(one))
    if need(best) <= room(best):
        return []
    device, width = best.priced.device, STORED_BYTES[FORMATS[best.form].weights]
    text = (
        f"{problem.counts.total / 1e9:.1f} B parameters in {best.form} ({width:.3g} bytes each) are {humanize(need(best), 'byte')}; "
        f"{best.priced.count} x {device.name} hold {humanize(room(best), 'byte')}"
    )
    parts = _terms(
        ("weights", need(best), "byte", "models.accounting"),
        ("memory", room(best), "byte", f"{device.source}, {device.as_of}"),
    )
    return [
        Shortfall(
            subject="memory",
            verdict="impossible",
            binding="weights",
            asked=need(best),
            best=room(best),
            unit="byte",
            factor=need(best) / room(best),
            arithmetic=text,
            terms=parts,
        )
    ]


def _latency(problem: Problem, space: ServingSpace, allowed: list[Layout], target: Target) -> list[Shortfall]:
    kind, output = target.metric.partition("_")[0], problem.load.output_tokens

    def least_s(one: Layout) -> float:
        first_s = space.prompt_bound_s(one)
        whole = first_s + (output - 1) * space.token_bound_s(one)
        return {"ttft": first_s, "e2e": whole}.get(kind, space.token_bound_s(one))

    best = min(allowed, key=least_s)
    if least_s(best) <= target.value:
        return []
    priced = best.priced
    every = f"{priced.count} x {priced.device.name}"
    stored = space.bytes_of(best.form)
    active = stored.dense + stored.active_experts
    reads = (
        f"{humanize(active, 'byte')} of active weights in {best.form} at {priced.device.memory_bandwidth_bytes_per_s / 1e12:.3g} TB/s x "
        f"{priced.count} take {humanize(space.token_bound_s(best), 's')} for each token on {every}"
    )
    prompt = (
        f"{space.prompt_flops:.3g} FLOP of a prompt of {problem.load.prompt_tokens} tokens at {space.peak_flops_per_s(best):.3g} FLOP/s x "
        f"{priced.count} take {humanize(space.prompt_bound_s(best), 's')} on {every}"
    )
    text = {"ttft": prompt, "e2e": f"{prompt}; then {output - 1} times: {reads}"}.get(kind, reads)
    binding = {"ttft": "arithmetic of the prompt"}.get(kind, "memory bandwidth")
    sheet = f"{priced.device.source}, {priced.device.as_of}"
    terms = _terms(
        ("active weights", active, "byte", "models.accounting"),
        ("prompt", space.prompt_flops, "FLOP", "models.accounting"),
        ("bandwidth", priced.device.memory_bandwidth_bytes_per_s * priced.count, "byte/s", sheet),
        ("peak", space.peak_flops_per_s(best) * priced.count, "FLOP/s", sheet),
    )
    return [shortfall(target, least_s(best), binding, text, terms)]


def _rate(problem: Problem, space: ServingSpace, allowed: list[Layout]) -> list[Shortfall]:
    load = problem.load
    each = (load.prompt_tokens + load.output_tokens) * flops_per_token(problem.architecture, load.prompt_tokens).total
    best = max(allowed, key=lambda one: space.peak_flops_per_s(one) * one.priced.count)
    most = space.peak_flops_per_s(best) * best.priced.count / each
    if load.requests_per_s <= most:
        return []
    text = f"{each:.3g} FLOP for each request at {space.peak_flops_per_s(best):.3g} FLOP/s x {best.priced.count} {best.priced.device.name}"
    return [
        Shortfall(
            subject="load.requests_per_s",
            verdict="impossible",
            binding="arithmetic",
            asked=load.requests_per_s,
            best=most,
            unit="request/s",
            factor=load.requests_per_s / most,
            arithmetic=text,
            terms=_terms(("request", each, "FLOP", "models.accounting")),
        )
    ]


def training_bounds(problem: Problem, space: "TrainingSpace") -> tuple[Shortfall, ...]:
    """Everything that is impossible about a training run."""
    pairs = [(p, form) for p in problem.hardware for form in problem.formats if space.forbids(p, form) is None]
    if not pairs:
        return ()
    found = [*_training_memory(problem)]
    priced, form = min(pairs, key=lambda pair: space.least_s(*pair))
    least_s = space.least_s(priced, form)
    training = space.training
    text = (
        f"{space.token_flops:.4g} FLOP for each of {training.tokens:.4g} tokens at "
        f"the {form} peak of {priced.count} x {priced.device.name} take {humanize(least_s, 's')}"
    )
    terms = _terms(("tokens", training.tokens, "token", "the brief"), ("least time", least_s, "s", "data sheet"))
    time = problem.target("build_time")
    if time is not None and least_s > time.value:
        found.append(shortfall(time, least_s, "arithmetic", text, terms))
    cost = problem.target("build_cost")
    prices = [p.price_usd_per_hour * p.count * space.least_s(p, f) / 3600 for p, f in pairs if p.price_usd_per_hour]
    if cost is not None and len(prices) == len(pairs) and min(prices) > cost.value:
        found.append(shortfall(cost, min(prices), "arithmetic", f"{text}, at its price {min(prices):,.0f} USD", terms))
    return tuple(found)


def _training_memory(problem: Problem) -> list[Shortfall]:
    """Weights and, where they learn, their gradients must lie in the memory of all devices together."""
    training = problem.training
    assert training is not None
    each = {"full": 4.0, "lora": 2.0}.get(training.method, 0.5)
    need = each * problem.counts.total

    def room(priced: Priced) -> float:
        return float(priced.count * priced.device.memory_bytes)

    best = max(problem.hardware, key=room)
    if need <= room(best):
        return []
    text = (
        f"{problem.counts.total / 1e9:.1f} B parameters of {each:g} bytes (weights, and gradients where they learn) are "
        f"{humanize(need, 'byte')}; {best.count} x {best.device.name} hold {humanize(room(best), 'byte')}"
    )
    terms = _terms(
        ("weights and gradients", need, "byte", "models.accounting"), ("memory", room(best), "byte", best.device.source)
    )
    return [
        Shortfall(
            subject="memory",
            verdict="impossible",
            binding="weights and gradients",
            asked=need,
            best=room(best),
            unit="byte",
            factor=need / room(best),
            arithmetic=text,
            terms=terms,
        )
    ]
