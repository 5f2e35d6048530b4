"""The public answers: latency, throughput, memory and cost of a replica under a stated load, each as an `Estimate`.

Values come from `answers` (simulation of the measured roofline) with 80 % conformal intervals; memory from the ledger in
`memory`. Hard bounds stand apart in `bounds`: they say what no software can do. A price is the person's; without it the cost
has no value.
"""

from aether.planning.intervals import LEVEL, memory_estimate
from aether.planning.serving.answers import UNMEASURED_WIDTH, Answers, Range, distance
from aether.planning.serving.bounds import Bounds, bounds
from aether.planning.serving.closed_loop import ClosedLoop
from aether.planning.serving.efficiency import coefficients
from aether.planning.serving.memory import ServingMemory, serving_memory
from aether.planning.serving.setup import MULTIPLIED_IN, ServingSetup
from aether.spec.errors import InputError
from aether.spec.evidence import Interval
from aether.spec.plan import Estimate, Term

_METHOD = "conformal: 80 % of the rows of models and devices left out of the fit lay within this factor"
MEMORY_ERROR = 0.1
"""Half of the relative 80 % interval of the memory ledger (assumed: the runtime's own share is not measured here)."""


def serving_estimates(
    setup: ServingSetup, traffic: ClosedLoop, usd_per_device_hour: float | None = None
) -> dict[str, Estimate]:
    """Estimates by metric, for one replica whose clients are `traffic`. Raises InputError when the model does not fit."""
    memory = serving_memory(setup, traffic.prompt_tokens + traffic.output_tokens)
    if memory.sequences < 1:
        raise InputError.of(
            "device",
            setup.device.name,
            f"{setup.devices} of them hold {memory.usable_bytes / 1e9:.1f} GB each, of which weights, activations and the "
            f"runtime take {memory.fixed_bytes / 1e9:.1f}: take more devices or fewer bits",
        )
    answers = Answers(setup, traffic)
    hard = bounds(setup, traffic)
    found = _latencies(answers, hard) | _throughput(answers, hard)
    found["device_memory"] = _memory(memory, min(memory.sequences, traffic.concurrency), setup)
    found["cost_per_million_tokens"] = _cost(answers, usd_per_device_hour)
    return found


def _estimate(metric: str, value: Range, unit: str, formula: str, terms: tuple[Term, ...], binding: str) -> Estimate:
    method = f"{_METHOD}; {value.words}" if value.words else _METHOD
    interval = Interval(low=value.low, high=value.high, level=LEVEL, method=method)
    return Estimate(
        metric=metric,
        value=value.value,
        unit=unit,
        interval=interval,
        kind=value.kind,
        formula=formula,
        terms=terms,
        binding=binding,
    )


def serving_note(setup: ServingSetup) -> str | None:
    """What to say of a device on which no operator was measured; None where some were."""
    found = distance(setup, coefficients())
    return f"{found.words} (assumed), intervals {UNMEASURED_WIDTH} times theirs" if found.unmeasured else None


def format_note(setup: ServingSetup) -> str | None:
    """What to say of weights in a format that the device cannot multiply; None where it can."""
    rates = setup.device.flops_per_s
    for stored in (setup.precision.weights, setup.precision.expert_format):
        if MULTIPLIED_IN[stored] not in ("bfloat16", *rates):
            return (
                f"{setup.device.name} does not multiply in {stored}: weights are stored in it and multiplied in 16 bits"
            )
    return None


def _step_terms(answers: Answers) -> tuple[tuple[Term, ...], str]:
    """The parts of the mean decode step, and the one that takes longest."""
    traffic = answers.traffic
    live = max(1.0, answers.seen.running)
    context = (traffic.prompt_tokens + traffic.output_tokens / 2) * (1 - traffic.spread / 2)
    step = answers.model.time(0, 0, live, context)
    source = f"roofline of the operators at {live:.1f} sequences of {context:.0f} tokens; {answers.fitted.command}"
    terms = [
        Term(name=f"{name} of a decode step", value=value, unit="s", kind="computed", source=source)
        for name, value in step.parts().items()
    ]
    correction = Term(
        name="fitted residual",
        value=answers.slower,
        unit="fraction",
        kind="computed",
        source="measured over computed step time by traits of the setup, shrunk; " + answers.fitted.command,
    )
    return (*terms, correction), step.binding


