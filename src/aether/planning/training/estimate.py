"""What a training step and a whole run cost: time, tokens per second, MFU, GPU-hours, energy, money, each with its interval.

The step time is `step.step_terms` with the shipped calibration; everything else is arithmetic on it. Money needs a price from
the person, energy the device's power: without them they stay unknown. Two verdicts are kept apart: what no software can do
(the data sheet's rates, weights that exceed memory), and what the model thinks is out of reach at 90 %.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from aether.knowledge import library
from aether.knowledge.library import Device
from aether.planning.intervals import LEVEL, memory_estimate
from aether.planning.training.calibration import OTHER_MAKER, calibration
from aether.planning.training.memory import Memory, ledger, training_memory
from aether.planning.training.setup import TrainingSetup
from aether.planning.training.step import coefficient_terms, effective, step_terms
from aether.planning.training.work import WORK_FIELDS, model_flops_per_token, peak_flops_per_s, training_work
from aether.spec.errors import InputError
from aether.spec.evidence import Interval
from aether.spec.plan import Estimate, Term

POWER_SHARE = (0.55, 0.95)
"""Mean power of a training device as a share of its limit. Assumed; llm training is usually reported near 0.6 to 0.9."""
METHOD = "conformal, errors of fits that had seen as little of the model and the hardware"
MEMORY_HALFWIDTH = 0.10
"""80 % interval of the memory total, relative. Measured: somewhat more than the 80 % quantile of the errors on published rows with
the byte counts chosen without their model or without their source, 7.6 % (benchmarks.planner_accuracy.leave_out_memory)."""


@dataclass(frozen=True)
class TrainingEstimate:
    """Estimates of a setup. `run` holds GPU-hours, days, energy and money of `tokens` tokens, where they were given."""

    step_time: Estimate
    tokens_per_s_per_device: Estimate
    mfu: Estimate
    memory: Estimate
    ledger: Memory
    familiarity: str
    run: tuple[Estimate, ...] = ()

    def of_run(self, metric: str) -> Estimate:
        """The estimate of `metric` for the whole run."""
        return next(estimate for estimate in self.run if estimate.metric == metric)


@dataclass(frozen=True)
class Verdict:
    """Whether a step time can be reached: `impossible` below the hard bound, `out_of_reach` below the 90 % interval."""

    verdict: Literal["impossible", "out_of_reach", "reachable"]
    bound: float
    arithmetic: str


def _device(setup: TrainingSetup, device: Device | None) -> Device:
    return device or library.device(setup.device)


def step_parts(setup: TrainingSetup, device: Device | None = None) -> dict[str, float]:
    """Seconds of one step by part, corrected by the groups that the setup belongs to: their sum is the estimate."""
    device = _device(setup, device)
    memory = training_memory(setup, device)
    work = training_work(setup, device, memory.recompute, memory.recomputed_share)
    fitted = calibration()
    by = effective(coefficient_terms(setup, device), fitted.parameters)
    factor = math.exp(fitted.correction(setup, device))
    return {
        name: float(value) * factor
        for name, value in step_terms({f: getattr(work, f) for f in WORK_FIELDS}, by).items()
    }


def least_step_s(setup: TrainingSetup, device: Device | None = None) -> float:
    """The hard bound: the FLOPs of a step at the data sheet's fastest rate that the precision allows, nothing else."""
    device = _device(setup, device)
    flops = model_flops_per_token(setup) * setup.tokens_per_step
    return flops / setup.devices / peak_flops_per_s(device, setup.precision)


def judge_step_time(setup: TrainingSetup, target_s: float, device: Device | None = None) -> Verdict:
    """Whether a step in `target_s` seconds can be had."""
    if not target_s > 0:
        raise InputError.of("target_s", target_s, "give a positive number of seconds")
    device = _device(setup, device)
    bound_s, expected_s = least_step_s(setup, device), sum(step_parts(setup, device).values())
    low_s = expected_s * math.exp(-calibration().halfwidth(setup, device, 90))
    if target_s < bound_s:
        text = f"{target_s:.4g} s is less than {bound_s:.4g} s, all FLOPs of the step at {device.name}'s peak rate"
        return Verdict("impossible", bound_s, text)
    if target_s < low_s:
        text = f"{target_s:.4g} s is below the 90 % interval of the estimate of {expected_s:.4g} s, which starts at {low_s:.4g} s"
        return Verdict("out_of_reach", low_s, text)
    return Verdict("reachable", low_s, f"{target_s:.4g} s is within the 90 % interval that starts at {low_s:.4g} s")


def judge_memory(setup: TrainingSetup, device: Device | None = None) -> Verdict:
    """Whether the setup fits: impossible when what must be stored alone exceeds memory, out of reach when the ledger does."""
    device = _device(setup, device)
    least = ledger(setup, "full")
    stored, room = least.weights_bytes + least.gradients_bytes + least.optimiser_bytes, device.memory_bytes
    text = f"weights, gradients and optimiser states take {stored / 2**30:.1f} GiB of {room / 2**30:.1f} GiB on each {device.name}"
    if stored > room:
        return Verdict("impossible", stored, text)
    needed = training_memory(setup, device).total_bytes
    text += f"; with activations and buffers {needed / 2**30:.1f} GiB"
    return Verdict("out_of_reach" if needed * (1 - MEMORY_HALFWIDTH) > room else "reachable", needed, text)


