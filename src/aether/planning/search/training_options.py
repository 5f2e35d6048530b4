"""A finalist of a training search as an option: time, money, memory and quality with intervals, terms and sources."""

from aether.planning.intervals import LEVEL
from aether.planning.search.serving_options import cost_estimate
from aether.planning.search.standing import likely, worst
from aether.planning.search.training import CHECKPOINT_S, RESTART_S, TrainingCandidate, TrainingSearch, relative_ends
from aether.planning.training.estimate import METHOD, estimate_training
from aether.spec.brief import Target
from aether.spec.evidence import Interval
from aether.spec.fleet import FleetOption
from aether.spec.plan import Estimate, Term


def option_of(search: TrainingSearch, one: TrainingCandidate) -> FleetOption:
    """The finalist with every estimate."""
    setup, device = one.setup, one.layout.priced.device
    found = estimate_training(setup, search.space.training.tokens, one.layout.priced.price_usd_per_hour, device)
    time = _run_time(search, one)
    assert time.interval is not None
    price = one.layout.priced.price_usd_per_hour or 0.0
    scale = setup.devices / 3600 * price
    ends = Interval(low=time.interval.low * scale, high=time.interval.high * scale, level=LEVEL, method=METHOD)
    estimates = (
        search.quality[one.layout.precision],
        time,
        cost_estimate("build_cost", one.hours, one.layout.priced, ends),
        found.memory,
        found.step_time,
        found.tokens_per_s_per_device,
        found.mfu,
        found.of_run("energy"),
    )
    # What must fit is a target that nobody has to write.
    fits = Target(metric="device_memory", comparison="<=", value=float(device.memory_bytes), unit="byte")
    targets, by_metric = (*search.problem.targets, fits), {e.metric: e for e in estimates}
    batch = f"micro-batch {one.layout.micro_batch}, recompute {setup.recompute}"
    name = f"{one.layout.text} {one.layout.precision} {setup.software.framework} on {setup.devices} {device.name} ({batch})"
    return FleetOption(
        name=name,
        model=search.problem.model,
        device=device.name,
        devices=setup.devices,
        replicas=setup.layout.dp,
        layout=one.layout.text,
        precision=one.layout.precision,
        software=setup.software.framework,
        batch=f"{setup.global_batch} sequences of {setup.seq_tokens}, {batch}",
        setup=setup.model_dump(mode="json"),
        estimates=estimates,
        complexity=("low", "low", "medium", "high")[min(3, one.complexity)],
        standing=worst(targets, by_metric),
        likely=likely(targets, by_metric),
    )


def _run_time(search: TrainingSearch, one: TrainingCandidate) -> Estimate:
    low, high = relative_ends(one)
    parts = (
        Term(name="steps", value=search.space.steps, unit="count", kind="computed", source="tokens / tokens per step"),
        Term(name="step time", value=one.step_s, unit="s", kind="computed", source="planning.training.step, fitted"),
        Term(
            name="goodput",
            value=one.goodput,
            unit="ratio",
            kind="computed",
            source="planning.reliability, published failure rate",
        ),
        Term(name="checkpoint", value=CHECKPOINT_S, unit="s", kind="assumed", source="asynchronous saves"),
        Term(name="restart", value=RESTART_S, unit="s", kind="assumed", source="a warm spare"),
    )
    return Estimate(
        metric="build_time",
        value=one.run_s,
        unit="s",
        interval=Interval(low=one.run_s * low, high=one.run_s * high, level=LEVEL, method=METHOD),
        kind="computed",
        formula="steps * step time / goodput; evaluation and waiting for devices are not in it",
        terms=parts,
        binding="step time",
    )
