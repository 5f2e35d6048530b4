"""One question about a model, and its numbers: how fast it trains, how it serves, what it holds, what loss it reaches.

Without a layout the training question takes the fastest one that surely fits, by the search; a serving question takes all
devices as one tensor-parallel replica unless told otherwise, with clients in a closed loop. Unknown fields are refused.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from aether.knowledge.library import Device, device
from aether.models.accounting import parameters
from aether.planning.reliability import TrainingJob
from aether.planning.reliability import estimates as reliability_estimates
from aether.planning.scaling.question import size_answer
from aether.planning.search.problem import BATCH_TOKENS, architecture_of, problem_of
from aether.planning.search.problem import TRAINING_FORMATS as TRAINING_PRECISIONS
from aether.planning.search.serving_space import FORMATS
from aether.planning.search.training import CHECKPOINT_S, RESTART_S, TrainingCandidate, TrainingSearch
from aether.planning.search.training_space import lacks
from aether.planning.serving.closed_loop import ClosedLoop
from aether.planning.serving.estimate import format_note, serving_estimates, serving_note
from aether.planning.serving.setup import ServingSetup
from aether.planning.training.estimate import estimate_training, judge_memory, unmeasured_note
from aether.planning.training.setup import Layout, TrainingSetup
from aether.planning.training.work import computed_as
from aether.spec.architecture import Architecture, Attention, LatentAttention
from aether.spec.brief import Brief, Hardware, ModelChoice
from aether.spec.errors import Infeasible, InputError
from aether.spec.plan import Estimate
from aether.spec.units import humanize, parse_quantity

Kind = Literal["train", "serve", "memory", "quality"]
_LAYOUT = ("tp", "pp", "virtual_stages", "cp", "ep", "dp", "zero_stage")
_TRAIN: dict[str, Any] = {
    "tokens": None,
    "seq_tokens": 4096,
    "global_batch": None,
    "micro_batch": 1,
    "precision": "bf16",
}
_TRAIN |= {"recompute": None, "price_usd_per_hour": None} | dict.fromkeys(_LAYOUT)
_TRAIN |= {
    "checkpoint_s": CHECKPOINT_S,
    "restart_s": RESTART_S,
    "device_mtbf_hours": None,
    "straggler_sigma": 0.0,
    "seed": 0,
}
TOKENS_PER_DEVICE = 1024
"""Of a batch that nobody asked for, at least (assumed: Llama 3 405B trained on 16,384 devices with 16M tokens)."""
LEADING_BITS = 4
"""Of a number of devices: what is below them may stay idle, less than an eighth, where the rest is faster so (chosen)."""
USUAL_WORK_S = 30 * 86400.0
"""The run whose failures are estimated when no tokens are given (assumed)."""
_SERVE: dict[str, Any] = {
    "prompt_tokens": 1024,
    "output_tokens": 256,
    "concurrency": 32,
    "precision": "bf16",
    "engine": "vllm",
}
_SERVE |= {
    "tp": None,
    "pp": 1,
    "attn_dp": 1,
    "ep": 1,
    "max_sequences": 1024,
    "chunk_tokens": 8192,
    "price_usd_per_hour": None,
}


@dataclass(frozen=True)
class Answer:
    """What is said: the setup in words, and the estimates, the most important first."""

    subject: str
    estimates: tuple[Estimate, ...]
    setup: dict[str, Any]
    notes: tuple[str, ...] = ()


def answer(kind: Kind, model: str | None, on: str | None, devices: int, settings: Sequence[str]) -> Answer:
    """The numbers. Raises InputError naming field, value and rule; Infeasible when no layout fits.

    `quality` is a matter of size and tokens: it needs no device, and without a model it is about a compute budget.
    """
    if kind == "quality":
        found = size_answer(None if model is None else architecture_of(model), settings)
        return Answer(found.subject, found.estimates, {}, found.notes)
    if model is None:
        raise InputError.of("MODEL", None, "name a published model or a config.json")
    if on is None:
        raise InputError.of("--on", None, "name the device, as in --on H100-SXM-80GB")
    if devices < 1:
        raise InputError.of("devices", devices, "give at least 1")
    given = _read(settings, _TRAIN if kind == "train" else _SERVE)
    try:
        return _train(model, on, devices, given) if kind == "train" else _serve(kind, model, on, devices, given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError.of(".".join(map(str, first["loc"])), first["input"], first["msg"]) from error


def _read(settings: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(known)
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip().removeprefix("layout.")
        if not equals or name not in known:
            raise InputError.of("--set", setting, f"write FIELD=VALUE with one of {', '.join(known)}")
        text = text.strip()
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
        if isinstance(found[name], str) and name in ("tokens", "price_usd_per_hour"):
            found[name] = parse_quantity(text, "count" if name == "tokens" else "USD", name)
        number = isinstance(found[name], int | float)
        if number and name not in _ZERO_ALLOWED and found[name] <= 0:
            raise InputError.of(name, found[name], "give a number above 0")
        if not number and name not in ("precision", "engine", "recompute"):
            raise InputError.of(name, text, "give a number")
    return found


_ZERO_ALLOWED = ("zero_stage", "checkpoint_s", "restart_s", "straggler_sigma", "seed")


def _usual_batch(devices: int, seq_tokens: int) -> int:
    """Sequences of a step: about four million tokens, more on many devices, in powers of two of what the devices divide by."""
    wanted = max(BATCH_TOKENS, devices * TOKENS_PER_DEVICE) / seq_tokens
    odd = devices // (devices & -devices)
    return odd * 2 ** max(0, round(math.log2(max(1.0, wanted) / odd)))


def _train(model: str, on: str, devices: int, given: Mapping[str, Any]) -> Answer:
    name, architecture = architecture_of(model)
    chosen = device(on)
    if given["precision"] not in TRAINING_PRECISIONS:
        raise InputError.of("precision", given["precision"], f"use one of {', '.join(TRAINING_PRECISIONS)}")
    if lacks(chosen, given["precision"]):
        raise InputError.of("precision", given["precision"], f"{chosen.name} does not multiply in it: use bf16")
    _divides_heads(architecture, "layout.tp", given["tp"] or 1)
    degrees = {key: given[key] for key in _LAYOUT if given[key] is not None}
    if degrees:
        rest = 1
        for key in ("tp", "pp", "cp"):
            rest *= degrees.get(key, 1)
        degrees.setdefault("dp", max(1, devices // rest))
        setup = TrainingSetup(
            architecture=architecture,
            device=chosen.name,
            devices=devices,
            seq_tokens=given["seq_tokens"],
            global_batch=given["global_batch"] or _usual_batch(devices, given["seq_tokens"]),
            micro_batch=given["micro_batch"],
            precision=given["precision"],
            layout=Layout(**degrees),
            recompute=given["recompute"],
        )
    else:
        setup = _fastest(model, on, devices, given)
    idle = devices - setup.devices
    found = estimate_training(setup, given["tokens"], given["price_usd_per_hour"], chosen, idle)
    layout = " ".join(
        f"{key}{value}" for key, value in setup.layout.model_dump().items() if key in _LAYOUT and value > 1
    )
    subject = f"{name} on {setup.devices} x {chosen.name}, {setup.precision}, {layout or 'one device'}, {setup.software.framework}"
    numbers = (found.step_time, found.tokens_per_s_per_device, found.mfu, found.memory)
    known = (*_memory_verdict(setup, chosen), *_rate_notes(setup, chosen), *_known(unmeasured_note(chosen)))
    if devices == 1:
        return Answer(subject, (*numbers, *found.run), setup.model_dump(mode="json"), known)
    failures, note = _failures(setup.devices, found.of_run("run_time") if found.run else None, given)
    return Answer(
        subject,
        (*numbers, failures[0], *found.run, *failures[1:]),
        setup.model_dump(mode="json"),
        (*known, *_idle(devices, idle), note),
    )


def _memory_verdict(setup: TrainingSetup, chosen: Device) -> tuple[str, ...]:
    """That a layout which was asked for does not fit, with the arithmetic."""
    found = judge_memory(setup, chosen)
    if found.verdict == "reachable":
        return ()
    sure = "cannot fit" if found.verdict == "impossible" else "does not fit at 90 %"
    return (f"this layout {sure}: {found.arithmetic}; the speed is of devices with room for it",)


def _rate_notes(setup: TrainingSetup, chosen: Device) -> tuple[str, ...]:
    """That a device without bfloat16 is priced in float16, which needs the loss scaled."""
    if setup.precision != "bf16" or "bfloat16" in chosen.flops_per_s:
        return ()
    rate = computed_as(chosen, "bf16")
    return (f"{chosen.name} has no bfloat16: products are priced in {rate}, which needs its loss scaled",)


def _known(note: str | None) -> tuple[str, ...]:
    return () if note is None else (note,)


def _idle(devices: int, idle: int) -> tuple[str, ...]:
    if not idle:
        return ()
    text = (
        f"{idle} of {devices} devices stay idle: the others divide better and are faster so, though all are paid for; "
    )
    return (text + "step time, tokens/s, MFU and energy are of those that work",)


def _failures(devices: int, run: Estimate | None, given: Mapping[str, Any]) -> tuple[tuple[Estimate, ...], str]:
    """What failures cost the run, goodput first, and one line about it."""
    work_s = run.value if run is not None and run.value is not None else USUAL_WORK_S
    own = given["device_mtbf_hours"]
    job = TrainingJob(
        devices=devices,
        work_s=work_s,
        checkpoint_s=given["checkpoint_s"],
        restart_s=given["restart_s"],
        device_mtbf_s=None if own is None else own * 3600.0,
    )
    found = {e.metric: e for e in reliability_estimates(job, given["straggler_sigma"], seed=given["seed"])}
    said = {name: humanize(e.value, e.unit) for name, e in found.items() if e.value is not None}
    rate = f"the published rate of {job.rate_from}" if own is None else "the given rate"
    slow = next(term.value for term in found["goodput"].terms if term.name == "straggler slowdown")
    note = (
        f"failures: one every {said['job_mtbf']} by {rate}; a checkpoint every {said['checkpoint_interval']}, "
        f"{humanize(work_s, 's')} of training take {said['wall_clock']} with {said['failures']} failures; "
        f"stragglers x {slow:.3g} (--set straggler_sigma=...)"
    )
    return (found.pop("goodput"), *found.values()), note


def _divides_heads(architecture: Architecture, field: str, tp: int, mend: str = "") -> None:
    for mixer in (group.mixer for group in architecture.groups):
        if isinstance(mixer, Attention | LatentAttention) and mixer.heads % tp:
            raise InputError.of(field, tp, f"it must divide {mixer.heads} attention heads{mend}")


def _counts(devices: int) -> tuple[int, ...]:
    """All of them, and the most that have few factors beside two."""
    below = max(0, devices.bit_length() - LEADING_BITS)
    return tuple(dict.fromkeys((devices, devices >> below << below)))


def _fastest(model: str, on: str, devices: int, given: Mapping[str, Any]) -> TrainingSetup:
    """The layout that trains most tokens per second and surely fits, on all devices or on slightly fewer."""
    found = [one for count in _counts(devices) for one in _layouts(model, on, count, given)]
    if not found:
        name, architecture = architecture_of(model)
        states_gb = parameters(architecture).total * 16 / 1e9
        text = f"no layout of {name} trains on {devices} x {on} in {given['precision']}: {states_gb:,.0f} GB"
        text += " of weights, gradients and Adam's states; take more devices"
        raise Infeasible(text, model=name, devices=devices)
    return min(found, key=lambda one: (not one.fits_surely, one.run_s / one.setup.tokens_per_step)).setup


def _layouts(model: str, on: str, devices: int, given: Mapping[str, Any]) -> list[TrainingCandidate]:
    """The best layouts of one step."""
    tokens = float((given["global_batch"] or _usual_batch(devices, given["seq_tokens"])) * given["seq_tokens"])
    choice = ModelChoice(
        name=model,
        task="pretrain",
        formats=(given["precision"],),
        tokens=tokens,
        sequence_tokens=given["seq_tokens"],
        batch_tokens=tokens,
    )
    problem = problem_of(Brief(model=choice, hardware=Hardware(name=on, count=devices)))
    return TrainingSearch(problem).finalists()[0]


def read_deployment(settings: Sequence[str]) -> dict[str, Any]:
    """The fields of a deployment alone, without a closed loop's. Raises InputError for an unknown one."""
    loop = ("prompt_tokens", "output_tokens", "concurrency")
    return _read(settings, {name: value for name, value in _SERVE.items() if name not in loop})