def _scaled(metric: str, unit: str, value: float, spread: float, formula: str, binding: str) -> Estimate:
    interval = Interval(low=value * math.exp(-spread), high=value * math.exp(spread), level=LEVEL, method=METHOD)
    return Estimate(
        metric=metric, value=value, unit=unit, interval=interval, kind="computed", formula=formula, binding=binding
    )


def unmeasured_note(device: Device) -> str | None:
    """What to say of a device on whose generation no run was measured; None where one was."""
    if not calibration().unmeasured(device):
        return None
    return (
        f"no training run on a {device.name} or its kind was measured: efficiencies are assumed, from other makers' devices and what "
        f"is published of its matrix products, and the interval is {OTHER_MAKER} times theirs"
    )


def _memory_estimate(memory: Memory, device: Device) -> Estimate:
    return memory_estimate(
        {name: value for name, value in vars(memory).items() if name.endswith("_bytes")},
        MEMORY_HALFWIDTH,
        formula=f"sum of the parts, recomputation {memory.recompute}; {device.name} has {device.memory_bytes} bytes",
        source="planning.training.memory",
        method="relative errors",
    )


def _unknown(metric: str, unit: str, protocol: str) -> Estimate:
    return Estimate(
        metric=metric, value=None, unit=unit, interval=None, kind="computed", formula="not known", protocol=protocol
    )


def _run_estimates(
    setup: TrainingSetup,
    device: Device,
    step: Estimate,
    spread: float,
    tokens: float,
    price_usd_per_hour: float | None,
    idle_devices: int,
) -> tuple[Estimate, ...]:
    assert step.value is not None
    binding = step.binding or ""
    seconds = step.value * tokens / setup.tokens_per_step
    working_s, hours = seconds * setup.devices, seconds * (setup.devices + idle_devices) / 3600
    paid = f"devices, {idle_devices} idle ones among them" if idle_devices else "devices"
    found = [
        _scaled("gpu_hours", "h", hours, spread, f"steps * step time * {paid}", binding),
        _scaled(
            "run_time", "s", seconds, spread, "steps * step time, without failures, evaluation or checkpoints", binding
        ),
    ]
    if device.power_w:
        share = math.sqrt(POWER_SHARE[0] * POWER_SHARE[1])
        wide = spread + 0.5 * math.log(POWER_SHARE[1] / POWER_SHARE[0])
        joules = working_s * device.power_w * share
        formula = f"device-seconds * {device.power_w:g} W * {share:.2f} (assumed mean share); hosts, network, cooling and idle devices not counted"
        found.append(_scaled("energy", "J", joules, wide, formula, binding))
    else:
        found.append(_unknown("energy", "J", f"the power of {device.name} is not in the library"))
    if price_usd_per_hour is None:
        found.append(_unknown("money", "USD", "give the price of one device for an hour"))
    else:
        found.append(_scaled("money", "USD", hours * price_usd_per_hour, spread, "GPU-hours * price", binding))
    return tuple(found)


def estimate_training(
    setup: TrainingSetup,
    tokens: float | None = None,
    price_usd_per_hour: float | None = None,
    device: Device | None = None,
    idle_devices: int = 0,
) -> TrainingEstimate:
    """Every estimate of a setup; with `tokens`, those of the whole run too, where `idle_devices` are paid for beside its own."""
    for field, value in (("tokens", tokens), ("price_usd_per_hour", price_usd_per_hour)):
        if value is not None and not value >= 0:
            raise InputError.of(field, value, "give a number that is not negative")
    device = _device(setup, device)
    parts: Mapping[str, float] = step_parts(setup, device)
    step_s = sum(parts.values())
    fitted = calibration()
    spread, binding = fitted.halfwidth(setup, device), max(parts, key=lambda name: parts[name])
    formula = f"sum of the terms; to the calibration data the setup is: {fitted.familiarity(setup, device)}"
    step = _scaled("step_time", "s", step_s, spread, formula, binding).model_copy(
        update={
            "terms": tuple(
                Term(name=name, value=value, unit="s", kind="computed", source="planning.training.step, fitted")
                for name, value in parts.items()
            )
        }
    )
    rate = setup.tokens_per_step / step_s / setup.devices
    mfu = (
        rate
        * model_flops_per_token(setup)
        / peak_flops_per_s(device, "bf16" if setup.precision == "fp16" else setup.precision)
    )
    memory = training_memory(setup, device)
    run: tuple[Estimate, ...] = ()
    if tokens is not None:
        run = _run_estimates(setup, device, step, spread, tokens, price_usd_per_hour, idle_devices)
    found = TrainingEstimate(
        step_time=step,
        tokens_per_s_per_device=_scaled(
            "tokens_per_s_per_device", "token/s", rate, spread, "tokens per step / step time / devices", binding
        ),
        mfu=_scaled("mfu", "fraction", mfu, spread, "model FLOPs per second / peak of the compute precision", binding),
        memory=_memory_estimate(memory, device),
        ledger=memory,
        familiarity=fitted.familiarity(setup, device),
        run=run,
    )
    return _assumed(found) if fitted.unmeasured(device) else found


def _assumed(found: TrainingEstimate) -> TrainingEstimate:
    """The same with every number that comes from the step time called assumed."""

    def marked(one: Estimate) -> Estimate:
        return one.model_copy(update={"kind": "assumed"})

    return replace(
        found,
        step_time=marked(found.step_time),
        tokens_per_s_per_device=marked(found.tokens_per_s_per_device),
        mfu=marked(found.mfu),
        run=tuple(marked(one) for one in found.run),
    )