def _latencies(answers: Answers, hard: Bounds) -> dict[str, Estimate]:
    terms, binding = _step_terms(answers)
    least = Term(name="hard bound", value=hard.token_s, unit="s", kind="computed", source=hard.token_source)
    first = Term(name="hard bound", value=hard.ttft_s, unit="s", kind="computed", source=hard.ttft_source)
    wait = Term(
        name="prompt tokens in one step",
        value=float(answers.setup.chunk_tokens),
        unit="token",
        kind="assumed",
        source="the setup's chunk of prompt tokens",
    )
    found = {}
    for share in (0.5, 0.99):
        name = f"p{share * 100:.0f}"
        formula = "simulated closed loop x measured residual"
        found[f"tpot_{name}"] = _estimate(
            f"tpot_{name}", answers.token_s(share), "s", formula, (*terms, least), binding
        )
        waiting = (
            "waiting_scale x simulated wait + request_s + client_s x clients + prompt_token_s x prompt + steps x step"
        )
        found[f"ttft_{name}"] = _estimate(
            f"ttft_{name}", answers.ttft_s(share), "s", waiting, (wait, first), "prompt computation and its queue"
        )
        found[f"e2e_{name}"] = _estimate(
            f"e2e_{name}", answers.e2e_s(share), "s", "ttft + (output - 1) x tpot", (*terms, least, first), binding
        )
    return found


def _throughput(answers: Answers, hard: Bounds) -> dict[str, Estimate]:
    terms, binding = _step_terms(answers)
    devices = Term(
        name="devices", value=float(answers.setup.devices), unit="count", kind="assumed", source="the setup's layout"
    )
    most = Term(name="hard bound", value=hard.tokens_per_s, unit="token/s", kind="computed", source=hard.rate_source)
    whole = answers.output_tokens_per_s()
    formula = "output tokens of the simulated loop over its time"
    each = whole.times(1 / answers.setup.devices)
    return {
        "throughput": _estimate("throughput", whole, "token/s", formula, (*terms, devices, most), binding),
        "throughput_per_device": _estimate(
            "throughput_per_device", each, "token/s", formula + " / devices", (*terms, devices, most), binding
        ),
    }


def _memory(memory: ServingMemory, sequences: int, setup: ServingSetup) -> Estimate:
    each = -(-sequences // setup.attn_dp)
    return memory_estimate(
        {
            "weights": memory.weights_bytes,
            "activations of a chunk": memory.activations_bytes,
            "runtime and communication": memory.runtime_bytes,
            f"cache of {each} sequences": memory.sequence_bytes * each,
        },
        MEMORY_ERROR,
        formula="weights + activations + runtime + cache, on the fullest device",
        source="ledger of planning.serving.memory",
        method="assumed: the runtime's own share is not measured",
    )


def _cost(answers: Answers, usd_per_device_hour: float | None) -> Estimate:
    formula = "price x devices / (3600 x output tokens per second) x 1e6"
    if usd_per_device_hour is None:
        return Estimate(
            metric="cost_per_million_tokens",
            value=None,
            unit="USD",
            interval=None,
            kind="computed",
            formula=formula,
            protocol="say what an hour of one device costs you",
        )
    if usd_per_device_hour <= 0:
        raise InputError.of("usd_per_device_hour", usd_per_device_hour, "a price is above zero")
    price = Term(
        name="price",
        value=usd_per_device_hour,
        unit="USD/h",
        kind="assumed",
        source="the person, for one device and hour",
    )
    value = answers.output_tokens_per_s().inverse(usd_per_device_hour * answers.setup.devices / 3600 * 1e6)
    return _estimate("cost_per_million_tokens", value, "USD", formula, (price,), "throughput")