def serving_setup(model: str, on: str, devices: int, given: Mapping[str, Any]) -> tuple[str, ServingSetup]:
    """The model's name, and one replica of it; all devices are its tensor-parallel ranks unless `given` says otherwise."""
    name, architecture = architecture_of(model)
    if given["precision"] not in FORMATS:
        raise InputError.of("precision", given["precision"], f"use one of {', '.join(FORMATS)}")
    tp = given["tp"] or max(1, devices // (given["pp"] * given["attn_dp"]))
    unsaid = f"; {devices} devices are one replica here: ask for those of one, or set pp or attn_dp"
    _divides_heads(architecture, "tp", tp, "" if given["tp"] else unsaid)
    setup = ServingSetup(
        architecture=architecture,
        device=device(on),
        precision=FORMATS[given["precision"]],
        tp=tp,
        **{key: given[key] for key in ("pp", "attn_dp", "ep", "engine", "max_sequences", "chunk_tokens")},
    )
    return name, setup


def _serve(kind: Kind, model: str, on: str, devices: int, given: Mapping[str, Any]) -> Answer:
    name, setup = serving_setup(model, on, devices, given)
    tp = setup.tp
    if setup.devices != devices:
        raise InputError.of("devices", devices, f"tp * attn_dp * pp = {setup.devices}: make both equal")
    traffic = ClosedLoop(**{key: given[key] for key in ("prompt_tokens", "output_tokens", "concurrency")})
    found = serving_estimates(setup, traffic, given["price_usd_per_hour"])
    first = (
        ("device_memory",) if kind == "memory" else ("tpot_p50", "ttft_p50", "ttft_p99", "throughput", "device_memory")
    )
    numbers = tuple(found[key] for key in first)
    if kind == "serve":
        numbers += tuple(value for key, value in found.items() if key not in first)
    subject = f"{name} on {devices} x {setup.device.name}, {given['precision']}, tp{tp}, {given['concurrency']} clients"
    notes = () if kind == "memory" else (*_known(format_note(setup)), *_known(serving_note(setup)))
    return Answer(subject, numbers, setup.model_dump(mode="json"), notes)
